package stripe

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// A Channel takes a part of the segments.
type Channel interface {
	// Write takes all of p or fails.
	Write(p []byte) (int, error)
	// Close says that nothing follows. What was written is still delivered.
	Close() error
}

// errClosed is what a Write after Close fails with.
var errClosed = errors.New("the writer is closed")

// buffers hold a header and a segment each, on their way to a channel.
var buffers = sync.Pool{New: func() any { return new([headerBytes + segmentBytes]byte) }}

// A Writer writes a sequence. Write and Close are for one goroutine, Join and Fail
// for any.
type Writer struct {
	first Channel
	// work goes to whichever channel is free. It has no room: a segment in a queue
	// would be one that a free channel does not have.
	work   chan piece
	closed chan struct{}
	failed chan struct{}
	others sync.WaitGroup // goroutines that write to channels

	offset atomic.Int64

	mu      sync.Mutex
	shared  bool // other channels have joined
	ended   bool // Close was called
	err     error
	granted int64         // up to where segments may go to channels that are shared
	grants  chan struct{} // has room for one: granted grew
}

// A piece is a segment behind its header, or as much of it as fits into a buffer.
type piece struct {
	buffer *[headerBytes + segmentBytes]byte
	length int // both together
}

// NewWriter returns a writer to one channel, which is the one that ends the
// sequence.
func NewWriter(first Channel) *Writer {
	return &Writer{
		first: first, work: make(chan piece), grants: make(chan struct{}, 1),
		closed: make(chan struct{}), failed: make(chan struct{}),
	}
}

// Write returns when a channel has p.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := w.send(p[written:])
		if err != nil {
			return written, err
		}
		written += n
		w.offset.Add(int64(n))
	}
	return written, nil
}

// Written returns how long the sequence is so far.
func (w *Writer) Written() int64 { return w.offset.Load() }

// FirstGrant is how far a Writer goes on from where the first channel joined until
// the Reader has told how far it may.
const FirstGrant = 1 << 20

// Grant lets a Writer with several channels go on up to an offset. What waits in
// the channels because something before it is still under way takes memory at the
// Reader, whichever channel it is in; and where a channel's own flow control is
// shared with another sequence it must never be what holds a segment back: two
// sequences could wait for each other then.
func (w *Writer) Grant(offset int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if offset <= w.granted {
		return
	}
	w.granted = offset
	select {
	case w.grants <- struct{}{}:
	default:
	}
}

// await waits until segments up to an offset may go.
func (w *Writer) await(offset int64) error {
	for {
		w.mu.Lock()
		granted := w.granted
		w.mu.Unlock()
		if offset <= granted {
			return nil
		}
		select {
		case <-w.grants:
		case <-w.failed:
			return w.error()
		}
	}
}

// send gives one segment of p to a channel, and returns how long it is.
func (w *Writer) send(p []byte) (int, error) {
	w.mu.Lock()
	shared, err := w.shared, w.err
	if w.ended && err == nil {
		err = errClosed
	}
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if !shared {
		segment := p[:min(len(p), loneBytes)]
		return len(segment), w.sendAlone(segment)
	}
	segment := p[:min(len(p), segmentBytes)]
	if err := w.await(w.offset.Load() + int64(len(segment))); err != nil {
		return 0, err
	}
	select {
	case w.work <- w.begin(segment):
		return len(segment), nil
	case <-w.failed:
		return 0, w.error()
	}
}

// sendAlone writes a segment to the only channel. What does not fit into a buffer
// is written from where it is.
func (w *Writer) sendAlone(segment []byte) error {
	p := w.begin(segment)
	if err := w.write(w.first, p); err != nil {
		return err
	}
	if rest := segment[p.length-headerBytes:]; len(rest) > 0 {
		if _, err := w.first.Write(rest); err != nil {
			return w.Fail(err)
		}
	}
	return nil
}

// begin puts the header of a segment into a buffer, and as much of it as fits: what
// is written apart may travel apart.
func (w *Writer) begin(segment []byte) piece {
	buffer := buffers.Get().(*[headerBytes + segmentBytes]byte)
	header{w.offset.Load(), len(segment)}.put(buffer[:])
	return piece{buffer, headerBytes + copy(buffer[headerBytes:], segment)}
}

// write writes what is in a buffer to a channel.
func (w *Writer) write(to io.Writer, p piece) error {
	_, err := to.Write(p.buffer[:p.length])
	buffers.Put(p.buffer)
	if err != nil {
		return w.Fail(err)
	}
	return nil
}

// Join adds a channel, which open opens once there is something for it. It takes
// segments until leave is closed or the sequence ends, and is then closed; left is
// called with it after that, or with nil if it was never opened. Join reports
// whether the channel has joined: a sequence that has ended takes no more.
func (w *Writer) Join(open func() (Channel, error), leave <-chan struct{}, left func(Channel)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.err != nil {
		return false
	}
	if !w.shared {
		w.shared = true
		w.granted = max(w.granted, w.offset.Load()+FirstGrant)
		w.others.Go(w.serveFirst)
	}
	w.others.Go(func() {
		channel := w.serve(open, leave)
		go left(channel)
	})
	return true
}

// serveFirst writes to the first channel, which stays open for the end.
func (w *Writer) serveFirst() {
	for w.next(w.first, nil) {
	}
}

func (w *Writer) serve(open func() (Channel, error), leave <-chan struct{}) Channel {
	lazy := &opener{open: open}
	for w.next(lazy, leave) {
	}
	if lazy.opened != nil {
		if err := lazy.opened.Close(); err != nil {
			w.Fail(err)
		}
	}
	return lazy.opened
}

// next writes one segment to a channel. It returns false when there is none for it
// any more.
func (w *Writer) next(to io.Writer, leave <-chan struct{}) bool {
	select {
	case p := <-w.work:
		return w.write(to, p) == nil
	case <-leave:
	case <-w.closed:
	case <-w.failed:
	}
	return false
}

// An opener is a channel that is opened by its first Write.
type opener struct {
	open   func() (Channel, error)
	opened Channel
}

func (o *opener) Write(p []byte) (int, error) {
	if o.opened == nil {
		ch, err := o.open()
		if err != nil {
			return 0, err
		}
		o.opened = ch
	}
	return o.opened.Write(p)
}

// Close ends the sequence, when every segment has been written to its channel.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return w.error()
	}
	w.ended = true
	close(w.closed)
	w.mu.Unlock()
	w.others.Wait()
	if err := w.error(); err != nil {
		return err
	}
	var b [headerBytes]byte
	header{offset: w.offset.Load()}.put(b[:])
	if _, err := w.first.Write(b[:]); err != nil {
		return w.Fail(err)
	}
	if err := w.first.Close(); err != nil {
		return w.Fail(err)
	}
	return nil
}

// Fail makes every Write and Close return err, running ones too as soon as their
// channel lets them, unless something failed before. It returns what they return.
func (w *Writer) Fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		close(w.failed)
	}
	return w.err
}

func (w *Writer) error() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
