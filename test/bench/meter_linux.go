package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	// meterEvery is how often the meter looks, and so how exact a stall is.
	meterEvery = 10 * time.Millisecond
	// meterStep is how much a process writes at least between two looks when it
	// writes content: half a frame. What a sync writes beside content is less.
	meterStep = 128 << 10
)

// A meter notes when the target writes content that it received. It looks at what the
// kernel counts for the process, because the status is as of the last second.
type meter struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu sync.Mutex
	// pid is the target's process, written what it had written at the last look.
	pid     int
	written int64
	grew    []time.Time
}

func newMeter(ctx context.Context) *meter {
	m := &meter{}
	ctx, m.stop = context.WithCancel(ctx)
	m.done.Go(func() { every(ctx, meterEvery, m.look) })
	return m
}

func (m *meter) close() {
	m.stop()
	m.done.Wait()
}

// follow looks at another process from now on.
func (m *meter) follow(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pid = pid
	m.written, _ = writtenBy(pid) // nothing if it does not run
}

func (m *meter) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	written, err := writtenBy(m.pid)
	if err != nil {
		return // it does not run
	}
	if written-m.written >= meterStep {
		m.grew = append(m.grew, time.Now())
	}
	m.written = written
}

// writtenBy returns how many bytes a process has written, to files and to unix sockets
// (proc(5), wchar of io).
func writtenBy(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte("wchar: "))
	number, _, _ := bytes.Cut(rest, []byte("\n"))
	return strconv.ParseInt(string(number), 10, 64)
}

// longestGap returns the longest time without content of those that began between two
// moments, of which the first counts as content. A time that nothing ended is none.
func (m *meter) longestGap(from, to time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var longest time.Duration
	for _, t := range m.grew {
		if !from.Before(to) {
			break
		}
		if t.After(from) {
			longest = max(longest, t.Sub(from))
			from = t
		}
	}
	return longest
}

// firstAfter returns how long after a moment something was written; 0 if nothing was.
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

// span returns the time from the first content to the last.
func (m *meter) span() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.grew) == 0 {
		return 0
	}
	return m.grew[len(m.grew)-1].Sub(m.grew[0])
}
