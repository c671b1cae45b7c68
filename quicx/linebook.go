package quicx

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// maxBookBytes bounds the file about a peer's lines, and maxBookLines how many are
	// in it: one for each uplink.
	maxBookBytes, maxBookLines = 64 << 10, 64
	// lineFresh is how long what was learned of a line is believed.
	lineFresh = 7 * 24 * time.Hour
)

// A line is what a link has learned of the way to its peer over one uplink, for the
// next link to begin with.
type line struct {
	Lanes int `json:"lanes"` // that it had in the end
	// As in laneCount.
	Sent   float64       `json:"sent"`
	Lost   float64       `json:"lost"`
	Calm   float64       `json:"calm"`
	Own    float64       `json:"own"`
	Jitter time.Duration `json:"jitter_ns"`
	// Rate is what it carried, in bytes a second, and Base the shortest round trip.
	Rate float64       `json:"rate"`
	Base time.Duration `json:"base_ns"`
	Seen time.Time     `json:"seen"`
}

// usable reports whether a line that was read from a file can be one.
func (k line) usable(now time.Time) bool {
	age := now.Sub(k.Seen)
	within := func(v, most float64) bool { return v >= 0 && v <= most }
	return age >= 0 && age < lineFresh && k.Lanes >= 1 && k.Lanes <= MaxLanes &&
		within(k.Sent, 1e9) && within(k.Lost, k.Sent) && within(k.Calm, 2*k.Sent) && within(k.Own, 1) && within(k.Rate, 1e12) &&
		k.Jitter >= 0 && k.Jitter < time.Minute && k.Base > 0 && k.Base < time.Minute
}

// A lineBook keeps the lines to each peer in a file of the directory that has its
// ticket. A file that cannot be read or written only means that the next link has to
// learn anew.
type lineBook struct {
	dir string // empty: nothing is kept longer than the book

	mu    sync.Mutex
	lines map[Pin]map[string]line // by uplink
}

func (b *lineBook) path(pin Pin) string {
	return filepath.Join(b.dir, "lines-"+hex.EncodeToString(pin[:8]))
}

// of returns what is known of a line. Its zero value knows nothing.
func (b *lineBook) of(pin Pin, uplink string) line {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.to(pin)[uplink]
}

// to returns the lines to a peer.
func (b *lineBook) to(pin Pin) map[string]line {
	if known, ok := b.lines[pin]; ok {
		return known
	}
	known := make(map[string]line)
	if b.dir != "" {
		if data, err := readSmall(b.path(pin), maxBookBytes); err == nil {
			known = parseLines(data, time.Now())
		}
	}
	b.lines[pin] = known
	return known
}

// parseLines reads a file of the book and leaves out what can't be.
func parseLines(data []byte, now time.Time) map[string]line {
	var known map[string]line
	if json.Unmarshal(data, &known) != nil || known == nil || len(known) > maxBookLines {
		return make(map[string]line)
	}
	for uplink, k := range known {
		if !k.usable(now) {
			delete(known, uplink)
		}
	}
	return known
}

// note keeps what a link has learned.
func (b *lineBook) note(pin Pin, uplink string, k line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.to(pin)
	if _, ok := known[uplink]; !ok && len(known) >= maxBookLines {
		return
	}
	known[uplink] = k
	if b.dir == "" {
		return
	}
	if data, err := json.Marshal(known); err == nil && os.MkdirAll(b.dir, 0o700) == nil {
		_ = writeSecret(b.path(pin), data)
	}
}

// drop forgets the lines to a peer.
func (b *lineBook) drop(pin Pin) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.lines, pin)
	if b.dir == "" {
		return nil
	}
	if err := os.Remove(b.path(pin)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
