package main

import (
	"context"
	"sync"
	"time"

	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

// meterEvery is how often an appliance is asked, and so how exact a stall is.
const meterEvery = 20 * time.Millisecond

// A meter asks an appliance again and again how it is, over its socket.
type meter struct {
	client control.Client
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	latest progress.Status // of the appliance, while it answers or when it last did
	data   int64           // content received
	// grew has the moments at which more content had been received than before.
	grew []time.Time
	// events are all that were ever on the board.
	events []progress.Event
}

func newMeter(ctx context.Context, socket string) *meter {
	m := &meter{client: control.Client{Socket: socket}}
	ctx, m.stop = context.WithCancel(ctx)
	m.done.Go(func() {
		tick := time.NewTicker(meterEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if status, err := m.client.Status(ctx); err == nil {
				m.note(status, time.Now())
			}
		}
	})
	return m
}

func (m *meter) close() {
	m.stop()
	m.done.Wait()
}

// note takes in a status.
func (m *meter) note(s progress.Status, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latest = s
	var data int64
	for _, d := range disksOf(s) {
		data += d.Data
	}
	// A process that was started again counts from zero.
	if data != m.data && data > 0 {
		m.grew = append(m.grew, now)
	}
	m.data = data
	var last time.Time
	if n := len(m.events); n > 0 {
		last = m.events[n-1].Time
	}
	for _, e := range s.Events {
		if e.Time.After(last) {
			m.events = append(m.events, e)
		}
	}
}

func (m *meter) status() progress.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest
}

// happened returns the events since a moment.
func (m *meter) happened(since time.Time) []progress.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range m.events {
		if !e.Time.Before(since) {
			return m.events[i:len(m.events):len(m.events)]
		}
	}
	return nil
}

// longestGap returns the longest time between two moments at which nothing was
// received. What was received last ends the time that is looked at.
func (m *meter) longestGap(from, to time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var longest time.Duration
	for _, t := range m.grew {
		if t.After(to) {
			break
		}
		if t.After(from) {
			longest = max(longest, t.Sub(from))
			from = t
		}
	}
	return longest
}

// firstAfter returns how long after a moment something was received.
func (m *meter) firstAfter(from time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.grew {
		if t.After(from) {
			return t.Sub(from)
		}
	}
	return 0
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
