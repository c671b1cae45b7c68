package control

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
)

func (s *server) pause(r *http.Request) (any, error) {
	var req pauseRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	return struct{}{}, s.h.Pause(r.Context(), req.Job, req.Because)
}

func (s *server) resume(r *http.Request) (any, error) {
	var req pauseRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	return struct{}{}, s.h.Resume(r.Context(), req.Job)
}

func (s *server) limit(r *http.Request) (any, error) {
	var req limitRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if req.Rate < 0 {
		return nil, &Error{Code: BadRequest, Text: fmt.Sprintf("a rate of %d bytes a second", req.Rate)}
	}
	return struct{}{}, s.h.Limit(r.Context(), req.Rate)
}

func (s *server) level(r *http.Request) (any, error) {
	var req levelRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	s.h.SetLogLevel(req.Level)
	return struct{}{}, nil
}

// Pause holds a job, or all of them if job is empty.
func (c *Client) Pause(ctx context.Context, job, because string) error {
	return c.ask(ctx, http.MethodPost, "/v1/pause", pauseRequest{job, because}, nil)
}

// Resume ends the pause of a job, or all pauses if job is empty.
func (c *Client) Resume(ctx context.Context, job string) error {
	return c.ask(ctx, http.MethodPost, "/v1/resume", pauseRequest{Job: job}, nil)
}

// Limit sets how much the appliance sends in all, in bytes a second; 0 is no limit.
func (c *Client) Limit(ctx context.Context, bytesPerSecond int64) error {
	return c.ask(ctx, http.MethodPut, "/v1/limit", limitRequest{bytesPerSecond}, nil)
}

// SetLogLevel sets how much the appliance logs.
func (c *Client) SetLogLevel(ctx context.Context, level slog.Level) error {
	return c.ask(ctx, http.MethodPut, "/v1/log-level", levelRequest{level}, nil)
}
