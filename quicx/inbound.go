package quicx

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"wanrep/quicx/stripe"
)

// branchPatience bounds how long a lane's stream may take to say where it belongs,
// and how long it may come before the stream it belongs to.
const branchPatience = 10 * time.Second

var errNoStream = errors.New("the stream is closed, or never came")

// An inbound knows the streams that a target's link has accepted, so that the
// branches on its lanes find them.
type inbound struct {
	mu      sync.Mutex
	streams map[quic.StreamID]*Stream
	last    quic.StreamID // accepted so far; they come in ascending order
	changed chan struct{} // closed when last grows
	lanes   int
	// shared is set once there was a lane: from then on a source goes only as far
	// as it is told, also when it is back at one connection.
	shared bool
}

// accepted makes a stream one that may have branches, but for the first one.
func (in *inbound) accepted(s *Stream) {
	in.mu.Lock()
	defer in.mu.Unlock()
	id := s.s.StreamID()
	if in.last = id; id == 0 {
		return
	}
	s.in = stripe.NewReader(s.s)
	if in.streams == nil {
		in.streams = make(map[quic.StreamID]*Stream)
	}
	in.streams[id] = s
	if in.changed != nil {
		close(in.changed)
		in.changed = nil
	}
}

func (in *inbound) remove(s *Stream) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.streams, s.s.StreamID())
}

// fail ends all streams with their link: what one of them waits for may have been
// on a lane that nobody reads from now.
func (in *inbound) fail(why error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.streams {
		s.in.Fail(why)
	}
}

// find returns the stream with an ID, and waits for it if it is not accepted yet.
func (in *inbound) find(ctx context.Context, id quic.StreamID) (*Stream, error) {
	for {
		in.mu.Lock()
		if s := in.streams[id]; s != nil {
			in.mu.Unlock()
			return s, nil
		}
		if id <= in.last {
			in.mu.Unlock()
			return nil, errNoStream
		}
		if in.changed == nil {
			in.changed = make(chan struct{})
		}
		changed := in.changed
		in.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errNoStream
		}
	}
}

// maxInboundLanes is how many lanes a link may have at once at a target: all, and
// as many that are just leaving.
const maxInboundLanes = 2 * MaxLanes

// enterLane lets a lane's connection in if it names one of its source's links. The
// first stream does, and is answered with one byte.
func (l *Listener) enterLane(k *Link) {
	ctx, cancel := context.WithTimeout(k.conn.Context(), branchPatience)
	defer cancel()
	stream, err := k.conn.AcceptStream(ctx)
	if err != nil {
		k.conn.CloseWithError(CodeDone, "")
		return
	}
	defer stream.ReleaseStreamCredit()
	defer context.AfterFunc(ctx, func() { cancelBoth(stream, 0) })()
	token := make([]byte, laneTokenBytes)
	_, err = io.ReadFull(stream, token)
	main := l.linkOf(k.pin, token)
	if err != nil || main == nil || !main.inbound.takeLane() {
		k.conn.CloseWithError(CodeBusy, "no such link")
		return
	}
	defer main.inbound.leaveLane()
	defer context.AfterFunc(main.conn.Context(), func() { k.conn.CloseWithError(CodeDone, "") })()
	if _, err := stream.Write([]byte{0}); err == nil && stream.Close() == nil {
		k.serveBranches(main)
	}
}

func (in *inbound) takeLane() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.lanes >= maxInboundLanes {
		return false
	}
	in.lanes++
	in.shared = true
	return true
}

func (in *inbound) leaveLane() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.lanes--
}

func (in *inbound) laneCount() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.lanes
}

// linkOf returns the link of a source that a token names, or nil.
func (l *Listener) linkOf(pin Pin, token []byte) *Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.links {
		if k.pin == pin && k.isNamed(token) {
			return k
		}
	}
	return nil
}

func (l *Link) isNamed(token []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.laneToken != nil && subtle.ConstantTimeCompare(l.laneToken, token) == 1
}

// serveBranches takes the branches on a lane until it ends.
func (l *Link) serveBranches(main *Link) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		stream, err := l.conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		serving.Go(func() {
			main.takeBranch(l, stream)
			cancelBoth(stream, 0)
			stream.ReleaseStreamCredit()
		})
	}
}

// takeBranch gives a branch to its stream, and returns when it was read.
func (l *Link) takeBranch(lane *Link, stream *quic.Stream) {
	ctx, cancel := context.WithTimeout(lane.conn.Context(), branchPatience)
	defer cancel()
	stream.SetReadDeadline(time.Now().Add(branchPatience))
	var id [branchHeaderBytes]byte
	if _, err := io.ReadFull(stream, id[:]); err != nil {
		return
	}
	stream.SetReadDeadline(time.Time{})
	s, err := l.inbound.find(ctx, quic.StreamID(binary.BigEndian.Uint64(id[:])))
	if err != nil || !s.branches.add(stream) {
		return
	}
	defer s.branches.remove(stream)
	if err := s.in.Join(&branch{stream, lane, s}); err != nil {
		if errors.Is(err, errLaneLost) {
			l.loseLane(err)
		}
		return
	}
	// That the source reads the end is how it knows that all of it was read.
	_ = stream.Close()
}
