package quicx

import (
	"encoding/binary"
	"time"

	"github.com/quic-go/quic-go"
)

// A grant tells a source how far a stream that uses all lanes may go. It is a QUIC
// datagram of 17 bytes: what it is, the ID of the stream, and an offset in what is
// written to it. One that is lost is made up for by the next.
const (
	grantSign  = '>'
	grantBytes = 17
	// grantEvery is how often a target sends them.
	grantEvery = 20 * time.Millisecond
)

func formatGrant(stream quic.StreamID, offset int64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{grantSign}, uint64(stream))
	return binary.BigEndian.AppendUint64(b, uint64(offset))
}

func parseGrant(b []byte) (stream quic.StreamID, offset int64, ok bool) {
	if len(b) != grantBytes || b[0] != grantSign {
		return 0, 0, false
	}
	return quic.StreamID(binary.BigEndian.Uint64(b[1:])), int64(binary.BigEndian.Uint64(b[9:])), true
}

// grant sends grants for the streams of a target's link once it has had lanes. It is a
// goroutine of its own because sending blocks while the line is dead.
func (l *Link) grant() {
	ticker := time.NewTicker(grantEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.conn.Context().Done():
			return
		}
		for id, offset := range l.inbound.grants() {
			if l.conn.SendDatagram(formatGrant(id, offset)) != nil {
				return
			}
		}
	}
}

// grants returns how far each stream may go: linkWindow is shared out evenly.
func (in *inbound) grants() map[quic.StreamID]int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.shared || len(in.streams) == 0 {
		return nil
	}
	share := int64(linkWindow / len(in.streams))
	grants := make(map[quic.StreamID]int64, len(in.streams))
	for id, s := range in.streams {
		grants[id] = s.in.Offset() + share
	}
	return grants
}
