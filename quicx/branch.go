package quicx

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/quic-go/quic-go"
)

// A branch is the part of a stream that goes over one lane. It begins with the ID
// that the stream has on the link's own connection.
type branch struct {
	*quic.Stream
	lane *Link
	of   *Stream
}

const branchHeaderBytes = 8

// branchTo opens the stream's branch on a lane.
func (s *Stream) branchTo(lane *Link) (*branch, error) {
	stream, err := lane.conn.OpenStreamSync(s.s.Context())
	if err != nil {
		return nil, ofLane(err)
	}
	b := &branch{Stream: stream, lane: lane, of: s}
	if !s.branches.add(stream) {
		b.release()
		return nil, errAborted
	}
	id := binary.BigEndian.AppendUint64(nil, uint64(s.s.StreamID()))
	if _, err := b.Write(id); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// Write writes to the lane, which has to hear about it: it watches its own path.
func (b *branch) Write(p []byte) (int, error) {
	b.lane.writes.Add(1)
	b.lane.writing.Add(1)
	defer b.lane.writing.Add(-1)
	n, err := b.Stream.Write(p)
	return n, ofLane(err)
}

// Read reads at the target.
func (b *branch) Read(p []byte) (int, error) {
	n, err := b.Stream.Read(p)
	return n, ofLane(err)
}

// drain waits until the target has read all that was written, or the lane has
// ended.
func (b *branch) drain() {
	_, _ = io.Copy(io.Discard, b.Stream)
	b.release()
}

func (b *branch) release() {
	b.of.branches.remove(b.Stream)
	cancelBoth(b.Stream, 0)
	b.Stream.ReleaseStreamCredit()
}

func cancelBoth(s *quic.Stream, code quic.StreamErrorCode) {
	s.CancelRead(code)
	s.CancelWrite(code)
}

// branches are a stream's branches, at either end.
type branches struct {
	mu       sync.Mutex
	all      map[*quic.Stream]bool
	canceled bool
}

// add reports whether the stream still takes branches.
func (b *branches) add(s *quic.Stream) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.canceled {
		return false
	}
	if b.all == nil {
		b.all = make(map[*quic.Stream]bool)
	}
	b.all[s] = true
	return true
}

func (b *branches) remove(s *quic.Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, s)
}

// cancel gives all branches up, and those to come.
func (b *branches) cancel(code quic.StreamErrorCode) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.canceled = true
	for s := range b.all {
		cancelBoth(s, code)
	}
}
