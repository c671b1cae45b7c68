package main

import (
	"context"
	"sync"
	"time"

	"wanrep/replicate/control"
)

// A pairing is the last offer that a target made, and who waits for it. The zero
// value has none.
type pairing struct {
	mu    sync.Mutex
	offer control.Offer
	// used gets the peer that used the offer, and is closed when it is over.
	used chan control.Peer
	over bool
}

// offered begins an offer, which voids the one before.
func (p *pairing) offered(o control.Offer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.offer, p.used, p.over = o, make(chan control.Peer, 1), false
}

// joined ends the offer: it was used.
func (p *pairing) joined(by control.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used != nil && !p.over {
		p.used <- by
	}
	p.end()
}

// withdraw ends the offer if it is still o, and reports whether it was.
func (p *pairing) withdraw(o control.Offer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.offer.Code != o.Code {
		return false
	}
	p.end()
	return true
}

func (p *pairing) end() {
	if p.used != nil && !p.over {
		close(p.used)
	}
	p.over = true
}

// wait waits until o is used.
func (p *pairing) wait(ctx context.Context, o control.Offer) (control.Peer, error) {
	p.mu.Lock()
	used := p.used
	current := p.offer.Code == o.Code
	p.mu.Unlock()
	void := &control.Error{Code: control.Failed, Text: "the code is void: a newer one was made", Tip: "run wanrep pair offer again"}
	if used == nil || !current {
		return control.Peer{}, void
	}
	timer := time.NewTimer(time.Until(o.Expires))
	defer timer.Stop()
	select {
	case by, ok := <-used:
		if !ok {
			return control.Peer{}, void
		}
		return by, nil
	case <-timer.C:
		return control.Peer{}, &control.Error{Code: control.Failed, Text: "nobody used the code in time", Tip: "run wanrep pair offer again"}
	case <-ctx.Done():
		return control.Peer{}, ctx.Err()
	}
}
