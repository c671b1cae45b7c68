package main

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wanrep/quicx"
	"wanrep/replicate/progress"
)

const (
	// silenceEvery is how often a short silence of one path is told: on a bad line, or
	// a machine with too much to do, there is one each second, and they would push out
	// what matters.
	silenceEvery = time.Minute
	// longSilence is from where on each one is told, once it is over.
	longSilence = 5 * time.Second
)

// tellEvents puts what a link does on the board. The log has all of it.
func tellEvents(board *progress.Board) func(quicx.Event) {
	var s silences
	return func(e quicx.Event) {
		text, tell := s.fold(e)
		if !tell {
			return
		}
		level := progress.Info
		switch {
		case e.Level >= slog.LevelError:
			level = progress.Error
		case e.Level >= slog.LevelWarn:
			level = progress.Warning
		}
		board.Event(progress.Event{Time: e.Time.UTC(), Level: level, Text: text, Peer: e.Peer})
	}
}

// silences folds those that come again and again.
type silences struct {
	mu    sync.Mutex
	paths map[onPath]*silence
}

type onPath struct{ peer, path string }

// A silence is what was told of those of one path.
type silence struct {
	told   time.Time // the last one that was
	hushed bool      // the one under way is not
	more   int       // how many were not since the last that was
}

// fold returns what to tell of an event, if anything.
func (s *silences) fold(e quicx.Event) (text string, tell bool) {
	if e.Kind != quicx.EventSilent && e.Kind != quicx.EventRevived {
		return e.Text, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.paths[onPath{e.Peer, e.Path}]
	if of == nil {
		if s.paths == nil {
			s.paths = map[onPath]*silence{}
		}
		of = &silence{}
		s.paths[onPath{e.Peer, e.Path}] = of
	}
	if e.Kind == quicx.EventRevived {
		return e.Text, !of.hushed || e.Took >= longSilence
	}
	if of.hushed = e.Time.Sub(of.told) < silenceEvery; of.hushed {
		of.more++
		return "", false
	}
	text = e.Text
	if of.more > 0 {
		text += fmt.Sprintf(", and %d times more before", of.more)
	}
	of.told, of.more = e.Time, 0
	return text, true
}
