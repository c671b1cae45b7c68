package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"wanrep/configs"
	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/tui"
)

const (
	// lookupTimeout, probeTimeout and portTimeout bound the questions to the network.
	lookupTimeout = 5 * time.Second
	probeTimeout  = 12 * time.Second
	portTimeout   = time.Second
	// clockSlack is how far apart clocks may be that nobody sets; clockLimit is from
	// where on ages and schedules are wrong by what an operator notices.
	clockSlack = 2 * time.Second
	clockLimit = 5 * time.Minute
)

// uplinks checks that what they are bound to is there.
func (d *doctor) uplinks() {
	for _, u := range d.cfg.Uplinks {
		if u.Bind == "" {
			continue
		}
		if err := bound(u.Bind); err != nil {
			d.tell(odd("uplink", "links use the other uplinks until it is there", "%s: %v", u.Name, err))
			continue
		}
		d.tell(good("uplink", "%s on %s", u.Name, u.Bind))
	}
}

// bound reports whether bind names an interface that is up or an address of one.
func bound(bind string) error {
	want, err := netip.ParseAddr(bind)
	if err != nil {
		ifc, err := net.InterfaceByName(bind)
		if err != nil {
			return fmt.Errorf("there is no interface %s", bind)
		}
		if ifc.Flags&net.FlagUp == 0 {
			return fmt.Errorf("the interface %s is down", bind)
		}
		return nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	has := func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		// All of 127.0.0.0/8 is there when 127.0.0.1 is.
		return err == nil && (p.Addr().WithZone("") == want.WithZone("") || want.IsLoopback() && p.Contains(want))
	}
	if !slices.ContainsFunc(addrs, has) {
		return fmt.Errorf("no interface has the address %s", bind)
	}
	return nil
}

// peers looks for the way to the targets, or to the one that is named.
func (d *doctor) peers(ctx context.Context, identity *quicx.Identity, only string) {
	found := false
	for _, p := range d.cfg.Peers {
		if only != "" && p.Name != only {
			continue
		}
		found = true
		if p.Pin == "" {
			d.tell(bad("pairing", "", notPaired(p.Name)))
			continue
		}
		if addresses := d.resolves(ctx, p); d.routes(addresses) && identity != nil {
			d.answers(ctx, identity, p, addresses)
		}
	}
	switch {
	case only != "" && !found:
		d.tell(bad("pairing", "", notPaired(only)))
	case !found:
		d.tell(odd("pairing", "run wanrep pair offer at the target, then wanrep pair join ADDRESS here", "not paired with any target"))
	}
}

// resolves returns the addresses of a peer that are known.
func (d *doctor) resolves(ctx context.Context, p configs.Peer) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var all []netip.AddrPort
	for _, address := range p.Addresses {
		host, service, err := net.SplitHostPort(address)
		if err != nil {
			d.tell(bad("name", "write it as host:port in [[peer]]", fmt.Errorf("%s: %w", p.Name, err)))
			continue
		}
		port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
		if err != nil {
			d.tell(bad("name", "write the port as a number in [[peer]]", fmt.Errorf("%s: %w", p.Name, err)))
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			d.tell(bad("name", fmt.Sprintf("%s asks the same; correct the name in [[peer]], or write the address itself", askName(host)), fmt.Errorf("%s: %w", p.Name, err)))
			continue
		}
		var texts []string
		for _, ip := range ips {
			texts = append(texts, ip.Unmap().String())
			all = append(all, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		}
		if _, err := netip.ParseAddr(host); err != nil { // else nothing was looked up
			d.tell(good("name", "%s is %s", host, strings.Join(texts, ", ")))
		}
	}
	return all
}

// routes reports whether the machine knows a way to any of the addresses. The
// kernel decides that without sending anything.
func (d *doctor) routes(addresses []netip.AddrPort) bool {
	any := false
	for _, a := range addresses {
		conn, err := net.Dial("udp", a.String())
		if err != nil {
			d.tell(bad("route", fmt.Sprintf("%s shows the way; add a route, or a default gateway", showRoute(a.Addr())), fmt.Errorf("%v: %w", a.Addr(), reasonOf(err))))
			continue
		}
		d.tell(good("route", "%v from %v", a.Addr(), conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()))
		conn.Close()
		any = true
	}
	return any
}

// reasonOf is what the system said, without the addresses that a net.OpError adds.
func reasonOf(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// answers makes a link to a peer, which proves the way there and both keys.
func (d *doctor) answers(ctx context.Context, identity *quicx.Identity, p configs.Peer, addresses []netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	// Without the appliance's tickets, so that all of the handshake is tried.
	endpoint, err := quicx.NewEndpoint(quicx.Config{Identity: identity, Uplinks: uplinksOf(d.cfg), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.tell(bad("link", "", err))
		return
	}
	defer endpoint.Close()
	got, err := endpoint.Dial(ctx, quicx.Peer{Name: p.Name, Addresses: p.Addresses, Pin: p.Pin})
	if err == nil {
		defer got.Close(quicx.CodeDone, "the doctor has seen enough")
		err = got.Confirmed(ctx)
	}
	fits := d.fits(addresses)
	if err != nil {
		d.tell(bad("link", linkHint(err, p, addresses, fits), err))
		return
	}
	s := got.Stats()
	d.tell(good("link", "%s answers at %s over %s, round trip %s", p.Name, s.Remote, s.Path, tui.Seconds(s.RTT.Seconds())))
	ahead, took, err := replicate.AskClock(ctx, quicLink{got})
	if err != nil {
		d.tell(odd("clock", "compare wanrep version on both appliances", "%s does not tell its time: %v", p.Name, err))
		return
	}
	d.tell(clockFinding(p.Name, ahead, took))
}

// clockFinding judges how far a peer's clock is ahead, which is right to half of
// took. A wrong clock keeps nobody from talking, but ages and times are wrong.
func clockFinding(peer string, ahead, took time.Duration) finding {
	apart, which := ahead, "ahead of"
	if ahead < 0 {
		apart, which = -ahead, "behind"
	}
	if apart <= clockSlack+took {
		return good("clock", "agrees with %s to %s", peer, tui.Seconds(max(apart, took/2).Seconds()))
	}
	f := odd("clock", setClock+" on the one that is wrong, and this doctor again", "%s is %s %s this machine", peer, tui.Seconds(apart.Seconds()), which)
	if apart > clockLimit {
		f.State = findingFailed
	}
	return f
}

// fits tells how large a datagram may be on the way to each address, and reports
// whether those of QUIC fit.
func (d *doctor) fits(addresses []netip.AddrPort) bool {
	fit := true
	for _, a := range addresses {
		mtu, ok := pathMTU(a)
		if !ok {
			continue
		}
		if least := leastMTU(a.Addr()); mtu < least {
			fit = false
			d.tell(bad("mtu", "raise it where it is low: "+fmt.Sprintf(setMTU, least)+", or the same in the tunnel's settings",
				fmt.Errorf("%d bytes to %v, QUIC needs %d", mtu, a.Addr(), least)))
			continue
		}
		d.tell(good("mtu", "%d bytes to %v", mtu, a.Addr()))
	}
	return fit
}

// leastMTU is what QUIC needs: 1200 bytes in each of the first datagrams (RFC 9000,
// section 14), and the headers of UDP and IP.
func leastMTU(a netip.Addr) int {
	if a.Is4() {
		return quicBytes + 8 + 20
	}
	return quicBytes + 8 + 40
}

const quicBytes = 1200

// linkHint tells silence, which firewalls make, from an answer.
func linkHint(err error, p configs.Peer, addresses []netip.AddrPort, fits bool) string {
	e, ok := errors.AsType[*quicx.Error](err)
	switch {
	case !ok:
		return ""
	case e.Class == quicx.Auth:
		return e.Hint() + fmt.Sprintf("; there: wanrep pair offer; here: wanrep pair remove %s, wanrep pair join %s", quoted(p.Name), p.Addresses[0])
	case !e.Dropped() || !fits:
		return e.Hint()
	}
	for _, a := range addresses {
		switch said := answerTo(a, 1); {
		case errors.Is(said, syscall.ECONNREFUSED):
			return "the machine answers, but no appliance listens there, or a firewall there rejects UDP: is wanrep serve running at the target? There: wanrep doctor"
		case errors.Is(said, syscall.EHOSTUNREACH), errors.Is(said, syscall.ENETUNREACH), errors.Is(said, syscall.EACCES):
			return fmt.Sprintf("a router or firewall on the way says that UDP to %v does not get there (%v): it has to let that through, out and back", a, said)
		}
	}
	for _, a := range addresses {
		// Where small datagrams get an answer and large ones do not, size matters.
		neighbour := netip.AddrPortFrom(a.Addr(), a.Port()^1)
		closed := func(bytes int) bool { return errors.Is(answerTo(neighbour, bytes), syscall.ECONNREFUSED) }
		if closed(1) && !closed(quicBytes) {
			return fmt.Sprintf("datagrams of 1 byte get there and those of %d do not: a tunnel on the way drops what is too large and does not say so; raise its MTU to %d",
				quicBytes, leastMTU(a.Addr()))
		}
	}
	return fmt.Sprintf("is wanrep serve running at the target? If so, a firewall on the way drops UDP: ask for UDP to %s, out and back; at the target: %s",
		strings.Join(p.Addresses, ", "), letIn(p.Addresses[0]))
}

// answerTo returns what the network says to a datagram of so many bytes, as ICMP tells
// it: that nobody listens at the address, or that there is no way to it. It is nil or a
// timeout if it says nothing. A link's own sockets are not connected, and so never hear
// it (udp(7)).
func answerTo(address netip.AddrPort, bytes int) error {
	conn, err := net.Dial("udp", address.String())
	if err != nil {
		return reasonOf(err)
	}
	defer conn.Close()
	hearAll(conn)
	conn.SetDeadline(time.Now().Add(portTimeout))
	// What is sent is no QUIC packet, so an appliance does not answer it.
	if _, err = conn.Write(make([]byte, bytes)); err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if call, ok := errors.AsType[syscall.Errno](err); ok {
		return call
	}
	return err
}
