package quicx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// resume dials with a ticket and writes early. It returns the connection once the
// handshake is complete.
func (b *bench) resume(uplink int, tickets tls.ClientSessionCache) *quic.Conn {
	b.t.Helper()
	conn := b.dial(b.uplink(uplink), tickets, true)
	if s, err := conn.OpenStream(); err == nil {
		s.Write([]byte("where were we?"))
	}
	<-conn.HandshakeComplete()
	return conn
}

// Needed: flow control windows that are never lowered (config.go).
func TestFactLowerWindowsLoseEarlyData(t *testing.T) {
	for _, test := range []struct {
		name  string
		edit  func(*quic.Config)
		taken bool
	}{
		{"the same", func(*quic.Config) {}, true},
		{"larger", func(c *quic.Config) { c.InitialConnectionReceiveWindow *= 2; c.InitialStreamReceiveWindow *= 2 }, true},
		{"a smaller stream window", func(c *quic.Config) { c.InitialStreamReceiveWindow /= 2 }, false},
		{"a smaller window", func(c *quic.Config) { c.InitialConnectionReceiveWindow /= 2 }, false},
		{"fewer streams", func(c *quic.Config) { c.MaxIncomingStreams /= 2 }, false},
		{"no datagrams", func(c *quic.Config) { c.EnableDatagrams = false }, false},
		{"0-RTT forbidden", func(c *quic.Config) { c.Allow0RTT = false }, false},
	} {
		onBench(t, func(t *testing.T, b *bench) {
			store := &ticketStore{dir: t.TempDir()}
			first := b.dial(b.uplink(0), store.of(Pin{}), false)
			time.Sleep(time.Second)
			first.CloseWithError(0, "")
			b.stop()
			test.edit(b.quic)
			b.serve()
			conn := b.resume(1, store.of(Pin{}))
			if state := conn.ConnectionState(); !state.TLS.DidResume || state.Used0RTT != test.taken {
				t.Errorf("%s: resumed %v, 0-RTT taken %v, want %v", test.name, state.TLS.DidResume, state.Used0RTT, test.taken)
			}
		})
	}
}

// Needed: pins that are checked in VerifyConnection (clientTLS, serverTLS), and
// admitting a source by the certificate of an earlier session (resumedLink).
func TestFactVerifyConnectionSeesResumedSessions(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		var connections, certificates, known atomic.Int64
		b.config.VerifyConnection = func(cs tls.ConnectionState) error {
			connections.Add(1)
			if pin, err := peerPin(cs); err == nil && pin == b.id.pin {
				known.Add(1)
			}
			return nil
		}
		b.config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
			certificates.Add(1)
			return nil
		}
		store := &ticketStore{dir: t.TempDir()}
		for uplink := range 2 {
			conn := b.resume(uplink, store.of(Pin{}))
			if got := conn.ConnectionState().Used0RTT; got != (uplink > 0) {
				t.Errorf("0-RTT taken %v", got)
			}
			time.Sleep(time.Second)
			conn.CloseWithError(0, "")
		}
		if connections.Load() != 2 || known.Load() != 2 || certificates.Load() != 1 {
			t.Errorf("VerifyConnection ran %d times, %d with the source's key, VerifyPeerCertificate %d times, want 2, 2 and 1",
				connections.Load(), known.Load(), certificates.Load())
		}
	})
}

// Needed: refusing in verify, so that nothing of a source that was un-paired arrives.
func TestFactRefusalIsAnAlertAndDeliversNothing(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		store := &ticketStore{dir: t.TempDir()}
		first := b.dial(b.uplink(0), store.of(Pin{}), false)
		time.Sleep(time.Second)
		first.CloseWithError(0, "")
		<-b.conns
		b.config.VerifyConnection = func(tls.ConnectionState) error { return errNotPaired }
		conn := b.dial(b.uplink(1), store.of(Pin{}), true)
		s, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		s.Write([]byte("where were we?"))
		<-conn.Context().Done()
		time.Sleep(time.Second)
		var alert *quic.TransportError
		if cause := context.Cause(conn.Context()); !errors.As(cause, &alert) || !alert.ErrorCode.IsCryptoError() {
			t.Errorf("refused with %v", cause)
		}
		if len(b.conns) != 0 || b.read.Load() != 0 {
			t.Errorf("%d connections were handed over, %d bytes read", len(b.conns), b.read.Load())
		}
	})
}
