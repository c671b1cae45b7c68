package quicx

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// The tests in this file hold quic-go v0.65.0 and crypto/tls to what this package
// is built around, by hand and without it. Where one fails after an upgrade, the
// workaround it names may be wrong, or not needed any more.

// A bench is a hand-made target and the means to dial it.
type bench struct {
	*world
	server   *quic.Transport
	listener *quic.EarlyListener
	config   *tls.Config  // of the target
	quic     *quic.Config // of the target
	id       *Identity    // of the source
	conns    chan *quic.Conn
	read     atomic.Int64 // bytes of streams, at the target
}

func onBench(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		b := &bench{world: w, id: testIdentity(t, "branch-lyon"), conns: make(chan *quic.Conn, 16)}
		b.config = serverTLS(b.identity, func(tls.ConnectionState) error { return nil })
		newTicketKeys(b.config)
		b.quic = quicConfig(DefaultIdleTimeout, DefaultKeepAlive, 16)
		b.quic.Allow0RTT = true
		b.serve()
		f(t, b)
	})
}

// serve starts the target.
func (b *bench) serve() {
	b.server = b.transport(b.targetAddr.IP.String(), b.targetAddr.Port, func(pc net.PacketConn) net.PacketConn { return pc })
	b.server.StatelessResetKey = &quic.StatelessResetKey{1, 2, 3}
	ln, err := b.server.ListenEarly(b.config, b.quic)
	if err != nil {
		b.t.Fatal(err)
	}
	b.listener = ln
	go func() {
		for {
			conn, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			b.conns <- conn
			go func() { // read all there is
				for {
					s, err := conn.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go func() {
						buf := make([]byte, 64<<10)
						for {
							n, err := s.Read(buf)
							b.read.Add(int64(n))
							if err != nil {
								return
							}
						}
					}()
				}
			}()
		}
	}()
}

// stop ends the target without a goodbye.
func (b *bench) stop() {
	b.server.Close()
	b.server.Conn.Close()
}

func (b *bench) transport(ip string, port int, wrap func(net.PacketConn) net.PacketConn) *quic.Transport {
	node := b.node(udpAddr(ip, port))
	tr := &quic.Transport{Conn: wrap(node)}
	b.ends = append(b.ends, func() {
		tr.Close()
		node.Close()
	})
	return tr
}

func guardedNode(pc net.PacketConn) net.PacketConn {
	s, _ := guarded(pc, nil, nil)
	return s
}

// uplink returns a transport on the source's uplink i, guarded.
func (b *bench) uplink(i int) *quic.Transport { return b.transport(uplinkIP(i), 5000, guardedNode) }

func (b *bench) dial(tr *quic.Transport, tickets tls.ClientSessionCache, early bool) *quic.Conn {
	b.t.Helper()
	config := clientTLS(b.id, protocolLink, only(b.identity.pin), tickets)
	dial := tr.Dial
	if early {
		dial = tr.DialEarly
	}
	conn, err := dial(b.t.Context(), b.targetAddr, config, quicConfig(DefaultIdleTimeout, DefaultKeepAlive, 16))
	if err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// flood writes to a new stream until the connection ends.
func flood(t *testing.T, conn *quic.Conn) {
	t.Helper()
	s, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := s.Write(patternAt(0, loadChunk)); err != nil {
				return
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-conn.Context().Done():
				return
			}
		}
	}()
	time.Sleep(time.Second)
}

// probe validates a path to the target over tr, within limit.
func probe(t *testing.T, conn *quic.Conn, tr *quic.Transport, limit time.Duration) (*quic.Path, error) {
	t.Helper()
	p, err := conn.AddPath(tr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return p, p.Probe(ctx)
}

// Needed: guard (socket.go).
func TestFactSendErrorsKill(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		onBench(t, func(t *testing.T, b *bench) {
			wrap := func(pc net.PacketConn) net.PacketConn { return pc }
			if wrapped {
				wrap = guardedNode
			}
			conn := b.dial(b.transport(uplinkIP(0), 5000, wrap), nil, false)
			flood(t, conn)
			b.wan.mu.Lock()
			b.wan.fail = map[string]bool{uplinkIP(0): true}
			b.wan.mu.Unlock()
			time.Sleep(5 * time.Second)
			if dead := conn.Context().Err() != nil; dead == wrapped {
				t.Errorf("guarded %v: dead %v, %v", wrapped, dead, context.Cause(conn.Context()))
			}
		})
	}
}

// Needed: one standby path that is validated beforehand (pathKeeper).
func TestFactNoProbeOnceDead(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		conn := b.dial(b.uplink(0), nil, false)
		flood(t, conn)
		b.wan.set(true, uplinkIP(0))
		time.Sleep(time.Second)
		if _, err := probe(t, conn, b.uplink(1), 25*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a probe over a good path, once the one in use was dead: %v", err)
		}
	})
}

// Needed: transports that live as long as the endpoint (outlet).
func TestFactClosingTheOldTransportKills(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		dialed := b.uplink(0)
		conn := b.dial(dialed, nil, false)
		time.Sleep(time.Second)
		p, err := probe(t, conn, b.uplink(1), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Switch(); err != nil {
			t.Fatal(err)
		}
		flood(t, conn)
		dialed.Close()
		time.Sleep(time.Second)
		if cause := context.Cause(conn.Context()); !errors.Is(cause, quic.ErrTransportClosed) {
			t.Errorf("the migrated connection: %v", cause)
		}
	})
}

// Needed: the second socket of an uplink (outlet), and pathKeeper.heardOn.
func TestFactNoAnswerFromTheAddressInUse(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		tr := b.uplink(0)
		conn := b.dial(tr, nil, false)
		time.Sleep(time.Second)
		if _, err := probe(t, conn, tr, 5*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a probe from the address in use: %v", err)
		}
	})
}

// Needed: one standby path and no more.
func TestFactTwoMorePathsAtMost(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		conn := b.dial(b.uplink(0), nil, false)
		time.Sleep(time.Second)
		for i, want := range []error{nil, nil, context.DeadlineExceeded} {
			if _, err := probe(t, conn, b.uplink(i+1), 5*time.Second); !errors.Is(err, want) {
				t.Errorf("path %d: %v, want %v", i+1, err, want)
			}
		}
	})
}

// Needed: giving a link up whose 0-RTT was rejected (runSource).
func TestFactNoMigrationAfterRejectedEarlyData(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		store := &ticketStore{dir: t.TempDir()}
		first := b.dial(b.uplink(0), store.of(Pin{}), false)
		time.Sleep(time.Second)
		first.CloseWithError(0, "")
		newTicketKeys(b.config)
		conn := b.dial(b.uplink(1), store.of(Pin{}), true)
		if s, err := conn.OpenStream(); err == nil {
			s.Write([]byte("where were we?"))
		}
		next, err := conn.NextConnection(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if next.ConnectionState().Used0RTT {
			t.Fatal("the test needs a rejection")
		}
		time.Sleep(time.Second)
		if _, err := probe(t, next, b.uplink(2), 10*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a probe after a rejected 0-RTT attempt: %v", err)
		}
	})
}

// Needed: nothing, it is what dialEarly relies on: a dial with a ticket returns before
// the first datagram has left, and its first stream can be opened then.
func TestFactEarlyDialWaitsForNothing(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		store := &ticketStore{dir: t.TempDir()}
		conn := b.dial(b.uplink(0), store.of(Pin{}), false)
		time.Sleep(time.Second)
		conn.CloseWithError(0, "")
		sock, g := guarded(b.node(udpAddr(uplinkIP(1), 5000)), nil, nil)
		tr := &quic.Transport{Conn: sock}
		b.ends = append(b.ends, func() { tr.Close(); sock.Close() })
		g.handshakes <- struct{}{}
		conn = b.dial(tr, store.of(Pin{}), true)
		s, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		<-g.handshakes
		if _, err := s.Write([]byte("where were we?")); err != nil {
			t.Fatal(err)
		}
		<-conn.HandshakeComplete()
		if !conn.ConnectionState().Used0RTT {
			t.Error("no 0-RTT")
		}
	})
}

// Needed: the spare link (dialSpare).
func TestFactResetIsNotSeenAfterMigration(t *testing.T) {
	for _, migrated := range []bool{false, true} {
		onBench(t, func(t *testing.T, b *bench) {
			conn := b.dial(b.uplink(0), nil, false)
			time.Sleep(time.Second)
			if migrated {
				p, err := probe(t, conn, b.uplink(1), time.Second)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Switch(); err != nil {
					t.Fatal(err)
				}
			}
			flood(t, conn)
			b.wan.set(true, b.targetAddr.IP.String())
			b.stop()
			b.wan.set(false, b.targetAddr.IP.String())
			b.serve()
			time.Sleep(10 * time.Second)
			var reset *quic.StatelessResetError
			if seen := errors.As(context.Cause(conn.Context()), &reset); seen == migrated {
				t.Errorf("migrated %v: reset seen %v", migrated, seen)
			}
		})
	}
}

// Needed: reading a ticket anew for each dial (peerTickets.Get).
func TestFactDialSpoilsCachedTicket(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		store := &ticketStore{dir: t.TempDir()}
		for name, cache := range map[string]tls.ClientSessionCache{"lru": tls.NewLRUClientSessionCache(4), "file": store.of(Pin{})} {
			tr := b.transport(uplinkIP(0), map[string]int{"lru": 5001, "file": 5002}[name], guardedNode)
			conn := b.dial(tr, cache, false)
			time.Sleep(time.Second)
			conn.CloseWithError(0, "")
			conn = b.dial(tr, cache, false) // ends before it gets a new ticket
			conn.CloseWithError(0, "")
			conn = b.dial(tr, cache, true)
			<-conn.HandshakeComplete()
			if got, want := conn.ConnectionState().Used0RTT, name == "file"; got != want {
				t.Errorf("%s: 0-RTT %v, want %v", name, got, want)
			}
			conn.CloseWithError(0, "")
		}
	})
}

// Needed: ignoring the removal of a ticket (peerTickets.Put).
func TestFactFailedDialDropsTicket(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		cache := &countingCache{ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		tr := b.uplink(0)
		conn := b.dial(tr, cache, false)
		time.Sleep(time.Second)
		conn.CloseWithError(0, "")
		b.wan.set(true, uplinkIP(0))
		config := clientTLS(b.id, protocolLink, only(b.identity.pin), cache)
		if _, err := tr.Dial(t.Context(), b.targetAddr, config, quicConfig(time.Minute, time.Second, 16)); err == nil {
			t.Fatal("dialed into silence")
		}
		if cache.removed == 0 {
			t.Error("the ticket was kept")
		}
	})
}

type countingCache struct {
	tls.ClientSessionCache
	removed int
}

func (c *countingCache) Put(key string, s *tls.ClientSessionState) {
	if s == nil {
		c.removed++
	}
	c.ClientSessionCache.Put(key, s)
}
