package progress

import (
	"context"
	"slices"
	"sync"
)

// readerBuffer is how many things a reader of a feed may lag behind. Who lags more
// does not read, and is cut off before it costs the one who tells.
const readerBuffer = 256

// A Feed passes on what happens: it remembers the last things, and readers get what
// comes. Adding never blocks. Its methods may be called from any goroutine.
type Feed[T any] struct {
	limit int

	mu      sync.Mutex
	recent  []T
	readers map[chan T]struct{}
}

// NewFeed returns a feed that remembers limit things.
func NewFeed[T any](limit int) *Feed[T] {
	return &Feed[T]{limit: limit, readers: map[chan T]struct{}{}}
}

// Add passes on one more thing.
func (f *Feed[T]) Add(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent = appendLimited(f.recent, v, f.limit)
	for next := range f.readers {
		select {
		case next <- v:
		default:
			f.drop(next)
		}
	}
}

// Recent returns what is remembered, oldest first. It is never nil.
func (f *Feed[T]) Recent() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]T{}, f.recent...)
}

// Follow returns what is remembered and, without a gap, what comes. The channel is
// closed when ctx ends or the reader lags too far behind.
func (f *Feed[T]) Follow(ctx context.Context) (recent []T, next <-chan T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reader := make(chan T, readerBuffer)
	f.readers[reader] = struct{}{}
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.drop(reader)
	})
	return slices.Clone(f.recent), reader
}

func (f *Feed[T]) drop(reader chan T) {
	if _, there := f.readers[reader]; there {
		delete(f.readers, reader)
		close(reader)
	}
}
