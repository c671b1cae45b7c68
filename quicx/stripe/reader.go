package stripe

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// A Reader reads a sequence. Read is for one goroutine, Join and Fail for any.
type Reader struct {
	mu      sync.Mutex
	changed *sync.Cond // fronts, end or err
	// fronts are the segments that stand at the front of a channel, by offset.
	fronts map[int64]*front
	offset int64 // of what Read returns next
	end    int64 // negative until it is known
	err    error
	failed chan struct{} // closed with err

	current *front // being read; of the goroutine that reads
}

// A front is a segment whose header was read from its channel, and whose bytes
// were not.
type front struct {
	channel io.Reader
	left    int
	taken   chan struct{} // has room for one: all bytes were read
}

// NewReader returns a reader of what a Writer writes; first is the channel that
// ends the sequence. Something must run for it until it has ended: the channel has
// to fail when nobody reads the sequence any more.
func NewReader(first io.Reader) *Reader {
	r := &Reader{fronts: make(map[int64]*front), end: -1, failed: make(chan struct{})}
	r.changed = sync.NewCond(&r.mu)
	go func() {
		if err := r.follow(first); err != nil {
			r.Fail(err)
		} else if !r.ended() {
			r.Fail(io.ErrUnexpectedEOF)
		}
	}()
	return r
}

// Join takes segments from one more channel. It returns when the channel has
// ended; an error ends the sequence.
func (r *Reader) Join(channel io.Reader) error {
	err := r.follow(channel)
	if err != nil {
		r.Fail(err)
	}
	return err
}

// follow reads one header of a channel after the other, and each time waits until
// its bytes were read.
func (r *Reader) follow(channel io.Reader) error {
	var b [headerBytes]byte
	f := &front{channel: channel, taken: make(chan struct{}, 1)}
	last := int64(-1)
	for {
		if _, err := io.ReadFull(channel, b[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		h, err := parseHeader(b[:])
		if err != nil {
			return err
		}
		if h.offset <= last {
			return fmt.Errorf("a segment at %d after one at %d", h.offset, last)
		}
		last = h.offset
		if h.length == 0 {
			return r.setEnd(h.offset)
		}
		f.left = h.length
		if err := r.offer(h.offset, f); err != nil {
			return err
		}
		select {
		case <-f.taken:
		case <-r.failed:
			return nil
		}
	}
}

// offer says that the segment at offset stands at the front of a channel.
func (r *Reader) offer(offset int64, f *front) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return r.err
	case offset < r.offset || r.fronts[offset] != nil:
		return fmt.Errorf("the bytes at %d came twice", offset)
	case r.end >= 0 && offset >= r.end:
		return fmt.Errorf("bytes at %d, behind the end at %d", offset, r.end)
	}
	r.fronts[offset] = f
	r.changed.Broadcast()
	return nil
}

func (r *Reader) setEnd(offset int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offset < r.offset || r.end >= 0 {
		return fmt.Errorf("the end is at %d", offset)
	}
	for at := range r.fronts {
		if at >= offset {
			return fmt.Errorf("bytes at %d, behind the end at %d", at, offset)
		}
	}
	r.end = offset
	r.changed.Broadcast()
	return nil
}

func (r *Reader) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end >= 0
}

// Read returns what comes next in the sequence, and io.EOF behind its end.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.current == nil {
		f, err := r.await()
		if err != nil {
			return 0, err
		}
		r.current = f
	}
	f := r.current
	n, err := f.channel.Read(p[:min(len(p), f.left)])
	f.left -= n
	r.mu.Lock()
	r.offset += int64(n)
	r.mu.Unlock()
	if f.left == 0 {
		r.current = nil
		f.taken <- struct{}{}
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = r.Fail(err)
	}
	return n, err
}

// Offset returns how much of the sequence was read.
func (r *Reader) Offset() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offset
}

// await waits for the segment that comes next.
func (r *Reader) await() (*front, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if f := r.fronts[r.offset]; f != nil {
			delete(r.fronts, r.offset)
			return f, nil
		}
		switch {
		case r.err != nil:
			return nil, r.err
		case r.offset == r.end:
			return nil, io.EOF
		}
		for at := range r.fronts {
			if at < r.offset {
				return nil, r.fail(fmt.Errorf("the bytes at %d came twice", at))
			}
		}
		r.changed.Wait()
	}
}

// Fail ends the sequence: what has not been read is given up. It returns the error
// that ended it, which is err unless there was one before.
func (r *Reader) Fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fail(err)
}

func (r *Reader) fail(err error) error {
	if r.err == nil {
		r.err = err
		close(r.failed)
		r.changed.Broadcast()
	}
	return r.err
}
