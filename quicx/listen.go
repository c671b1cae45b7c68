package quicx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	// DefaultListen is the address a target listens on.
	DefaultListen = ":7443"
	// maxUnproven bounds connections whose handshake is not complete. They cost
	// memory, and the sender's address may be forged.
	maxUnproven = 64
	// retryAbove is from how many of them on a new one must first prove its
	// address, which costs it one round trip (RFC 9000, section 8.1.2).
	retryAbove = 16
	// acceptQueue is how many links may wait for Accept.
	acceptQueue = 16
)

// ListenConfig configures a target's end. Identity must be set; the zero value of
// everything else works.
type ListenConfig struct {
	Identity *Identity
	// Address to listen on, "host:port". Default: ":7443". A wildcard answers
	// through the interface a source was first heard on; where this machine has
	// several ways out, give the address itself.
	Address string
	// Conn is used in place of a socket of the listener's own. The listener
	// closes it.
	Conn net.PacketConn
	// Peers are the sources that may come in; see SetPeers.
	Peers []Peer
	// StateDir keeps the key with which a restarted target tells sources that
	// their link is gone. Default: they find out by themselves, later.
	StateDir string
	// IdleTimeout, KeepAlive: as in Config.
	IdleTimeout, KeepAlive time.Duration
	// MaxStreams is how many streams one link may have open. Default: 128.
	MaxStreams int
	// OnPaired stores a new peer. An error refuses the pairing. It is called
	// before the source learns that it succeeded. Default: nothing is stored.
	OnPaired func(Peer) error
	// OnEvent, Log: as in Config.
	OnEvent func(Event)
	Log     *slog.Logger
}

func (c ListenConfig) withDefaults() (ListenConfig, error) {
	if c.Identity == nil {
		return c, errors.New("a listener needs an identity")
	}
	if c.Address == "" {
		c.Address = DefaultListen
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = DefaultMaxStreams
	}
	if c.OnPaired == nil {
		c.OnPaired = func(Peer) error { return nil }
	}
	c.IdleTimeout = orDefault(c.IdleTimeout, DefaultIdleTimeout)
	c.KeepAlive = orDefault(c.KeepAlive, DefaultKeepAlive)
	return c, nil
}

// A Listener is the target's end: it lets paired sources in.
type Listener struct {
	announcer
	cfg  ListenConfig
	sock net.PacketConn
	tr   *quic.Transport
	ln   *quic.EarlyListener
	keys *ticketKeys

	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	accepted chan *Link
	unproven atomic.Int64
	refusals limiter

	mu    sync.Mutex
	peers map[Pin]Peer
	links map[*Link]bool
	offer *offer
}

// Listen starts to let peers in.
func Listen(cfg ListenConfig) (*Listener, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	peers, err := peersByPin(cfg.Peers)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	reset, err := loadResetKey(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	pc := cfg.Conn
	if pc == nil {
		if pc, err = net.ListenPacket("udp", cfg.Address); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Listener{
		announcer: announcer{on: cfg.OnEvent, log: cfg.Log},
		cfg:       cfg,
		ctx:       ctx,
		cancel:    cancel,
		accepted:  make(chan *Link, acceptQueue),
		peers:     peers,
		links:     make(map[*Link]bool),
	}
	l.sock, _ = guarded(pc, nil, nil)
	config := serverTLS(cfg.Identity, l.verify)
	l.keys = newTicketKeys(config)
	l.tr = &quic.Transport{
		Conn:                l.sock,
		StatelessResetKey:   reset,
		ConnContext:         l.admitOne,
		VerifySourceAddress: func(net.Addr) bool { return l.unproven.Load() > retryAbove },
	}
	qc := quicConfig(cfg.IdleTimeout, cfg.KeepAlive, int64(cfg.MaxStreams))
	qc.Allow0RTT = true
	if l.ln, err = l.tr.ListenEarly(config, qc); err != nil {
		cancel()
		l.sock.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	l.wg.Go(l.serve)
	return l, nil
}

// Addr returns the address listened on.
func (l *Listener) Addr() net.Addr { return l.sock.LocalAddr() }

// peersByPin checks that names and pins are each used once.
func peersByPin(peers []Peer) (map[Pin]Peer, error) {
	byPin := make(map[Pin]Peer)
	names := make(map[string]bool)
	for _, p := range peers {
		if err := checkName(p.Name); err != nil {
			return nil, err
		}
		pin, err := ParsePin(p.Pin)
		if err != nil {
			return nil, fmt.Errorf("peer %s: %w", p.Name, err)
		}
		if other, ok := byPin[pin]; ok {
			return nil, fmt.Errorf("the peers %s and %s have the same pin", other.Name, p.Name)
		}
		if names[p.Name] {
			return nil, fmt.Errorf("two peers are named %s", p.Name)
		}
		names[p.Name] = true
		byPin[pin] = p
	}
	return byPin, nil
}

// SetPeers replaces the list of sources that may come in. Links of those no
// longer on it end at once, and no ticket that was issued before works any more:
// a ticket cannot be taken back alone.
func (l *Listener) SetPeers(peers []Peer) error {
	byPin, err := peersByPin(peers)
	if err != nil {
		return fmt.Errorf("set peers: %w", err)
	}
	l.mu.Lock()
	removed := 0
	for pin := range l.peers {
		if _, ok := byPin[pin]; !ok {
			removed++
		}
	}
	l.peers = byPin
	if removed > 0 {
		l.keys.replace()
	}
	var drop []*Link
	for k := range l.links {
		if _, ok := byPin[k.pin]; !ok {
			drop = append(drop, k)
		}
	}
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, k := range drop {
		wg.Go(func() { k.Close(CodeNotPaired, "the pairing was removed") })
		l.say(Event{Kind: EventUnpaired, Peer: k.peer, Text: "pairing removed; its link was ended"})
	}
	wg.Wait()
	return nil
}

// Accept waits for the next link of a paired source. If the source resumed its
// session the link may come before it has proved to be more than a replay: see
// [Link.Confirmed].
func (l *Listener) Accept(ctx context.Context) (*Link, error) {
	for {
		select {
		case k := <-l.accepted:
			if k.Err() != nil {
				continue
			}
			return k, nil
		case <-l.ctx.Done():
			return nil, wrap("accept", "", quic.ErrServerClosed)
		case <-ctx.Done():
			return nil, wrap("accept", "", ctx.Err())
		}
	}
}

// Close ends all links and stops listening. quic-go would leave accepted
// connections running.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.cancel()
	links := make([]*Link, 0, len(l.links))
	for k := range l.links {
		links = append(links, k)
	}
	l.mu.Unlock()
	for _, k := range links {
		k.conn.CloseWithError(CodeShutdown, "the target is going down")
	}
	err := errors.Join(l.ln.Close(), l.tr.Close(), l.sock.Close())
	l.wg.Wait()
	return err
}

// verify is asked by crypto/tls about every connection, resumed ones too. The
// peer has not proved its key yet: this decides who is worth the rest of a
// handshake, admit what it may do after it.
func (l *Listener) verify(cs tls.ConnectionState) error {
	pin, err := peerPin(cs)
	if err == nil {
		l.mu.Lock()
		_, paired := l.peers[pin]
		switch cs.NegotiatedProtocol {
		case protocolLink, protocolLane:
			if !paired {
				err = errNotPaired
			}
		case protocolPair:
			if cs.DidResume || !l.offer.valid() {
				err = errNoOffer
			}
		}
		l.mu.Unlock()
	}
	if err != nil && l.refusals.allow() {
		l.say(Event{Kind: EventRefused, Level: slog.LevelWarn,
			Text: fmt.Sprintf("refused a connection with key %s: %s", pin, err)})
	}
	return err
}

// A limiter lets one event through per second.
type limiter struct {
	mu   sync.Mutex
	last time.Time
}

func (r *limiter) allow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.last) >= time.Second {
		r.last = now
		return true
	}
	return false
}
