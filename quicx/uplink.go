package quicx

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// An outlet is one UDP socket of an uplink and the transport on it. It lives as
// long as the endpoint: closing the transport a connection was dialed on would
// kill that connection even after it had migrated.
type outlet struct {
	uplink *uplink
	open   func(Uplink) (net.PacketConn, error)
	hint   func()               // see resetHint
	failed func(*outlet, error) // a send error
	sent   func(bytes int)      // a datagram, or several

	mu    sync.Mutex
	tr    *quic.Transport
	sock  net.PacketConn
	guard *guard
	ended bool

	// erred is when sending last failed, in nanoseconds since 1970.
	erred atomic.Int64
}

// An uplink is an Uplink with its two sockets. The second one, the sibling, is
// opened only when the link needs a standby path and no other uplink has one: a
// path cannot be its own standby, because a target does not answer a probe that
// comes from the address in use.
type uplink struct {
	Uplink
	rank             int // 0 is preferred
	pace             *pace
	primary, sibling *outlet
	// down is set while the network says that nothing can be sent here.
	down atomic.Bool
}

func (u *uplink) outlets() []*outlet { return []*outlet{u.primary, u.sibling} }

// byRank returns the uplinks in the order of preference: metered ones come last.
func byRank(uplinks []Uplink) []Uplink {
	return slices.SortedStableFunc(slices.Values(uplinks), func(a, b Uplink) int {
		return falseFirst(a.Metered, b.Metered)
	})
}

// terms tells, at the end of an event, what is special about using this uplink.
func (u *uplink) terms() string {
	text := ""
	if u.Metered {
		text += ", metered"
	}
	if u.MaxRate > 0 {
		text += ", limited to " + bits(u.MaxRate)
	}
	return text
}

// transport opens the socket at first use, and again if that failed: an uplink
// may be plugged in later. The guard is the one in the transport's socket.
func (o *outlet) transport() (*quic.Transport, *guard, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return nil, nil, quic.ErrTransportClosed
	}
	if o.tr != nil {
		return o.tr, o.guard, nil
	}
	pc, err := o.open(o.uplink.Uplink)
	if err != nil {
		return nil, nil, fmt.Errorf("open a socket on uplink %s: %w", o.uplink.Name, err)
	}
	o.sock, o.guard = guarded(pc, func(err error) {
		o.erred.Store(time.Now().UnixNano())
		o.failed(o, err)
	}, o.sent)
	o.tr = &quic.Transport{Conn: o.sock, Tracer: resetHint{o.hint}}
	return o.tr, o.guard, nil
}

// renew forgets tr, which was found closed, so that the next use opens another.
func (o *outlet) renew(tr *quic.Transport) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tr == tr && !o.ended {
		o.sock.Close()
		o.tr, o.sock, o.guard = nil, nil, nil
	}
}

// hold stops sending, or lets it go on.
func (o *outlet) hold(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.guard != nil {
		o.guard.hold(on)
	}
}

// erredSince reports whether sending failed after t.
func (o *outlet) erredSince(t time.Time) bool {
	return o.erred.Load() > t.UnixNano()
}

func (o *outlet) close() {
	o.mu.Lock()
	tr, sock := o.tr, o.sock
	o.tr, o.sock, o.ended = nil, nil, true
	o.mu.Unlock()
	if tr != nil {
		tr.Close()
		sock.Close()
	}
}
