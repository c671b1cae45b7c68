package quicx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Several addresses and uplinks are tried 250 ms apart, so that a dead one costs no
// more than that; names are looked up at each dial.
func TestDialRacesAllWays(t *testing.T) {
	const nobody, six = "203.0.113.99:7443", "[2001:db8::1]:7443"
	tests := []struct {
		name      string
		addresses []string
		uplinks   int
		cut       []string
		atMost    time.Duration // without the two round trips of a handshake
		path      string
	}{
		{"the only one", []string{"203.0.113.1:7443"}, 1, nil, 0, "fibre"},
		{"a dead address first", []string{nobody, "203.0.113.1:7443"}, 1, nil, dialStagger, "fibre"},
		{"a dead uplink first", []string{"203.0.113.1:7443"}, 2, []string{uplinkIP(0)}, dialStagger, "lte"},
		{"an address of another family", []string{six, "203.0.113.1:7443"}, 1, nil, 0, "fibre"},
		{"by name", []string{"dr.example.net:7443"}, 1, nil, 0, "fibre"},
		{"a name that is not known", []string{"gone.example.net:7443", "203.0.113.1:7443"}, 1, nil, 0, "fibre"},
		{"all the wrong ways first", []string{nobody, "203.0.113.1:7443"}, 2, []string{uplinkIP(0)}, 3 * dialStagger, "lte"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				src := testIdentity(t, "branch-lyon")
				w.target(src)
				cfg := w.sourceConfig(src, test.uplinks)
				cfg.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
					if host == "dr.example.net" {
						return []netip.Addr{netip.MustParseAddr("203.0.113.1")}, nil
					}
					return nil, errors.New("no such host")
				}
				e := w.endpoint(cfg)
				w.wan.set(true, test.cut...)
				p := w.peer()
				p.Addresses = test.addresses
				began := time.Now()
				link, err := e.Dial(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > test.atMost+4*oneWay {
					t.Errorf("took %v", took)
				}
				if got := link.Stats().Path; got != test.path {
					t.Errorf("over %s, want %s", got, test.path)
				}
				time.Sleep(10 * time.Second) // the losers are gone
				if err := link.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A peer may be reached over IPv6, over IPv4, or over either.
func TestDialOverBothFamilies(t *testing.T) {
	const six, four = "[2001:db8:1::1]:7443", "203.0.113.1:7443"
	for _, test := range []struct {
		at        string // where the target listens
		addresses []string
		path      string
	}{
		{six, []string{six}, "six"},
		{six, []string{six, four}, "six"},
		{six, []string{four, six}, "six"},
		{four, []string{six, four}, "four"},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.targetAddr = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(test.at))
			src := testIdentity(t, "branch-lyon")
			w.target(src)
			cfg := w.sourceConfig(src, 1)
			cfg.Uplinks = []Uplink{{Name: "four", Bind: uplinkIP(0)}, {Name: "six", Bind: "2001:db8:2::10"}}
			p := w.peer()
			p.Addresses = test.addresses
			link, err := w.endpoint(cfg).Dial(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if s := link.Stats(); s.Path != test.path || s.Remote != test.at {
				t.Errorf("%v: over %s to %s, want %s to %s", test.addresses, s.Path, s.Remote, test.path, test.at)
			}
		})
	}
}

// A peer that moved is found at the next dial.
func TestDialLooksNamesUpAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		l := w.target(src)
		cfg := w.sourceConfig(src, 1)
		cfg.Lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{w.targetAddr.AddrPort().Addr()}, nil
		}
		e := w.endpoint(cfg)
		p := w.peer()
		p.Addresses = []string{"dr.example.net:7443"}
		for _, ip := range []string{"203.0.113.1", "203.0.113.2"} {
			if ip != w.targetAddr.IP.String() {
				l.Close()
				w.targetAddr = udpAddr(ip, 7443)
				w.target(src)
			}
			link, err := e.Dial(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if got := link.Stats().Remote; got != ip+":7443" {
				t.Errorf("reached %s, want %s", got, ip)
			}
		}
	})
}

func TestDialRefusesBadPeers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e := w.endpoint(w.sourceConfig(testIdentity(t, "branch-lyon"), 1))
		for name, edit := range map[string]func(*Peer){
			"no pin":      func(p *Peer) { p.Pin = "" },
			"no address":  func(p *Peer) { p.Addresses = nil },
			"no port":     func(p *Peer) { p.Addresses = []string{"203.0.113.1"} },
			"a bad port":  func(p *Peer) { p.Addresses = []string{"203.0.113.1:99999"} },
			"IPv6 only":   func(p *Peer) { p.Addresses = []string{"[2001:db8::1]:7443"} },
			"an odd port": func(p *Peer) { p.Addresses = []string{"203.0.113.1:https"} },
		} {
			p := w.peer()
			edit(&p)
			_, err := e.Dial(t.Context(), p)
			var known *Error
			if err == nil || errors.As(err, &known) && known.Dropped() {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
