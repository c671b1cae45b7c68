package control

import (
	"context"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"wanrep/replicate/progress"
)

func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	follow(w, r, s.h.Logs(), func(l LogLine) line { return line{Log: &l} })
}

// follow sends what a feed remembers, and with ?follow=true what comes, until the
// reader goes away, does not keep up, or the appliance ends.
func follow[T any](w http.ResponseWriter, r *http.Request, feed *progress.Feed[T], asLine func(T) line) {
	on := false
	if asked := r.URL.Query().Get("follow"); asked != "" {
		var err error
		if on, err = strconv.ParseBool(asked); err != nil {
			plain(func(*http.Request) (any, error) {
				return nil, &Error{Code: BadRequest, Text: fmt.Sprintf("follow=%.20q is neither true nor false", asked)}
			})(w, r)
			return
		}
	}
	recent, next := feed.Follow(r.Context())
	out := newStream(w)
	for _, v := range recent {
		if !out.send(asLine(v)) {
			return
		}
	}
	if !on {
		out.send(line{End: true})
		return
	}
	if !out.send(line{}) { // the reader shall know at once that it follows
		return
	}
	quiet := time.NewTicker(quietEvery)
	defer quiet.Stop()
	for {
		var l line
		select {
		case v, ok := <-next:
			if !ok {
				// If the reader, or the appliance, is gone, nobody hears this.
				out.send(line{Error: &Error{Code: Failed, Text: "more happens than is read", Tip: "begin anew, and read without a pause"}})
				return
			}
			l = asLine(v)
		case <-quiet.C:
		}
		if !out.send(l) {
			return
		}
	}
}

// goroutines counts the goroutines of the process by where they are. It shows no
// values.
func goroutines(*http.Request) (any, error) {
	var text strings.Builder
	err := pprof.Lookup("goroutine").WriteTo(&text, 1)
	return goroutinesAnswer{text.String()}, err
}

// Goroutines returns how many goroutines of the appliance are where in its code.
func (c *Client) Goroutines(ctx context.Context) (string, error) {
	var a goroutinesAnswer
	err := c.ask(ctx, http.MethodGet, "/v1/goroutines", nil, &a)
	return a.Text, err
}

// Events gives the last events to each, oldest first, and with follow those that
// come, until ctx ends or the appliance does.
func (c *Client) Events(ctx context.Context, follow bool, each func(progress.Event)) error {
	return c.follow(ctx, "/v1/events", follow, func(l line) {
		if l.Event != nil {
			each(*l.Event)
		}
	})
}

// Logs is Events for the lines of the appliance's log.
func (c *Client) Logs(ctx context.Context, follow bool, each func(LogLine)) error {
	return c.follow(ctx, "/v1/logs", follow, func(l line) {
		if l.Log != nil {
			each(*l.Log)
		}
	})
}

func (c *Client) follow(ctx context.Context, path string, on bool, each func(line)) error {
	var cutOff error
	err := c.stream(ctx, http.MethodGet, fmt.Sprintf("%s?follow=%t", path, on), nil, func(l line) bool {
		if l.Error != nil {
			cutOff = l.Error
		}
		each(l)
		return l.Error == nil && !l.End
	})
	if err == nil {
		err = cutOff
	}
	return err
}
