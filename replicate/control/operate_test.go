package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

func TestOperation(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	ctx := t.Context()
	for _, err := range []error{
		c.Pause(ctx, "", "backup window"), c.Pause(ctx, "nightly", ""), c.Resume(ctx, "nightly"),
		c.Limit(ctx, 2_500_000), c.Limit(ctx, 0), c.SetLogLevel(ctx, slog.LevelDebug),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{`pause "" because "backup window"`, `pause "nightly" because ""`, `resume "nightly"`, "limit 2500000", "limit 0", "log DEBUG"}
	if !slices.Equal(f.asked, want) {
		t.Errorf("the appliance was asked for %q, want %q", f.asked, want)
	}
	if err := c.Pause(ctx, "nope", ""); code(err) != NotFound {
		t.Errorf("an unknown job: %v", err)
	}
	if s, err := c.PeerStatus(ctx, "dr/paris"); err != nil || s.Name != "dr/paris" {
		t.Errorf("the peer's status: %+v, %v", s, err)
	}
	if doc, err := c.PeerPoints(ctx, "dr/paris", "sql 01?/x"); err != nil || string(doc) != `"sql 01?/x"` {
		t.Errorf("the points at the peer: %s, %v", doc, err)
	}
	if _, err := c.PeerPoints(ctx, "dr/paris", ""); code(err) != BadRequest {
		t.Errorf("the points of no VM: %v", err)
	}
	if text, err := c.Goroutines(ctx); err != nil || !strings.Contains(text, "goroutine profile: total ") {
		t.Errorf("goroutines: %.60q, %v", text, err)
	}
	if err := c.Limit(ctx, -1); code(err) != BadRequest {
		t.Errorf("a negative rate: %v", err)
	}
	if err := c.ask(ctx, http.MethodPut, "/v1/log-level", map[string]string{"level": "loud"}, nil); code(err) != BadRequest {
		t.Errorf("an unknown level: %v", err)
	}
}

func TestFollowEvents(t *testing.T) {
	f := newFake()
	c, end := serve(t, f)
	f.events.Add(progress.Event{Text: "first"})
	f.logs.Add(LogLine{Level: "INFO", Text: "served", Attrs: map[string]string{"peer": "dr"}})

	var seen []string
	if err := c.Events(t.Context(), false, func(e progress.Event) { seen = append(seen, e.Text) }); err != nil || !slices.Equal(seen, []string{"first"}) {
		t.Errorf("the last events: %q, %v", seen, err)
	}
	var lines []LogLine
	if err := c.Logs(t.Context(), false, func(l LogLine) { lines = append(lines, l) }); err != nil || len(lines) != 1 || lines[0].Attrs["peer"] != "dr" {
		t.Errorf("the log: %v, %v", lines, err)
	}

	got := make(chan string, 8)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- c.Events(ctx, true, func(e progress.Event) { got <- e.Text }) }()
	for _, want := range []string{"first", "second"} {
		if text := <-got; text != want {
			t.Errorf("got %q, want %q", text, want)
		}
		if want == "first" {
			f.events.Add(progress.Event{Text: "second"})
		}
	}
	end()
	if err := <-ended; err == nil {
		t.Error("the appliance ended, and following it did not fail")
	}
}

// A reader that takes nothing costs the appliance no more than what the socket and
// the feed hold, and is cut off.
func TestSlowReaderIsCutOff(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	conn, err := net.Dial("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/events?follow=true HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n")
	header := make([]byte, 12)
	if _, err := io.ReadFull(conn, header); err != nil || string(header) != "HTTP/1.1 200" {
		t.Fatalf("%q, %v", header, err)
	}
	long := strings.Repeat("x", 64<<10)
	for range 2000 {
		f.events.Add(progress.Event{Text: long})
	}
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, err := io.Copy(io.Discard, conn)
	if err != nil {
		t.Errorf("the stream did not end: %v", err)
	}
	if n > 400*64<<10 {
		t.Errorf("the reader was given %d bytes, so all was kept for it", n)
	}
}

func TestReadOnlySocketOnlyTells(t *testing.T) {
	f := newFake()
	f.events.Add(progress.Event{Text: "first"})
	path := filepath.Join(shortDir(t), "ro.sock")
	ln, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeReadOnly(ctx, ln, f, slog.New(slog.DiscardHandler)) }()
	c := &Client{Socket: path}
	if s, err := c.Status(ctx); err != nil || s.Name != "branch-lyon" {
		t.Errorf("status: %v, %v", s, err)
	}
	if _, err := c.Points(ctx); code(err) != WrongRole {
		t.Errorf("points: got %v, want what a source answers", err)
	}
	n := 0
	if err := c.Events(ctx, false, func(progress.Event) { n++ }); err != nil || n != 1 {
		t.Errorf("events: %d, %v", n, err)
	}

	_, peers := c.Peers(ctx)
	_, goroutines := c.Goroutines(ctx)
	_, peer := c.PeerStatus(ctx, "dr/paris")
	_, points := c.PeerPoints(ctx, "dr/paris", "sql01")
	_, run := c.Run(ctx, "nightly", func(progress.Status) {})
	_, offer := c.Offer(ctx)
	_, prune := c.Prune(ctx, map[string]bool{})
	_, tested := c.NoteTested(ctx, map[string]bool{})
	for name, err := range map[string]error{
		"pause": c.Pause(ctx, "", ""), "resume": c.Resume(ctx, ""), "limit": c.Limit(ctx, 1), "log level": c.SetLogLevel(ctx, slog.LevelDebug),
		"log": c.Logs(ctx, false, func(LogLine) {}), "peers": peers, "peer": peer, "points at the peer": points, "goroutines": goroutines, "forget": c.Remove(ctx, "branch a/b"), "run": run, "offer": offer, "prune": prune, "tested": tested,
		"interrupt": c.ask(ctx, http.MethodDelete, "/v1/runs/nightly", nil, nil),
		"write":     c.ask(ctx, http.MethodPost, "/v1/status", json.RawMessage(`{}`), nil),
	} {
		if code(err) != ReadOnly {
			t.Errorf("%s: got %v, want code %q", name, err, ReadOnly)
		}
	}
	if len(f.asked) > 0 || len(f.peers) != 1 || len(f.started) > 0 {
		t.Errorf("the appliance was changed: %q, %v", f.asked, f.peers)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
