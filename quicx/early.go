package quicx

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/quic-go/quic-go"
)

// A dialed connection, with its first stream if it was dialed early.
type dialed struct {
	conn  *quic.Conn
	first *quic.Stream
}

// earlyPatience is how long an early dial may keep its own first datagrams back. It
// needs some microseconds, unless TLS did not like the ticket.
const earlyPatience = 100 * time.Millisecond

// errNotEarly means that 0-RTT was not tried, or not in time.
var errNotEarly = errors.New("the session ticket was not used for 0-RTT")

// dialEarly dials with a session ticket and returns before anything was sent, with
// the one stream that may be written to before the handshake is complete.
//
// That stream is opened here, while no datagram of a handshake can leave the
// socket, because opening a stream reads what quic-go writes when the target's
// first datagram comes in, without a lock. Once the stream is there, the call of
// ConnectionState orders the two for the race detector too: both ends of it take
// the same lock.
func dialEarly(ctx context.Context, tr *quic.Transport, g *guard, to net.Addr, config *tls.Config, qc *quic.Config) (dialed, error) {
	select {
	case g.handshakes <- struct{}{}:
	case <-ctx.Done():
		return dialed{}, context.Cause(ctx)
	}
	letGo := func() { <-g.handshakes }
	late := time.AfterFunc(earlyPatience, letGo)
	conn, err := tr.DialEarly(ctx, to, config, qc)
	if !late.Stop() {
		letGo = func() {} // the timer did
		if err == nil {
			err = errNotEarly
		}
	}
	var first *quic.Stream
	if err == nil {
		if first, err = conn.OpenStream(); err == nil {
			conn.ConnectionState()
		} else {
			err = errNotEarly
		}
	}
	letGo()
	if err != nil {
		if conn != nil {
			// Only now: closing waits for the datagrams that were kept back.
			conn.CloseWithError(CodeDone, "")
		}
		return dialed{}, err
	}
	return dialed{conn, first}, nil
}
