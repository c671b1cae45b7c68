package quicx

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// An EventKind says what happened, for programs; Event.Text says it to people.
type EventKind string

// Kinds of events.
const (
	EventAttached EventKind = "attached" // a link is up and both sides are proved
	EventLost     EventKind = "lost"     // a link ended that nobody closed
	EventSilent   EventKind = "silent"   // the path in use does not answer
	EventMigrated EventKind = "migrated" // the link moved to another uplink
	EventRevived  EventKind = "revived"  // the path in use answers again
	EventStandby  EventKind = "standby"  // the standby path changed
	EventRedial   EventKind = "redial"   // an attempt to dial again failed
	EventLanes    EventKind = "lanes"    // the link uses more connections
	EventSpent    EventKind = "spent"    // the redial window is over
	EventNetwork  EventKind = "network"  // an uplink went down or came up
	EventRate     EventKind = "rate"     // the limit of what is sent changed
	EventRefused  EventKind = "refused"  // somebody who may not was turned away
	EventPaired   EventKind = "paired"
	EventUnpaired EventKind = "unpaired"
)

// An Event is a step in the life of a link, worth telling an operator.
type Event struct {
	Time  time.Time
	Kind  EventKind
	Level slog.Level
	// Text is one line, such as "migrated fibre → lte in 0.4 s".
	Text string
	Peer string
	// Path is the uplink it is about, if any.
	Path string
	// Took is how long it took, where that means something.
	Took time.Duration
}

// An announcer hands events on, one at a time.
type announcer struct {
	mu  sync.Mutex
	on  func(Event)
	log *slog.Logger
}

func (a *announcer) say(e Event) {
	e.Time = time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.log != nil {
		attrs := []slog.Attr{slog.String("text", e.Text)}
		if e.Peer != "" {
			attrs = append(attrs, slog.String("peer", e.Peer))
		}
		if e.Path != "" {
			attrs = append(attrs, slog.String("path", e.Path))
		}
		if e.Took != 0 {
			attrs = append(attrs, slog.Duration("took", e.Took))
		}
		a.log.LogAttrs(context.Background(), e.Level, "link "+string(e.Kind), attrs...)
	}
	if a.on != nil {
		a.on(e)
	}
}
