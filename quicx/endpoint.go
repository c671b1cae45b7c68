package quicx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// An Endpoint is the source's end of its links.
type Endpoint struct {
	announcer
	cfg     Config
	uplinks []*uplink
	tickets *ticketStore
	lines   *lineBook
	quic    *quic.Config
	pace    *pace

	// ctx ends with the endpoint; wg counts everything that runs for it.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	links map[*Link]bool
	// spares are links dialed beside one that seems dead, by the peer's pin.
	spares map[Pin]*Link
	// attached has the peers that had a link before: the next is a reattach.
	attached map[Pin]bool
	// cautious has the peers whose last link died of silence, or before the peer
	// had answered at all: the line is probably still dead, so the next dial
	// tries all ways and waits for an answer. 0-RTT would have it return at once
	// with a link over the first way, dead or not.
	cautious map[Pin]bool
	// wakers are told of every change of the network.
	wakers map[chan struct{}]bool
}

// NewEndpoint makes a source's end. It opens no socket before it is needed, and
// watches the network until it is closed.
func NewEndpoint(cfg Config) (*Endpoint, error) {
	watch := cfg.Sockets == nil
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Endpoint{
		announcer: announcer{on: cfg.OnEvent, log: cfg.Log},
		cfg:       cfg,
		tickets:   &ticketStore{dir: cfg.TicketDir},
		lines:     &lineBook{dir: cfg.TicketDir, lines: make(map[Pin]map[string]line)},
		quic:      quicConfig(cfg.IdleTimeout, cfg.KeepAlive, DefaultMaxStreams),
		pace:      newPace(cfg.MaxRate),
		ctx:       ctx,
		cancel:    cancel,
		links:     make(map[*Link]bool),
		spares:    make(map[Pin]*Link),
		attached:  make(map[Pin]bool),
		cautious:  make(map[Pin]bool),
		wakers:    make(map[chan struct{}]bool),
	}
	open := cfg.Sockets
	if open == nil {
		open = openUplink
	}
	for i, u := range byRank(cfg.Uplinks) {
		up := &uplink{Uplink: u, rank: i, pace: newPace(u.MaxRate)}
		sent := func(n int) {
			e.pace.count(n)
			up.pace.count(n)
		}
		newOutlet := func() *outlet {
			return &outlet{uplink: up, open: open, hint: e.resetSeen, failed: e.sendFailed, sent: sent}
		}
		up.primary, up.sibling = newOutlet(), newOutlet()
		e.uplinks = append(e.uplinks, up)
	}
	e.sayLimits()
	if watch {
		e.wg.Go(e.watchNetwork)
	}
	return e, nil
}

// Close ends all links and closes the sockets. It returns when nothing runs any
// more.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	links := make([]*Link, 0, len(e.links))
	for l := range e.links {
		links = append(links, l)
	}
	e.mu.Unlock()
	e.cancel()
	for _, l := range links {
		l.Close(CodeShutdown, "the source is going down")
	}
	for _, u := range e.uplinks {
		for _, o := range u.outlets() {
			o.close()
		}
	}
	e.wg.Wait()
	return nil
}

// each calls f for every live link, without holding the lock.
func (e *Endpoint) each(f func(*Link)) {
	e.mu.Lock()
	links := make([]*Link, 0, len(e.links))
	for l := range e.links {
		links = append(links, l)
	}
	e.mu.Unlock()
	for _, l := range links {
		f(l)
	}
}

// resetSeen and sendFailed are called from the sockets; they must not block.
func (e *Endpoint) resetSeen() {
	e.each(func(l *Link) { l.path.tell(notice{kind: noticeReset}) })
}

func (e *Endpoint) sendFailed(o *outlet, _ error) {
	e.each(func(l *Link) { l.path.tell(notice{kind: noticeSendError, outlet: o}) })
}

// subscribe returns a channel that gets a value when the network changed.
func (e *Endpoint) subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	e.mu.Lock()
	e.wakers[ch] = true
	e.mu.Unlock()
	return ch, func() {
		e.mu.Lock()
		delete(e.wakers, ch)
		e.mu.Unlock()
	}
}

// Forget drops what the endpoint remembers of a peer, above all its session
// ticket. Call it when the pairing is removed.
func (e *Endpoint) Forget(p Peer) error {
	pin, err := ParsePin(p.Pin)
	if err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.attached, pin)
	delete(e.cautious, pin)
	e.mu.Unlock()
	e.each(func(l *Link) {
		if l.pin == pin {
			l.Close(CodeNotPaired, "the source removed the pairing")
		}
	})
	return errors.Join(e.tickets.drop(pin), e.lines.drop(pin))
}

// Dial makes one attempt to reach p: it looks up the addresses, tries the ways
// there one after the other, 250 ms apart, and returns the first link that
// answers. With a session ticket, and unless the last link died of silence, it
// returns at once: what is written before [Link.Confirmed] then travels in the
// first datagrams (0-RTT), which an attacker can replay, so it must change nothing
// at the target; and if the target does not answer, or does not take the data, it
// is the link that ends with an error of class Dropped.
//
// A link returned is not yet one the target accepts; Confirmed tells.
func (e *Endpoint) Dial(ctx context.Context, p Peer) (*Link, error) {
	pin, err := ParsePin(p.Pin)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", clip(p.Name), err)
	}
	if l := e.takeSpare(pin); l != nil {
		return l, nil
	}
	l, err := e.dialLink(ctx, p, pin, true)
	var known *Error
	if errors.As(err, &known) && known.Class == Auth && e.tickets.has(pin) {
		// A ticket the target cannot use any more must not look like a removed
		// pairing: once without it.
		if err := e.tickets.drop(pin); err != nil {
			return nil, wrap("dial", p.Name, err)
		}
		l, err = e.dialLink(ctx, p, pin, false)
	}
	return l, err
}

func (e *Endpoint) dialLink(ctx context.Context, p Peer, pin Pin, early bool) (*Link, error) {
	began := time.Now()
	e.mu.Lock()
	early = early && !e.cautious[pin]
	e.mu.Unlock()
	got, via, err := e.connect(ctx, p, pin, early)
	if err != nil {
		return nil, wrap("dial", p.Name, err)
	}
	l := newSourceLink(e, got, p, pin, via, began)
	l.lanes = newLaneSet(l, e.cfg.MaxLanes)
	if !e.adopt(l) {
		return nil, wrap("dial", p.Name, quic.ErrTransportClosed)
	}
	return l, nil
}

// adopt lets a new link live, unless the endpoint ends.
func (e *Endpoint) adopt(l *Link) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		go l.conn.CloseWithError(CodeShutdown, "")
		return false
	}
	e.links[l] = true
	e.wg.Go(l.runSource)
	return true
}

// takeSpare returns the link that was dialed beside one that seemed dead.
func (e *Endpoint) takeSpare(pin Pin) *Link {
	e.mu.Lock()
	l := e.spares[pin]
	delete(e.spares, pin)
	e.mu.Unlock()
	if l == nil || l.Err() != nil {
		return nil
	}
	return l
}

// gone is called by a link when it has ended.
func (e *Endpoint) gone(l *Link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.links, l)
	if e.spares[l.pin] == l {
		delete(e.spares, l.pin)
	}
}
