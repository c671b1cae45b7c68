package quicx

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"wanrep/quicx/stripe"
)

// A Stream is one ordered, reliable channel of a link, both ways. Reads and
// writes end with an [*Error] when the link does. It may be read and written at
// the same time, by one goroutine each.
type Stream struct {
	s    *quic.Stream
	link *Link
	// urgent: it goes before the others, and no limit holds it back.
	urgent bool
	// What a source writes to a stream that is not urgent may go over all lanes of
	// the link: out writes it at the source, in reads it at the target. What the
	// target writes goes over the link's own connection.
	out      *stripe.Writer
	in       *stripe.Reader
	branches branches
	bulky    atomic.Bool // uses all lanes

	ending atomic.Bool // Close or Abort was called
	ended  sync.Once
}

// Read reads what the peer wrote; io.EOF once it has closed its side.
func (s *Stream) Read(p []byte) (int, error) {
	var from io.Reader = s.s
	if s.in != nil {
		from = s.in
	}
	n, err := from.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, s.wrap("read from", err)
}

// wrap is the link's, but for the error of a lane: that one ends the link, and why
// the link ended is what counts.
func (s *Stream) wrap(op string, err error) error {
	if errors.Is(err, errLaneLost) {
		err = s.link.loseLane(err)
	}
	return s.link.wrap(op, err)
}

// Write returns when p is on its way, which says nothing about its arrival. It waits
// where sending is limited. Pieces of 64 KiB use the CPU best.
func (s *Stream) Write(p []byte) (int, error) {
	s.link.writes.Add(1)
	s.link.writing.Add(1)
	defer s.link.writing.Add(-1)
	if s.out != nil && !s.bulky.Load() && s.out.Written() >= s.link.lanes.bulk() {
		s.bulky.Store(true)
		s.link.lanes.use(s)
	}
	for written := 0; ; {
		n, err := s.write(s.admitted(p[written:]))
		if written += n; err != nil || written == len(p) {
			return written, s.wrap("write to", err)
		}
	}
}

func (s *Stream) write(p []byte) (int, error) {
	s.link.blocked.Add(1)
	defer s.link.blocked.Add(-1)
	if s.out != nil {
		return s.out.Write(p)
	}
	return s.s.Write(p)
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
	if s.out != nil {
		return s.wrap("write to", s.out.Close())
	}
	return s.link.wrap("write to", s.s.Close())
}

// Close ends both directions: what was written is still delivered, if the link
// lives, and unread input is refused. It must not be called while a Write runs.
func (s *Stream) Close() error {
	if s.ending.Swap(true) {
		return nil
	}
	err := s.CloseWrite()
	s.end(0)
	return err
}

// Abort ends both directions at once, whatever runs: what was written may be
// lost, and the peer's reads and writes fail with Class Ended and this code.
func (s *Stream) Abort(code uint64) {
	s.ending.Store(true)
	if s.out != nil {
		s.out.Fail(errAborted)
	}
	s.branches.cancel(quic.StreamErrorCode(code))
	s.s.CancelWrite(quic.StreamErrorCode(code))
	s.end(quic.StreamErrorCode(code))
}

// errAborted is what a Write fails with that Abort interrupts.
var errAborted = &quic.StreamError{}

// end gives back what the stream holds. What is still to be read is refused.
func (s *Stream) end(code quic.StreamErrorCode) {
	s.ended.Do(func() {
		if s.in != nil {
			s.in.Fail(net.ErrClosed)
			s.branches.cancel(code)
			s.link.inbound.remove(s)
		}
		if s.bulky.Load() {
			s.link.lanes.forget(s)
		}
		s.s.CancelRead(code)
		s.s.ReleaseStreamCredit()
	})
}

// SetReadDeadline bounds reads, running ones too. A zero time lifts it.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.s.SetReadDeadline(t) }
