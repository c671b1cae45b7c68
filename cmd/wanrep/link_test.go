package main

import (
	"net"
	"testing"
	"time"

	"wanrep/quicx"
	"wanrep/replicate/progress"
)

// A link with a session ticket is there before the peer has answered. The board must
// not call it up, and not if the peer never answers.
func TestLinkIsUpOnceThePeerAnswered(t *testing.T) {
	source, target := newIdentity(t, "branch-lyon"), newIdentity(t, "dr-paris")
	listener, peer := newListener(t, source, target)
	defer listener.Close()
	endpoint, err := quicx.NewEndpoint(quicx.Config{Identity: source, TicketDir: t.TempDir(), IdleTimeout: time.Second, KeepAlive: time.Second / 4})
	if err != nil {
		t.Fatal(err)
	}
	defer endpoint.Close()

	board := progress.NewBoard("source", source.Name, "")
	fresh := func() *attacher {
		return newAttacher(peer.Name, board, func(on func(quicx.Attempt)) *quicx.Redialer {
			return endpoint.Redialer(peer, quicx.Redial{}, on)
		})
	}
	state := func() string { return board.Status().Links[0].State }

	a := fresh()
	link, err := a.Attach(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); state() != progress.LinkUp; time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("the link is %s", state())
		}
	}
	time.Sleep(100 * time.Millisecond) // the ticket arrives
	link.Close(quicx.CodeDone, "")
	a.Close()

	listener.Close()
	a = fresh()
	if link, err = a.Attach(t.Context(), false); err != nil {
		t.Fatalf("the test needs a link that is there at once: %v", err)
	}
	if got := state(); got != progress.LinkDialing {
		t.Errorf("before the peer answered the link is %s", got)
	}
	link.Close(quicx.CodeDone, "")
	a.settle()
	if got := state(); got != progress.LinkDialing {
		t.Errorf("when the peer did not answer the link is %s", got)
	}
	a.Close()
	if got := state(); got != progress.LinkIdle {
		t.Errorf("afterwards the link is %s", got)
	}
}

// newListener lets a source in at a target, and returns how that is reached.
func newListener(t *testing.T, source, target *quicx.Identity) (*quicx.Listener, quicx.Peer) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := quicx.Listen(quicx.ListenConfig{Identity: target, Conn: conn, Peers: []quicx.Peer{{Name: source.Name, Pin: source.Pin()}}})
	if err != nil {
		t.Fatal(err)
	}
	return listener, quicx.Peer{Name: target.Name, Addresses: []string{conn.LocalAddr().String()}, Pin: target.Pin()}
}

func newIdentity(t *testing.T, name string) *quicx.Identity {
	t.Helper()
	id, err := quicx.CreateIdentity(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
