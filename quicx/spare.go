package quicx

import (
	"context"
	"time"
)

const (
	// spareProof is how long the target has to accept a spare link.
	spareProof = 2 * time.Second
	// lastChance is how long the old link may still speak once the new one was
	// accepted.
	lastChance = 300 * time.Millisecond
	// spareLife is how long a spare link waits to be taken by Dial.
	spareLife = 10 * time.Second
)

// dialSpare looks, beside a silent link, whether the target has forgotten it. If
// the target accepts a new link while the old one hears nothing, it was restarted:
// the old link ends, and the new one is what the next Dial returns.
func (e *Endpoint) dialSpare(old *Link) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(e.ctx, spareProof)
	defer cancel()
	spare, err := e.dialLink(ctx, old.target, old.pin, false)
	if err != nil {
		return // the silence goes on
	}
	if spare.Confirmed(ctx) != nil {
		spare.Close(CodeDone, "")
		return
	}
	select {
	case <-time.After(lastChance):
	case <-old.Done():
	}
	if old.path.heardAt.Load() > began.UnixNano() {
		spare.Close(CodeDone, "the older link lives")
		return
	}
	e.mu.Lock()
	e.spares[old.pin] = spare
	e.mu.Unlock()
	old.fail(errRestarted)
	select {
	case <-time.After(spareLife):
	case <-spare.Done():
		return
	case <-e.ctx.Done():
	}
	e.mu.Lock()
	taken := e.spares[old.pin] != spare
	if !taken {
		delete(e.spares, old.pin)
	}
	e.mu.Unlock()
	if !taken {
		spare.Close(CodeDone, "not needed")
	}
}
