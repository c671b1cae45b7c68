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

// Write returns when p is on its way, which says nothing about its arrival. Pieces
// of about 16 KiB use the CPU best.
func (s *Stream) Write(p []byte) (int, error) {
	s.link.writes.Add(1)
	s.link.writing.Add(1)
	defer s.link.writing.Add(-1)
	n, err := s.s.Write(p)
	return n, s.link.wrap("write to", err)
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

// SetDeadline bounds reads and writes, running ones too. A zero time lifts it.
func (s *Stream) SetDeadline(t time.Time) error { return s.s.SetDeadline(t) }

// SetReadDeadline bounds reads.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.s.SetReadDeadline(t) }

// SetWriteDeadline bounds writes.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.s.SetWriteDeadline(t) }
