package quicx

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
)

// Defaults of Config, ListenConfig and Redial.
const (
	DefaultIdleTimeout = 60 * time.Second
	DefaultKeepAlive   = 5 * time.Second
	DefaultReturnAfter = 30 * time.Second
	DefaultRedialEvery = 15 * time.Second
	DefaultRedialFor   = 30 * time.Minute
	DefaultMaxStreams  = 128
)

const (
	// handshakeIdle is how long a dial may hear nothing.
	handshakeIdle = 5 * time.Second
	// dialTimeout bounds one dial, all addresses and uplinks together. It is
	// shorter than the redial interval, so that attempts start on time.
	dialTimeout = 10 * time.Second
	// dialStagger is how long one way to the peer is tried alone before the
	// next one is tried beside it (RFC 8305, section 5).
	dialStagger = 250 * time.Millisecond
	// meteredPatience is how long unmetered uplinks have to answer a dial before
	// a metered one is tried beside them. A satellite needs 1.2 s.
	meteredPatience = 2 * time.Second
	// maxWays bounds how many pairs of uplink and address one dial tries, and how
	// many over metered uplinks beside them.
	maxWays = 8
)

// An Uplink is one way out of the source's site.
type Uplink struct {
	Name string
	// Bind is a local address or the name of an interface. Empty: any.
	Bind string
	// MaxRate limits what is sent over it, in bytes a second. 0: no limit.
	MaxRate int64
	// Metered: what goes over it costs money. It is used while no unmetered
	// uplink works, and ranks behind all of them.
	Metered bool
}

// A Peer is an appliance this one is paired with.
type Peer struct {
	Name string
	// Addresses are "host:port"; names are looked up at each dial. A target
	// needs none for its sources.
	Addresses []string
	Pin       string
}

// Config configures a source's end. Identity must be set; the zero value of
// everything else works.
type Config struct {
	Identity *Identity
	// Uplinks in order of preference, metered ones aside. Default: one, bound to
	// any address.
	Uplinks []Uplink
	// TicketDir keeps the session tickets that make a reattach one round trip
	// shorter, and what was learned of the lines to a peer, across restarts.
	// Default: none are kept.
	TicketDir string
	// IdleTimeout is how long a silent link lives. Default: 60 s.
	IdleTimeout time.Duration
	// KeepAlive is how often a quiet link is used, so that NATs keep it open.
	// Default: 5 s.
	KeepAlive time.Duration
	// ReturnAfter is how long a better uplink must have been good before the
	// link moves back to it. Default: 30 s.
	ReturnAfter time.Duration
	// MaxRate limits what is sent over all uplinks, in bytes a second, headers and
	// all. Default: no limit. See [Endpoint.SetMaxRate].
	MaxRate int64
	// MaxLanes is the most connections that a link may have: it adds some where a
	// line loses packets at random, which holds each of them back. 1 switches it
	// off. Default: [MaxLanes].
	MaxLanes int
	// OnEvent is called for each event, in order, and must not block.
	OnEvent func(Event)
	// Log receives events too. Default: none.
	Log *slog.Logger
	// Sockets opens the UDP socket of an uplink in place of the endpoint. It
	// may be called twice per uplink: a single uplink needs a second socket as
	// its standby path. The endpoint closes what it returns. With Sockets set
	// the machine's network is not watched: call [Endpoint.NetworkChanged].
	Sockets func(Uplink) (net.PacketConn, error)
	// Lookup turns a host name into addresses. Default: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

func (c Config) withDefaults() (Config, error) {
	if c.Identity == nil {
		return c, errors.New("an endpoint needs an identity")
	}
	if len(c.Uplinks) == 0 {
		c.Uplinks = []Uplink{{Name: "default"}}
	}
	names := make(map[string]bool)
	for _, u := range c.Uplinks {
		if err := checkName(u.Name); err != nil {
			return c, err
		}
		if names[u.Name] {
			return c, errors.New("two uplinks are named " + u.Name)
		}
		names[u.Name] = true
	}
	c.IdleTimeout = orDefault(c.IdleTimeout, DefaultIdleTimeout)
	c.KeepAlive = orDefault(c.KeepAlive, DefaultKeepAlive)
	c.ReturnAfter = orDefault(c.ReturnAfter, DefaultReturnAfter)
	if c.MaxLanes <= 0 || c.MaxLanes > MaxLanes {
		c.MaxLanes = MaxLanes
	}
	if c.Lookup == nil {
		c.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return c, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Redial says how long and how often a lost link is dialed again.
type Redial struct {
	// Every is the time between attempts, start to start. Default: 15 s.
	Every time.Duration
	// For is the redial window. Default: 30 min.
	For time.Duration
}

func (r Redial) withDefaults() Redial {
	r.Every = orDefault(r.Every, DefaultRedialEvery)
	r.For = orDefault(r.For, DefaultRedialFor)
	return r
}

// Flow control windows, in bytes. linkWindow is what all streams of a link together
// may have in memory at the receiver and is shared out among them by grants
// (inbound.go), however many lanes carry them. The windows of each connection are
// larger, so that on a lane they never hold anything back: what a disk waits for may
// be behind what another disk has no room for. They are part of a session ticket:
// an update must never lower them, or every ticket loses 0-RTT.
const (
	linkWindow   = 8 << 20
	streamWindow = linkWindow
	connWindow   = linkWindow + 4<<20
)

func quicConfig(idle, keepAlive time.Duration, maxStreams int64) *quic.Config {
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1},
		HandshakeIdleTimeout:           handshakeIdle,
		MaxIdleTimeout:                 idle,
		KeepAlivePeriod:                keepAlive,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             maxStreams,
		MaxIncomingUniStreams:          -1,
		// A stream counts until the engine has closed it, not only until the
		// peer has: otherwise opening and resetting streams costs a peer
		// nothing and this end a goroutine each.
		RequireStreamCreditRelease: true,
		EnableDatagrams:            true, // heartbeats, heartbeat.go
	}
}
