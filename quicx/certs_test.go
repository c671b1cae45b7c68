package quicx

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// stranger is an identity whose certificate is not what CreateIdentity makes.
func stranger(t *testing.T, key ed25519.PrivateKey, edit func(*x509.Certificate)) *Identity {
	t.Helper()
	if key == nil {
		var err error
		if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "branch-lyon"},
		NotBefore: certNotBefore, NotAfter: certNotAfter}
	edit(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identityFrom(key, der)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Whoever may not come in is told so, and the target's engine never hears of him
// (TM-01, TM-07). A source never counts as attached.
func TestStrangersStayOut(t *testing.T) {
	paired := testIdentity(t, "branch-lyon")
	key := paired.cert.PrivateKey.(ed25519.PrivateKey)
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where fake time begins
	tests := []struct {
		name string
		// client edits how the source dials; target how the target is known.
		client func(*tls.Config)
		pin    Pin
		want   Class
	}{
		{name: "paired", want: 0},
		{name: "no certificate", client: func(c *tls.Config) { c.Certificates = nil }, want: Auth},
		{name: "not paired", client: with(testIdentity(t, "branch-nice")), want: Auth},
		{name: "the name of a paired one", client: with(testIdentity(t, "branch-lyon")), want: Auth},
		{name: "expired", client: with(stranger(t, key, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })), want: Auth},
		{name: "not yet valid", client: with(stranger(t, key, func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 2) })), want: Auth},
		{name: "a stolen certificate without its key", client: func(c *tls.Config) {
			_, other, _ := ed25519.GenerateKey(rand.Reader)
			c.Certificates = []tls.Certificate{{Certificate: paired.cert.Certificate, PrivateKey: other}}
		}, want: Auth},
		{name: "an older protocol", client: func(c *tls.Config) { c.NextProtos = []string{"wanrep/0"} }, want: Protocol},
		{name: "no protocol", client: func(c *tls.Config) { c.NextProtos = nil }, want: Protocol},
		{name: "pairing without an offer", client: func(c *tls.Config) { c.NextProtos = []string{protocolPair} }, want: Auth},
		{name: "another target", pin: testIdentity(t, "dr-oslo").pin, want: Auth},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				l := w.target(paired)
				pin := w.identity.pin
				if test.pin != (Pin{}) {
					pin = test.pin
				}
				config := clientTLS(paired, protocolLink, only(pin), nil)
				if test.client != nil {
					test.client(config)
				}
				tr := &quic.Transport{Conn: w.node(udpAddr(uplinkIP(0), 5000))}
				defer tr.Conn.Close()
				defer tr.Close()
				err := attempt(t, tr, w, config)
				if got := classOf(err); got != test.want {
					t.Errorf("the source got %v, class %v, want %v", err, got, test.want)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				link, err := l.Accept(ctx)
				if (err == nil) != (test.want == 0) {
					t.Errorf("the target's Accept: %v, %v", link, err)
				}
			})
		})
	}
}

func with(id *Identity) func(*tls.Config) {
	return func(c *tls.Config) { c.Certificates = []tls.Certificate{id.cert} }
}

// attempt dials as hand-made by config, writes to a stream and returns the error
// that the source sees, nil if the link is still there a second later.
func attempt(t *testing.T, tr *quic.Transport, w *world, config *tls.Config) error {
	conn, err := tr.Dial(t.Context(), w.targetAddr, config, quicConfig(DefaultIdleTimeout, DefaultKeepAlive, DefaultMaxStreams))
	if err != nil {
		return wrap("dial", "", err)
	}
	defer conn.CloseWithError(0, "")
	s, err := conn.OpenStream()
	if err != nil {
		return wrap("open", "", err)
	}
	if _, err := s.Write([]byte("let me in")); err != nil {
		return wrap("write", "", err)
	}
	select {
	case <-conn.Context().Done():
		return wrap("link", "", context.Cause(conn.Context()))
	case <-time.After(time.Second):
		return nil
	}
}

// A source does not take itself for attached before the target has let it in.
func TestRefusedSourceIsNeverAttached(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.target()
		e := w.endpoint(w.sourceConfig(testIdentity(t, "branch-lyon"), 1))
		link, err := e.Dial(t.Context(), w.peer())
		if err == nil {
			err = link.Confirmed(t.Context())
		}
		if classOf(err) != Auth {
			t.Errorf("got %v, want class auth", err)
		}
		if got := w.texts(EventAttached); len(got) != 0 {
			t.Errorf("events say %q", got)
		}
		if got := w.texts(EventRefused); len(got) != 1 {
			t.Errorf("the target's refusals: %q", got)
		}
	})
}

// Removing a pairing ends its live link at once, and its ticket is worth nothing
// (TM-02, TM-03, TM-06).
func TestUnpairWhileConnected(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src, other := testIdentity(t, "branch-lyon"), testIdentity(t, "branch-nice")
		l := w.target(src, other)
		echo(l)
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = t.TempDir()
		e := w.endpoint(cfg)
		otherConfig := w.sourceConfig(other, 1)
		otherConfig.Uplinks[0].Bind = uplinkIP(1)
		bystander := w.endpoint(otherConfig)
		link, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		stays, err := bystander.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []*Link{link, stays} {
			if _, err := say(t.Context(), k, "hello"); err != nil {
				t.Fatal(err)
			}
		}
		removed := time.Now()
		if err := l.SetPeers([]Peer{{Name: other.Name, Pin: other.Pin()}}); err != nil {
			t.Fatal(err)
		}
		<-link.Done()
		if took := time.Since(removed); took > time.Second || classOf(link.Err()) != Auth {
			t.Errorf("the link ended after %v with %v", took, link.Err())
		}
		if !e.tickets.has(w.identity.pin) {
			t.Fatal("the test needs a ticket")
		}
		before := len(w.texts(EventAttached))
		// First the target does not know the ticket, then the handshake is a full
		// one, and it does not know the source.
		for _, want := range []Class{Dropped, Auth} {
			again, err := e.Dial(t.Context(), w.peer())
			if err == nil {
				_, err = say(t.Context(), again, "still me")
			}
			if classOf(err) != want {
				t.Errorf("with the old ticket: %v, want class %v", err, want)
			}
		}
		if now := len(w.texts(EventAttached)); now != before {
			t.Error("the un-paired source was attached")
		}
		if got, err := say(t.Context(), stays, "and I?"); got != "and I?" {
			t.Errorf("the other source's link: %v", err)
		}
	})
}
