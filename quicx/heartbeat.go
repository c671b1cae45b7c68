package quicx

import (
	"context"
	"encoding/binary"
	"time"
)

// Heartbeats are QUIC datagrams of nine bytes: what it is, and a number. The
// source asks, the target answers with the same number. They are what makes the
// peer owe an answer, so that silence means something; unlike stream data they
// are not held back by flow control when a target is slow. The first answer also
// tells the source that the target has accepted it.
const (
	beatAsk    = '?'
	beatAnswer = '!'
	beatBytes  = 9
)

// askAgain is how long a source waits to be accepted until it asks again: what it
// asked, and both answers, may be lost.
const askAgain = 300 * time.Millisecond

func formatBeat(what byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{what}, number)
}

func parseBeat(b []byte) (what byte, number uint64, ok bool) {
	if len(b) != beatBytes || (b[0] != beatAsk && b[0] != beatAnswer) {
		return 0, 0, false
	}
	return b[0], binary.BigEndian.Uint64(b[1:]), true
}

// answerBeats is the target's part. The first answer, unasked, says that the
// source is accepted.
func (l *Link) answerBeats() {
	if l.conn.SendDatagram(formatBeat(beatAnswer, 0)) != nil {
		return
	}
	for {
		b, err := l.conn.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		what, number, ok := parseBeat(b)
		if !ok || what != beatAsk {
			continue // a later minor version may send others
		}
		if l.conn.SendDatagram(formatBeat(beatAnswer, number)) != nil {
			return
		}
	}
}

// awaitBeats is the source's part of hearing.
func (l *Link) awaitBeats() {
	for {
		b, err := l.conn.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		if what, _, ok := parseBeat(b); ok && what == beatAnswer {
			l.answers.Add(1)
			l.confirm()
		}
		if stream, offset, ok := parseGrant(b); ok && l.lanes != nil {
			l.lanes.grant(stream, offset)
		}
	}
}

// sendBeats sends one heartbeat per value of l.beat. It is a goroutine of its own
// because sending may block while the line is dead, and the one that decides
// about the line must not.
func (l *Link) sendBeats() {
	for number := uint64(1); ; number++ {
		select {
		case <-l.conn.Context().Done():
			return
		case <-l.beat:
			if l.conn.SendDatagram(formatBeat(beatAsk, number)) != nil {
				return
			}
		}
	}
}

// askBeat asks for one heartbeat; it does not block.
func (l *Link) askBeat() {
	select {
	case l.beat <- struct{}{}:
	default:
	}
}

// askUntilConfirmed asks for heartbeats until one is answered, and reports whether one
// was before the link ended.
func (l *Link) askUntilConfirmed() bool {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		l.askBeat()
		select {
		case <-l.confirmed:
			return true
		case <-l.conn.Context().Done():
			return false
		case <-again.C:
		}
	}
}
