package main

import (
	"context"
	"encoding/json"
	"fmt"

	"wanrep/configs"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

// Board is where the source writes what it does.
func (s *sourceAppliance) Board() *progress.Board { return s.board }

// PeerStatus asks a target how this source's VMs are there.
func (s *sourceAppliance) PeerStatus(ctx context.Context, peer string) (progress.Status, error) {
	status, err := s.engine.PeerStatus(ctx, peer)
	return status, s.explain(err)
}

// PeerPoints asks a target for the points of one of this source's VMs.
func (s *sourceAppliance) PeerPoints(ctx context.Context, peer, vm string) (json.RawMessage, error) {
	points, err := s.engine.PeerPoints(ctx, peer, vm)
	if err != nil {
		return nil, s.explain(err)
	}
	return json.Marshal(points)
}

// Events are what happens at the source.
func (s *sourceAppliance) Events() *progress.Feed[progress.Event] { return s.board.Events() }

// Pause holds a job, or all of them.
func (s *sourceAppliance) Pause(_ context.Context, job, because string) error {
	return s.explain(s.engine.Pause(job, because))
}

// Resume lets a job, or all of them, go on.
func (s *sourceAppliance) Resume(_ context.Context, job string) error {
	return s.explain(s.engine.Resume(job))
}

// Limit sets the most that is sent over all links.
func (s *sourceAppliance) Limit(_ context.Context, bytesPerSecond int64) error {
	if rate := configs.Rate(bytesPerSecond); rate != 0 && rate < configs.MinRate {
		return &control.Error{Code: control.BadRequest, Text: fmt.Sprintf("a limit of %v is below %v: a block would take so long that the link would seem dead", rate, configs.MinRate),
			Tip: "wanrep pause stops everything that is sent"}
	}
	s.endpoint.SetMaxRate(bytesPerSecond)
	s.board.SetMaxRate(bytesPerSecond)
	return nil
}

// Board is where the target writes what it does.
func (t *targetAppliance) Board() *progress.Board { return t.board }

// PeerPoints tells that a target dials nobody.
func (t *targetAppliance) PeerPoints(ctx context.Context, peer, _ string) (json.RawMessage, error) {
	_, err := t.PeerStatus(ctx, peer)
	return nil, err
}

// PeerStatus tells that a target dials nobody.
func (t *targetAppliance) PeerStatus(context.Context, string) (progress.Status, error) {
	return progress.Status{}, &control.Error{Code: control.WrongRole, Text: "a target does not ask its sources", Tip: "its own status tells what it knows of them"}
}

// Events are what happens at the target.
func (t *targetAppliance) Events() *progress.Feed[progress.Event] { return t.board.Events() }

// Prune tells that a source has no points.
func (s *sourceAppliance) Prune(context.Context, json.RawMessage) (json.RawMessage, error) {
	return nil, noPoints("prune at the target")
}

// NoteTested tells that a source has no points.
func (s *sourceAppliance) NoteTested(context.Context, json.RawMessage) (json.RawMessage, error) {
	return nil, noPoints("say at the target what was tested")
}

// Scrub tells that a source has no points.
func (s *sourceAppliance) Scrub(context.Context, json.RawMessage) (json.RawMessage, error) {
	return nil, noPoints("verify at the target")
}

func noPoints(tip string) error {
	return &control.Error{Code: control.WrongRole, Text: "a source has no restore points", Tip: tip}
}

// Pause tells that a target has no jobs.
func (t *targetAppliance) Pause(context.Context, string, string) error {
	return &control.Error{Code: control.WrongRole, Text: "a target runs no jobs", Tip: "pause the job at its source"}
}

// Resume tells that a target has no jobs.
func (t *targetAppliance) Resume(context.Context, string) error {
	return &control.Error{Code: control.WrongRole, Text: "a target runs no jobs", Tip: "resume the job at its source"}
}

// Limit tells that a target only receives.
func (t *targetAppliance) Limit(context.Context, int64) error {
	return &control.Error{Code: control.WrongRole, Text: "a target only receives", Tip: "limit the rate at its sources"}
}
