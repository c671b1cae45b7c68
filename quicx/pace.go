package quicx

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// paceBurst is how long a limit may be saved up and then used at once, so
	// that a late timer costs no throughput.
	paceBurst = 50 * time.Millisecond
	// paceDebt bounds how long a limit holds streams back for what was sent
	// without asking: after a migration all that was in flight goes out again.
	paceDebt = 5 * time.Second
	// pacePiece is how much of a limit is handed to QUIC at once, so that what
	// is urgent waits for little.
	pacePiece = 10 * time.Millisecond
	// minPiece and maxPiece bound it, in bytes: about one packet, and what QUIC
	// packs with the least effort.
	minPiece, maxPiece = 1200, 16 << 10
	// headerBytes is what the IP and UDP headers of each datagram, of datagramBytes
	// at most, add to it.
	headerBytes, datagramBytes = 28, 1452
)

// A pace limits how much is sent: the datagrams of all sockets of an uplink, or of
// an endpoint. Streams are held back before QUIC packs them. Datagrams never are:
// QUIC would take a delayed one for a slow line and a dropped one for a bad line.
// So acknowledgements, heartbeats and what is sent again go out at once and count,
// and the streams make up for it.
type pace struct {
	// rate is in bytes a second; 0 is no limit.
	rate atomic.Int64
	// turn has room for one: who waits for the limit, while others queue up.
	turn chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed by set
	at      time.Time     // when the two below were right
	// sent is how many bytes were sent beyond what the limit allowed so far, and
	// handed the same with what QUIC was given and has not sent yet. They are
	// negative while something is saved up.
	sent, handed float64
}

func newPace(bytesPerSecond int64) *pace {
	p := &pace{turn: make(chan struct{}, 1), changed: make(chan struct{})}
	p.rate.Store(max(bytesPerSecond, 0))
	return p
}

// set changes the limit, for those who wait too. It reports whether it is another.
func (p *pace) set(bytesPerSecond int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := max(bytesPerSecond, 0)
	if p.rate.Swap(rate) == rate {
		return false
	}
	p.at, p.sent, p.handed = time.Now(), 0, 0
	close(p.changed)
	p.changed = make(chan struct{})
	return true
}

// pass brings the balance up to now.
func (p *pace) pass(now time.Time) {
	rate := float64(p.rate.Load())
	allowed := rate * now.Sub(p.at).Seconds()
	least, most := -rate*paceBurst.Seconds(), rate*paceDebt.Seconds()
	p.at = now
	p.sent = min(max(p.sent-allowed, least), most)
	p.handed = min(max(p.handed-allowed, p.sent), most)
}

// count notes n bytes that a socket was given to send.
func (p *pace) count(n int) {
	if p.rate.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass(time.Now())
	p.sent += float64(n + (n+datagramBytes-1)/datagramBytes*headerBytes)
}

// admit waits until n bytes may be handed to QUIC, or done is closed. n is at most
// what piece returned.
func (p *pace) admit(n int, done <-chan struct{}) {
	if p.rate.Load() == 0 {
		return
	}
	select {
	case p.turn <- struct{}{}:
	case <-done:
		return
	}
	defer func() { <-p.turn }()
	for {
		wait, changed := p.take(n)
		if wait == 0 {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-done:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// piece returns how much of n bytes should be handed to QUIC at once.
func (p *pace) piece(n int) int {
	rate := p.rate.Load()
	if rate == 0 {
		return n
	}
	return min(n, max(minPiece, min(maxPiece, int(float64(rate)*pacePiece.Seconds()))))
}

// take books n bytes, or says how long to wait first.
func (p *pace) take(n int) (wait time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := float64(p.rate.Load())
	if rate == 0 {
		return 0, nil
	}
	p.pass(time.Now())
	if p.handed > 0 {
		return time.Duration(math.Ceil(p.handed / rate * float64(time.Second))), p.changed
	}
	p.handed += float64(n)
	return 0, nil
}

// SetMaxRate limits what the endpoint sends over all its uplinks, in bytes a
// second, headers and what is sent again included; 0 means no limit. What is being
// sent follows at once.
func (e *Endpoint) SetMaxRate(bytesPerSecond int64) {
	if e.pace.set(bytesPerSecond) {
		e.sayLimit("sending", bytesPerSecond)
	}
}

// sayLimits tells of the limits that were configured.
func (e *Endpoint) sayLimits() {
	if e.cfg.MaxRate > 0 {
		e.sayLimit("sending", e.cfg.MaxRate)
	}
	for _, u := range e.uplinks {
		if u.MaxRate > 0 {
			e.sayLimit("sending over "+u.Name, u.MaxRate)
		}
	}
}

func (e *Endpoint) sayLimit(what string, bytesPerSecond int64) {
	text := what + " is not limited any more"
	if bytesPerSecond > 0 {
		text = what + " is limited to " + bits(bytesPerSecond)
	}
	e.say(Event{Kind: EventRate, Text: text})
}

// bits writes a rate for people: 20 Mbit/s, 512 kbit/s.
func bits(bytesPerSecond int64) string {
	b := float64(bytesPerSecond) * 8
	switch {
	case b >= 1e9:
		return fmt.Sprintf("%.4g Gbit/s", b/1e9)
	case b >= 1e6:
		return fmt.Sprintf("%.4g Mbit/s", b/1e6)
	}
	return fmt.Sprintf("%.4g kbit/s", b/1e3)
}
