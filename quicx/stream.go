package quicx

import (
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// A Stream is one ordered, reliable channel of a link, both ways. Reads and
// writes end with an [*Error] when the link does. It may be read and written at
// the same time, by one goroutine each.
type Stream struct {
	s    *quic.Stream
	link *Link
	// urgent: it goes before the others, and no limit holds it back.
	urgent bool

	closing sync.Once
}

// Read reads what the peer wrote; io.EOF once it has closed its side.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.s.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, s.link.wrap("read from", err)
}

// Write returns when p is on its way, which says nothing about its arrival. It waits
// where sending is limited. Pieces of about 16 KiB use the CPU best.
func (s *Stream) Write(p []byte) (int, error) {
	s.link.writes.Add(1)
	s.link.writing.Add(1)
	defer s.link.writing.Add(-1)
	for written := 0; ; {
		n, err := s.s.Write(s.admitted(p[written:]))
		if written += n; err != nil || written == len(p) {
			return written, s.link.wrap("write to", err)
		}
	}
}

// admitted returns how much of p may be written now, and waits until it may.
func (s *Stream) admitted(p []byte) []byte {
	e := s.link.endpoint
	if e == nil || s.urgent {
		return p
	}
	via := s.link.path.carrier.Load()
	n := via.pace.piece(e.pace.piece(len(p)))
	via.pace.admit(n, s.s.Context().Done())
	e.pace.admit(n, s.s.Context().Done())
	return p[:n]
}

// CloseWrite says that nothing more will be written. The other direction stays
// open.
func (s *Stream) CloseWrite() error {
	return s.link.wrap("write to", s.s.Close())
}

// Close ends both directions: what was written is still delivered, if the link
// lives, and unread input is refused. It must not be called while a Write runs.
func (s *Stream) Close() error {
	var err error
	s.closing.Do(func() {
		err = s.CloseWrite()
		s.s.CancelRead(0)
		s.s.ReleaseStreamCredit()
	})
	return err
}

// Abort ends both directions at once, whatever runs: what was written may be
// lost, and the peer's reads and writes fail with Class Ended and this code.
func (s *Stream) Abort(code uint64) {
	s.closing.Do(func() {
		s.s.CancelWrite(quic.StreamErrorCode(code))
		s.s.CancelRead(quic.StreamErrorCode(code))
		s.s.ReleaseStreamCredit()
	})
}

// SetReadDeadline bounds reads, running ones too. A zero time lifts it.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.s.SetReadDeadline(t) }
