package quicx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Redialer brings the link to one peer back.
//
// A redial window begins when a link is lost: one attempt at once, then one every
// 15 s, start to start, 120 in 30 min. A network event (an uplink came up, an
// address changed) gives one more at once, which does not count. The window begins
// anew only if the link before had made proven progress; so a link that flaps and
// moves nothing ends up parked too.
type Redialer struct {
	redial Redial
	peer   string
	on     func(Attempt)
	say    func(Event)
	// dial makes one attempt; subscribe tells of changes of the network.
	dial      func(context.Context) (*Link, error)
	subscribe func() (<-chan struct{}, func())

	mu      sync.Mutex // one Attach at a time
	dialed  bool       // the first attempt was made
	began   time.Time  // of the window; zero before the first loss
	started time.Time  // the last attempt
	last    *Link
}

// An Attempt is one dial of a Redialer.
type Attempt struct {
	// Number counts from 1 to Of within the window; an extra attempt has the
	// number of the one before it.
	Number, Of int
	// Extra attempts are those after a network event.
	Extra bool
	// Err is why it failed. It is nil while the attempt runs.
	Err error
	// Next is when the next one is due; zero while the attempt runs, and if
	// there is none.
	Next time.Time
	// Until is when the window ends.
	Until time.Time
}

// eventGap is the least time between an attempt and an extra one, so that a
// flood of network events does not become a flood of dials.
const eventGap = time.Second

// Redialer returns a redialer for p. If on is not nil it is called, in order, when
// an attempt of a window begins and when it has failed.
func (e *Endpoint) Redialer(p Peer, r Redial, on func(Attempt)) *Redialer {
	if on == nil {
		on = func(Attempt) {}
	}
	return &Redialer{
		redial: r.withDefaults(), peer: p.Name, on: on, say: e.say, subscribe: e.subscribe,
		dial: func(ctx context.Context) (*Link, error) { return e.Dial(ctx, p) },
	}
}

// Attach returns a link. The first call makes one attempt; each later one means
// that the link before was lost, and goes on until the redial window is spent
// (then the error wraps [ErrRedialSpent]). progressed says that the target's
// durable position has grown since the link before that. An error whose class is
// not Dropped ends it at once.
func (r *Redialer) Attach(ctx context.Context, progressed bool) (*Link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dialed {
		r.dialed = true
		r.started = time.Now()
		link, err := r.dial(ctx)
		r.last = link
		return link, err
	}
	now := time.Now()
	fresh := progressed || r.began.IsZero()
	if fresh {
		r.began = now
	}
	// At once after a loss, unless an attempt was made just now: a link that
	// dies as soon as it is up must not be dialed in a tight loop. One that was
	// taken before the target answered was no attempt of its own.
	due := now
	if !fresh && !r.lastWasEarly() && now.Sub(r.started) < r.redial.Every {
		due = r.nextDue(r.started)
	}
	return r.run(ctx, due)
}

func (r *Redialer) lastWasEarly() bool {
	return r.last != nil && r.last.early && !r.last.isConfirmed()
}

// of is how many attempts fit into the window.
func (r *Redialer) of() int {
	return int((r.redial.For + r.redial.Every - 1) / r.redial.Every)
}

func (r *Redialer) until() time.Time { return r.began.Add(r.redial.For) }

// nextDue returns the first moment after t at which an attempt is due: a whole
// number of intervals after the window began. Moments are compared and not
// counted: a timer beside a ticker would give 121 attempts now and then.
func (r *Redialer) nextDue(t time.Time) time.Time {
	passed := t.Sub(r.began) / r.redial.Every
	return r.began.Add((passed + 1) * r.redial.Every)
}

func (r *Redialer) number(t time.Time) int {
	return min(int(t.Sub(r.began)/r.redial.Every)+1, r.of())
}

// run dials at due and on the timer after it, until it succeeds, must not go on,
// or the window ends.
func (r *Redialer) run(ctx context.Context, due time.Time) (*Link, error) {
	network, unsubscribe := r.subscribe()
	defer unsubscribe()
	var failure error
	again := false // the network changed during the attempt before
	for {
		extra, err := r.wait(ctx, due, network)
		switch {
		case errors.Is(err, ErrRedialSpent):
			return nil, r.spent(failure)
		case err != nil:
			return nil, wrap("redial", r.peer, err)
		}
		r.started = time.Now()
		a := Attempt{Number: r.number(r.started), Of: r.of(), Extra: extra || again, Until: r.until()}
		r.on(a)
		link, err := r.attempt(ctx, network)
		if err == nil {
			r.last = link
			return link, nil
		}
		if again = errors.Is(err, errNetworkChanged); again {
			due = time.Now()
			continue
		}
		failure = err
		var known *Error
		if ctx.Err() != nil || !errors.As(err, &known) || !known.Dropped() {
			return nil, err
		}
		due = r.nextDue(r.started)
		a.Err = err
		if due.Before(r.until()) {
			a.Next = due
		}
		r.on(a)
		r.say(Event{Kind: EventRedial, Peer: r.peer, Level: slog.LevelWarn,
			Text: fmt.Sprintf("redial %d of %d: %s", a.Number, a.Of, known.text)})
	}
}

// wait waits for due or for a change of the network, and returns ErrRedialSpent at
// the end of the window.
func (r *Redialer) wait(ctx context.Context, due time.Time, network <-chan struct{}) (extra bool, err error) {
	spent := !due.Before(r.until())
	if spent {
		due = r.until()
	}
	for {
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
			if spent {
				return false, ErrRedialSpent
			}
			return extra, nil
		case <-network:
			timer.Stop()
			if soon := r.started.Add(eventGap); soon.Before(due) {
				due, extra, spent = soon, true, false
			}
		case <-ctx.Done():
			timer.Stop()
			return false, ctx.Err()
		}
	}
}

var errNetworkChanged = errors.New("the network changed during the attempt")

// attempt dials once. An attempt that is older than a second when the network
// changes is given up for a new one: it may be waiting on a path that is gone.
func (r *Redialer) attempt(ctx context.Context, network <-chan struct{}) (*Link, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		link *Link
		err  error
	}
	done := make(chan result, 1)
	go func() {
		link, err := r.dial(ctx)
		done <- result{link, err}
	}()
	changed := false
	for {
		select {
		case <-network:
			if time.Since(r.started) >= eventGap {
				changed = true
				cancel()
			}
		case got := <-done:
			if changed && got.err != nil {
				return nil, errNetworkChanged
			}
			return got.link, got.err
		}
	}
}

func (r *Redialer) spent(last error) error {
	e := &Error{Class: Spent, Op: "redial", Peer: r.peer, Err: ErrRedialSpent,
		text: fmt.Sprintf("given up after %s", r.redial.For),
		hint: "the next run goes on where this one stopped"}
	var known *Error
	if errors.As(last, &known) {
		e.text += ", last: " + known.text
	}
	r.say(Event{Kind: EventSpent, Level: slog.LevelError, Peer: r.peer, Text: e.text})
	return e
}
