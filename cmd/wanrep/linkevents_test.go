package main

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"wanrep/quicx"
	"wanrep/replicate/progress"
)

// TestSilencesAreFolded has a line on which each second nothing is heard for a while.
func TestSilencesAreFolded(t *testing.T) {
	board := progress.NewBoard("source", "branch-lyon", "")
	tell := tellEvents(board)
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	say := func(kind quicx.EventKind, path, text string, took time.Duration) {
		tell(quicx.Event{Time: at, Kind: kind, Level: slog.LevelWarn, Peer: "paris", Path: path, Text: text, Took: took})
	}
	for range 61 {
		say(quicx.EventSilent, "dsl", "no answer over dsl", 0)
		say(quicx.EventRevived, "dsl", "dsl answers", time.Second/2)
		at = at.Add(time.Second)
	}
	say(quicx.EventSilent, "lte", "no answer over lte", 0)
	say(quicx.EventSilent, "dsl", "no answer over dsl for long", 0)
	say(quicx.EventRevived, "dsl", "dsl answers after long", 7*time.Second)
	say(quicx.EventLost, "dsl", "link lost", 0)
	var got []string
	for _, e := range board.Status().Events {
		got = append(got, e.Text)
	}
	want := []string{
		"no answer over dsl", "dsl answers",
		"no answer over dsl, and 59 times more before", "dsl answers",
		"no answer over lte",
		"dsl answers after long",
		"link lost",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
