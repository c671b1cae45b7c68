package quicx

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// A world is a simulated WAN with one target, in fake time. Each uplink of the
// source has its own local addresses, and can be cut.
type world struct {
	t   *testing.T
	net *simnet.Simnet
	wan *wan

	targetAddr *net.UDPAddr
	identity   *Identity // of the target
	stateDir   string

	ends []func()

	mu     sync.Mutex
	events []Event
}

const oneWay = 25 * time.Millisecond

// inWorld runs f in a world of its own, in a bubble of fake time.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, wan: &wan{cut: make(map[string]bool)}, identity: testIdentity(t, "dr-paris"),
			stateDir: t.TempDir(), targetAddr: udpAddr("203.0.113.1", 7443)}
		w.net = &simnet.Simnet{Router: w.wan}
		defer w.close()
		f(t, w)
	})
}

// close ends what a test has left running, in particular when it failed: the bubble
// would report a deadlock in place of the failure.
func (w *world) close() {
	for _, end := range slices.Backward(w.ends) {
		end()
	}
}

func testIdentity(t testing.TB, name string) *Identity {
	t.Helper()
	id, err := newIdentity(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func udpAddr(ip string, port int) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port)))
}

// A wan delivers datagrams between nodes, unless the path is cut: a path is the
// source's IP address, in both directions.
type wan struct {
	simnet.PerfectRouter
	mu    sync.Mutex
	cut   map[string]bool
	fail  map[string]bool // sending from here fails
	deaf  map[string]bool // what is sent to here is lost
	tap   func(simnet.Packet)
	alter func(simnet.Packet) (simnet.Packet, bool)
	shape *shape // of what is sent to the target
}

// delay returns how long a packet is under way.
func (w *wan) delay(p simnet.Packet) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shape == nil || !w.shape.to(p) {
		return oneWay
	}
	return oneWay + time.Until(w.shape.free)
}

// A shape makes a line thin and lossy.
type shape struct {
	target net.Addr
	rate   float64       // bytes a second
	queue  time.Duration // what fits into it
	loss   float64
	random *rand.Rand
	free   time.Time // when the line has sent what is queued
}

func (s *shape) to(p simnet.Packet) bool { return p.To.String() == s.target.String() }

// takes reports whether a packet arrives. One that is lost took its time all the
// same.
func (s *shape) takes(p simnet.Packet) bool {
	now := time.Now()
	if s.free.Before(now) {
		s.free = now
	}
	if s.free.Sub(now) > s.queue {
		return false
	}
	const headers = 28 // IP and UDP
	s.free = s.free.Add(time.Duration(float64(len(p.Data)+headers) / s.rate * float64(time.Second)))
	return s.random.Float64() >= s.loss
}

func (w *wan) SendPacket(p simnet.Packet) error {
	w.mu.Lock()
	from, to := p.From.(*net.UDPAddr).IP.String(), p.To.(*net.UDPAddr).IP.String()
	drop := w.cut[from] || w.cut[to] || w.deaf[to]
	tap, alter := w.tap, w.alter
	if !drop && w.shape != nil && w.shape.to(p) {
		drop = !w.shape.takes(p)
	}
	w.mu.Unlock()
	if tap != nil {
		tap(p)
	}
	if drop {
		return nil
	}
	if alter != nil {
		var ok bool
		if p, ok = alter(p); !ok {
			return nil
		}
	}
	return w.PerfectRouter.SendPacket(p)
}

// set cuts or restores the paths of these addresses.
func (w *wan) set(cut bool, ips ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ip := range ips {
		w.cut[ip] = cut
	}
}

// node makes a socket at an address. It runs once the test ends or closes it.
func (w *world) node(addr *net.UDPAddr) net.PacketConn {
	link := &simnet.SimulatedLink{LatencyFunc: w.wan.delay, UploadPacket: w.wan}
	conn := simnet.NewBlockingSimConn(addr, link)
	link.Start()
	w.wan.AddNode(addr, link)
	return &node{PacketConn: conn, link: link, wan: w.wan}
}

// A node takes its link down with it.
type node struct {
	net.PacketConn
	link   *simnet.SimulatedLink
	wan    *wan
	closed sync.Once
}

func (n *node) WriteTo(b []byte, to net.Addr) (int, error) {
	n.wan.mu.Lock()
	fail := n.wan.fail[n.LocalAddr().(*net.UDPAddr).IP.String()]
	n.wan.mu.Unlock()
	if fail {
		return 0, &net.OpError{Op: "write", Err: syscall.ENETUNREACH}
	}
	return n.PacketConn.WriteTo(b, to)
}

func (n *node) Close() error {
	n.closed.Do(func() {
		n.PacketConn.Close()
		n.link.Close()
	})
	return nil
}

func (n *node) SetReadBuffer(int) error  { return nil }
func (n *node) SetWriteBuffer(int) error { return nil }

// uplinkIP is the address of the source's uplink i.
func uplinkIP(i int) string { return netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}).String() }

var uplinkNames = []string{"fibre", "lte", "dsl"}

// sourceConfig describes a source with n uplinks.
func (w *world) sourceConfig(id *Identity, n int) Config {
	var mu sync.Mutex
	port := 5000
	cfg := Config{Identity: id, OnEvent: w.note}
	for i := range n {
		cfg.Uplinks = append(cfg.Uplinks, Uplink{Name: uplinkNames[i], Bind: uplinkIP(i)})
	}
	cfg.Sockets = func(u Uplink) (net.PacketConn, error) {
		mu.Lock()
		defer mu.Unlock()
		port++
		return w.node(udpAddr(u.Bind, port)), nil
	}
	return cfg
}

func (w *world) endpoint(cfg Config) *Endpoint {
	w.t.Helper()
	e, err := NewEndpoint(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ends = append(w.ends, func() { e.Close() })
	return e
}

// target starts a target that lets peers in.
func (w *world) target(peers ...*Identity) *Listener {
	w.t.Helper()
	return w.targetWith(ListenConfig{}, peers...)
}

func (w *world) targetWith(cfg ListenConfig, peers ...*Identity) *Listener {
	w.t.Helper()
	cfg.Identity, cfg.StateDir, cfg.OnEvent = w.identity, w.stateDir, w.note
	cfg.Conn = w.node(w.targetAddr)
	for _, p := range peers {
		cfg.Peers = append(cfg.Peers, Peer{Name: p.Name, Pin: p.Pin()})
	}
	l, err := Listen(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ends = append(w.ends, func() { l.Close() })
	return l
}

// peer is the target as a source knows it.
func (w *world) peer() Peer {
	return Peer{Name: w.identity.Name, Addresses: []string{w.targetAddr.String()}, Pin: w.identity.Pin()}
}

func (w *world) note(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// texts returns what the events of these kinds said.
func (w *world) texts(kinds ...EventKind) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var texts []string
	for _, e := range w.events {
		for _, k := range kinds {
			if e.Kind == k {
				texts = append(texts, e.Text)
			}
		}
	}
	return texts
}

// echo accepts links and streams and sends back what comes, until the listener
// is closed.
func echo(l *Listener) {
	serve(l, func(s *Stream) { io.Copy(s, s) })
}

// serve accepts links and runs f for each of their streams.
func serve(l *Listener, f func(*Stream)) {
	go func() {
		for {
			link, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := link.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go func() {
						defer s.Close()
						f(s)
					}()
				}
			}()
		}
	}()
}

// say writes text to a new stream and returns what comes back.
func say(ctx context.Context, l *Link, text string) (string, error) {
	s, err := l.OpenStream(ctx)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if _, err := io.WriteString(s, text); err != nil {
		return "", err
	}
	if err := s.CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(s)
	return string(b), err
}

// classOf returns the class of a link's error, 0 if it is none.
func classOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return 0
}
