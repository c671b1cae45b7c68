package quicx

import (
	"context"
	"crypto/tls"
	"io"
	"time"

	"github.com/quic-go/quic-go"
)

// laneToken is what both ends of a link know and nobody else does.
func laneToken(state quic.ConnectionState) ([]byte, error) {
	return state.TLS.ExportKeyingMaterial(tokenLabel, nil, laneTokenBytes)
}

// dial makes a lane over the uplink in use, and returns nil if it could not.
func (s *laneSet) dial() *lane {
	main, e := s.link, s.link.endpoint
	ctx, cancel := context.WithTimeout(main.conn.Context(), laneDialTimeout)
	defer cancel()
	began := time.Now()
	via := way{out: main.path.carrier.Load().primary, addr: main.remote}
	config := func() *tls.Config {
		return clientTLS(e.cfg.Identity, protocolLane, only(main.pin), e.tickets.of(main.pin))
	}
	got, err := e.dialWay(ctx, via, config, false)
	if err != nil {
		return nil
	}
	l := newSourceLink(e, got, main.target, main.pin, via, began)
	l.main, l.say = main, func(Event) {}
	if !e.adopt(l) {
		return nil
	}
	if err := l.joinLink(ctx, s.token); err != nil {
		l.Close(CodeDone, "")
		return nil
	}
	return &lane{Link: l, leave: make(chan struct{})}
}

// joinLink tells the target which link the lane belongs to, and waits until it knows.
func (l *Link) joinLink(ctx context.Context, token []byte) error {
	if err := l.Confirmed(ctx); err != nil {
		return err
	}
	stream, err := l.conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	defer stream.ReleaseStreamCredit()
	defer context.AfterFunc(ctx, func() { stream.CancelRead(0) })()
	if _, err := stream.Write(token); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	_, err = io.ReadFull(stream, make([]byte, 1))
	return err
}
