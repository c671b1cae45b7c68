package quicx

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
)

// A way is one pair of uplink and address that may lead to a peer.
type way struct {
	out  *outlet
	addr netip.AddrPort
	// wait is how long the way before it is tried alone.
	wait time.Duration
}

func (w way) metered() bool { return w.out.uplink.Metered }

var (
	errNoUplink  = errors.New("no uplink can reach the peer's addresses")
	errNoAddress = errors.New("the peer has no address")
)

// ways lists the ways to a peer, the most promising first: the preferred uplink to the
// first address, then one step down in either list, and so on. Metered uplinks come
// behind, and those that the network says are down come last: it may be wrong.
func (e *Endpoint) ways(ctx context.Context, addresses []string) ([]way, error) {
	addrs, err := e.resolve(ctx, addresses)
	if err != nil {
		return nil, err
	}
	type ranked struct {
		way
		down bool
		rank int
	}
	var all []ranked
	for _, u := range e.uplinks {
		down := u.down.Load()
		for i, a := range addrs {
			if u.reaches(a.Addr()) {
				all = append(all, ranked{way{u.primary, a, dialStagger}, down, u.rank + i})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(falseFirst(a.down, b.down), falseFirst(a.metered(), b.metered()), cmp.Compare(a.rank, b.rank))
	})
	var ways []way
	count := make(map[bool]int) // by whether they are metered
	unmetered := false
	for _, r := range all {
		if count[r.metered()]++; count[r.metered()] > maxWays {
			continue
		}
		if r.metered() && unmetered {
			r.wait = meteredPatience
		}
		unmetered = !r.metered() && !r.down
		ways = append(ways, r.way)
	}
	if len(ways) == 0 {
		return nil, errNoUplink
	}
	return ways, nil
}

// resolve looks names up anew: a peer may have moved. A name that has no address
// now does not stop the others.
func (e *Endpoint) resolve(ctx context.Context, addresses []string) ([]netip.AddrPort, error) {
	var found []netip.AddrPort
	failure := errNoAddress
	for _, a := range addresses {
		host, service, err := net.SplitHostPort(a)
		if err != nil {
			return nil, err
		}
		port, err := strconv.ParseUint(service, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("address %q: the port is not a number from 1 to 65535", clip(a))
		}
		ips := []netip.Addr{}
		if ip, err := netip.ParseAddr(host); err == nil {
			ips = append(ips, ip)
		} else if ips, err = e.cfg.Lookup(ctx, host); err != nil {
			failure = err
		}
		for _, ip := range ips {
			ap := netip.AddrPortFrom(ip.Unmap(), uint16(port))
			if !slices.Contains(found, ap) {
				found = append(found, ap)
			}
		}
	}
	if len(found) == 0 {
		return nil, failure
	}
	return found, nil
}

// connect races the ways to p. With early set, and a ticket for p, the first way
// is taken without waiting for an answer.
func (e *Endpoint) connect(ctx context.Context, p Peer, pin Pin, early bool) (dialed, way, error) {
	return e.raceTo(ctx, p.Addresses, func() *tls.Config {
		return clientTLS(e.cfg.Identity, protocolLink, only(pin), e.tickets.of(pin))
	}, early && e.tickets.allowsEarly(pin))
}

// connectToPair dials the appliance that made code, whose whole pin it returns.
func (e *Endpoint) connectToPair(ctx context.Context, addr string, code pairCode) (*quic.Conn, Pin, error) {
	got, _, err := e.raceTo(ctx, []string{addr}, func() *tls.Config {
		return clientTLS(e.cfg.Identity, protocolPair, code.accepts, nil)
	}, false)
	if err != nil {
		return nil, Pin{}, err
	}
	pin, err := peerPin(got.conn.ConnectionState().TLS)
	return got.conn, pin, err
}

func (e *Endpoint) raceTo(ctx context.Context, addresses []string, config func() *tls.Config, early bool) (dialed, way, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(e.ctx, cancel)
	defer stop()
	ways, err := e.ways(ctx, addresses)
	if err != nil {
		return dialed{}, way{}, err
	}
	return race(ctx, ways, func(ctx context.Context, w way) (dialed, error) {
		return e.dialWay(ctx, w, config, early && w == ways[0])
	})
}

func (e *Endpoint) dialWay(ctx context.Context, w way, config func() *tls.Config, early bool) (dialed, error) {
	to := net.UDPAddrFromAddrPort(w.addr)
	for retried := false; ; retried = true {
		tr, gate, err := w.out.transport()
		if err != nil {
			return dialed{}, err
		}
		var got dialed
		if early {
			got, err = dialEarly(ctx, tr, gate, to, config(), e.quic)
		}
		if !early || errors.Is(err, errNotEarly) {
			got.conn, err = tr.Dial(ctx, to, config(), e.quic)
		}
		if errors.Is(err, quic.ErrTransportClosed) && !retried && e.ctx.Err() == nil {
			w.out.renew(tr) // the socket broke under the transport
			continue
		}
		return got, err
	}
}

// race calls dial for each way, the next one after its wait or when all running ones
// have failed, and returns the first that succeeds. If none does it
// returns the error that says most.
func race(ctx context.Context, ways []way, dial func(context.Context, way) (dialed, error)) (dialed, way, error) {
	type result struct {
		dialed
		way way
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result)
	over := make(chan struct{})
	defer close(over)
	launch := func(w way) {
		got, err := dial(ctx, w)
		select {
		case results <- result{got, w, err}:
		case <-over:
			if got.conn != nil {
				got.conn.CloseWithError(CodeDone, "another way was faster")
			}
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var worst error
	running := 0
	for {
		select {
		case <-timer.C:
			go launch(ways[0])
			ways, running = ways[1:], running+1
			if len(ways) > 0 {
				timer.Reset(ways[0].wait)
			}
		case r := <-results:
			if r.err == nil {
				return r.dialed, r.way, nil
			}
			running--
			if worst == nil || tells(r.err) > tells(worst) {
				worst = r.err
			}
			if running > 0 {
				continue
			}
			if len(ways) == 0 || ctx.Err() != nil {
				return dialed{}, way{}, worst
			}
			timer.Reset(0)
		}
	}
}

// tells ranks errors by how much they tell the operator: a peer that answered and
// said no tells more than one that did not answer.
func tells(err error) int {
	switch classify(err).Class {
	case Auth:
		return 4
	case Protocol:
		return 3
	case Refused:
		return 2
	case Dropped:
		return 1
	}
	return 0
}
