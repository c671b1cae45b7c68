package quicx

import (
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

// A resetHint reports datagrams that belong to no connection. Once a link has
// migrated they are mostly stateless resets from a restarted target: quic-go
// knows the reset tokens only on the transport the link was dialed on. Anybody
// can send such a datagram, so it is a reason to look, never to end a link.
type resetHint struct{ seen func() }

// RecordEvent implements qlogwriter.Recorder.
func (h resetHint) RecordEvent(e qlogwriter.Event) {
	if d, ok := e.(qlog.PacketDropped); ok &&
		d.Trigger == qlog.PacketDropUnknownConnectionID && d.Header.PacketType == qlog.PacketType1RTT {
		h.seen()
	}
}

// Close implements qlogwriter.Recorder.
func (h resetHint) Close() error { return nil }
