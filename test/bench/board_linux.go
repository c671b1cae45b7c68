package main

import (
	"context"
	"sync"
	"time"

	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

// askEvery is how often an appliance is asked for its status.
const askEvery = 20 * time.Millisecond

// A board is the newest status of an appliance, which it is asked for again and
// again.
type board struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	latest progress.Status // while the appliance answers, or when it last did
	// events are all that were ever in a status.
	events []progress.Event
}

func watchBoard(ctx context.Context, socket string) *board {
	b := &board{}
	client := control.Client{Socket: socket}
	ctx, b.stop = context.WithCancel(ctx)
	b.done.Go(func() {
		every(ctx, askEvery, func() {
			if status, err := client.Status(ctx); err == nil {
				b.note(status)
			}
		})
	})
	return b
}

// every calls do again and again until ctx ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}

func (b *board) close() {
	b.stop()
	b.done.Wait()
}

// note takes in a status.
func (b *board) note(s progress.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latest = s
	var last time.Time
	if n := len(b.events); n > 0 {
		last = b.events[n-1].Time
	}
	for _, e := range s.Events {
		if e.Time.After(last) {
			b.events = append(b.events, e)
		}
	}
}

func (b *board) status() progress.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latest
}

// happened returns the events since a moment.
func (b *board) happened(since time.Time) []progress.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, e := range b.events {
		if !e.Time.Before(since) {
			return b.events[i:len(b.events):len(b.events)]
		}
	}
	return nil
}

func disksOf(s progress.Status) []progress.Disk {
	var disks []progress.Disk
	for _, v := range s.VMs {
		disks = append(disks, v.Disks...)
	}
	return disks
}

// path returns the uplink in use; empty while there is no link.
func path(s progress.Status) string {
	for _, l := range s.Links {
		if l.State == progress.LinkUp {
			return l.Path
		}
	}
	return ""
}
