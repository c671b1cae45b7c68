package quicx

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"
)

// standby returns a validated path of a connection that works.
func standby(t *testing.T, conn *quic.Conn, tr *quic.Transport) *quic.Path {
	t.Helper()
	p, err := probe(t, conn, tr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func switchTo(t *testing.T, p *quic.Path) {
	t.Helper()
	if err := p.Switch(); err != nil {
		t.Fatal(err)
	}
}

// firstFrom returns a function that tells how long after began the first datagram
// came from an address of the source; zero if none did.
func (b *bench) firstFrom(ip string, began time.Time) func() time.Duration {
	var took atomic.Int64
	b.wan.mu.Lock()
	defer b.wan.mu.Unlock()
	b.wan.tap = func(p simnet.Packet) {
		if hostOf(p.From) == ip {
			took.CompareAndSwap(0, int64(time.Since(began)+1))
		}
	}
	return func() time.Duration { return time.Duration(took.Load()) }
}

// Needed: the heartbeat in pathKeeper.switchTo.
func TestFactSwitchWakesNothing(t *testing.T) {
	for _, kicked := range []bool{false, true} {
		onBench(t, func(t *testing.T, b *bench) {
			conn := b.dial(b.uplink(0), nil, false)
			time.Sleep(time.Second)
			p := standby(t, conn, b.uplink(1))
			flood(t, conn)
			b.wan.set(true, uplinkIP(0))
			time.Sleep(2 * time.Second) // the time to the next try has doubled a few times
			took := b.firstFrom(uplinkIP(1), time.Now())
			switchTo(t, p)
			if kicked {
				if err := conn.SendDatagram([]byte("go")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(3 * time.Second)
			if got := took(); got == 0 || (got < 50*time.Millisecond) != kicked {
				t.Errorf("kicked %v: the first datagram left %v after the switch", kicked, got)
			}
		})
	}
}

// Needed: sending the link anew twice a second in a silence (pathKeeper.resend).
func TestFactResumesLateUnlessSwitchedAgain(t *testing.T) {
	const dark = 20 * time.Second
	for _, again := range []bool{false, true} {
		onBench(t, func(t *testing.T, b *bench) {
			conn := b.dial(b.uplink(0), nil, false)
			time.Sleep(time.Second)
			p := standby(t, conn, b.uplink(1))
			switchTo(t, p)
			flood(t, conn)
			b.wan.set(true, uplinkIP(1))
			time.Sleep(dark)
			b.wan.set(false, uplinkIP(1))
			if again {
				switchTo(t, p) // to where it is
				if err := conn.SendDatagram([]byte("go")); err != nil {
					t.Fatal(err)
				}
			}
			back, read := time.Now(), b.read.Load()
			for b.read.Load() == read && time.Since(back) < 2*dark {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(back); (took < 500*time.Millisecond) != again {
				t.Errorf("switched again %v: data went on %v after the line was back", again, took)
			}
		})
	}
}

// Needed: the order of probe and switch in a silence (pathKeeper.resend): the switch
// to one path lets the probe of another out.
func TestFactSwitchLetsAProbeOut(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		conn := b.dial(b.uplink(0), nil, false)
		time.Sleep(time.Second)
		sibling := standby(t, conn, b.transport(uplinkIP(0), 5001, guardedNode))
		other := b.uplink(1)
		flood(t, conn)
		b.wan.set(true, uplinkIP(0))
		time.Sleep(time.Second)
		p, err := conn.AddPath(other)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		probed := make(chan error, 1)
		go func() { probed <- p.Probe(ctx) }()
		time.Sleep(time.Millisecond)
		began := time.Now()
		switchTo(t, sibling)
		if err := conn.SendDatagram([]byte("go")); err != nil {
			t.Fatal(err)
		}
		if err := <-probed; err != nil || time.Since(began) > time.Second {
			t.Errorf("the probe took %v: %v", time.Since(began), err)
		}
	})
}

// Needed: one standby path and not two, so that a NAT may change an address.
func TestFactTwoStandbysBreakRebinding(t *testing.T) {
	for _, standbys := range []int{1, 2} {
		onBench(t, func(t *testing.T, b *bench) {
			conn := b.dial(b.uplink(0), nil, false)
			time.Sleep(time.Second)
			for i := range standbys {
				standby(t, conn, b.uplink(i+1))
			}
			flood(t, conn)
			const shift = 1000
			b.wan.mu.Lock()
			b.wan.alter = func(p simnet.Packet) (simnet.Packet, bool) {
				from, to := *p.From.(*net.UDPAddr), *p.To.(*net.UDPAddr)
				switch {
				case from.IP.String() == uplinkIP(0):
					from.Port += shift
				case to.IP.String() == uplinkIP(0):
					to.Port -= shift // what goes to the old address is lost
				}
				p.From, p.To = &from, &to
				return p, to.Port > 0
			}
			b.wan.mu.Unlock()
			time.Sleep(2 * time.Second)
			heard := conn.ConnectionStats().PacketsReceived
			time.Sleep(2 * time.Second)
			if works := conn.ConnectionStats().PacketsReceived > heard; works != (standbys == 1) {
				t.Errorf("%d standby paths: the connection works %v", standbys, works)
			}
		})
	}
}

// Needed: nothing, it is what a Listener's Close has to make up for.
func TestFactClosedListenerLeavesConnections(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		conn := b.dial(b.uplink(0), nil, false)
		time.Sleep(time.Second)
		if err := b.listener.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if conn.Context().Err() != nil {
			t.Errorf("the connection ended: %v", context.Cause(conn.Context()))
		}
	})
}

// Needed: outlet.renew. A socket that cannot be read from takes its transport along.
func TestFactReadErrorEndsTransport(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		tr := b.uplink(0)
		b.dial(tr, nil, false)
		tr.Conn.Close()
		time.Sleep(time.Second)
		config := clientTLS(b.id, protocolLink, only(b.identity.pin), nil)
		if _, err := tr.Dial(t.Context(), b.targetAddr, config, nil); !errors.Is(err, quic.ErrTransportClosed) {
			t.Errorf("a dial over it: %v", err)
		}
	})
}

// Needed: classify's order. A dial into silence ends like an idle link, and all that
// QUIC reports is a closed network too.
func TestFactErrorsAreNetErrClosed(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.wan.set(true, uplinkIP(0))
		began := time.Now()
		config := clientTLS(b.id, protocolLink, only(b.identity.pin), nil)
		_, err := b.uplink(0).Dial(t.Context(), b.targetAddr, config, quicConfig(time.Minute, time.Second, 16))
		var idle *quic.IdleTimeoutError
		if !errors.As(err, &idle) || !errors.Is(err, net.ErrClosed) || time.Since(began) != handshakeIdle {
			t.Errorf("a dial into silence: %v after %v", err, time.Since(began))
		}
	})
}

// Needed: more than one connection where a line is long and loses packets: the
// congestion window is NewReno's, which grows by one packet per round trip.
func TestFactCongestionControlIsNewReno(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		conn := b.dial(b.uplink(0), nil, false)
		s, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := s.Write(patternAt(0, loadChunk)); err != nil {
					return
				}
			}
		}()
		time.Sleep(3 * 2 * oneWay)
		b.wan.set(true, uplinkIP(0))
		time.Sleep(time.Millisecond)
		b.wan.set(false, uplinkIP(0))
		time.Sleep(8 * 2 * oneWay)
		before := conn.ConnectionStats().CongestionWindow
		const trips = 40
		time.Sleep(trips * 2 * oneWay)
		after := conn.ConnectionStats().CongestionWindow
		perTrip := (float64(after) - float64(before)) / trips
		t.Logf("the window grew from %d to %d, by %.0f bytes per round trip", before, after, perTrip)
		if perTrip < 600 || perTrip > 1600 {
			t.Errorf("the window grew from %d to %d, by %.0f bytes per round trip", before, after, perTrip)
		}
	})
}
