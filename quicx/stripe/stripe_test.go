package stripe

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A line is a channel with a buffer, which takes its time for each Write.
type line struct {
	pause func()

	mu      sync.Mutex
	changed *sync.Cond
	buffer  bytes.Buffer
	end     error // once the buffer is empty
}

func newLine(pause func()) *line {
	l := &line{pause: pause}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *line) Write(b []byte) (int, error) {
	l.pause()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed.Broadcast()
	return l.buffer.Write(b)
}

func (l *line) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.buffer.Len() == 0 && l.end == nil {
		l.changed.Wait()
	}
	if l.buffer.Len() == 0 {
		return 0, l.end
	}
	return l.buffer.Read(b)
}

func (l *line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = io.EOF
	l.changed.Broadcast()
	return nil
}

// A world is a sequence between a Writer and a Reader, in a bubble of fake time.
type world struct {
	t      *testing.T
	writer *Writer
	reader *Reader
	joined sync.WaitGroup
	pause  func()
}

func newWorld(t *testing.T, pause func()) *world {
	first := newLine(pause)
	w := &world{t: t, writer: NewWriter(first), reader: NewReader(first), pause: pause}
	w.writer.Grant(math.MaxInt64)
	return w
}

// join adds a channel; the function returned makes it leave.
func (w *world) join() (leave func(), left <-chan bool) {
	leaving, over := make(chan struct{}), make(chan bool, 1)
	if !w.writer.Join(w.open, leaving, func(c Channel) { over <- c != nil }) {
		w.t.Fatal("the channel could not join")
	}
	return sync.OnceFunc(func() { close(leaving) }), over
}

// open makes one more channel.
func (w *world) open() (Channel, error) {
	l := newLine(w.pause)
	w.joined.Go(func() { w.reader.Join(l) })
	return l, nil
}

func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

// Whatever channels come and go, and however slow each is, what is read is what was
// written.
func TestSequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		size := rapid.IntRange(0, 24*segmentBytes).Draw(rt, "size")
		comings := rapid.SliceOfN(rapid.IntRange(0, 60), 0, 8).Draw(rt, "comings")
		goings := rapid.SliceOfN(rapid.IntRange(1, 60), 0, 8).Draw(rt, "goings")
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			w := newWorld(t, func() {
				mu.Lock()
				d := time.Duration(random.IntN(5)) * time.Millisecond
				mu.Unlock()
				time.Sleep(d)
			})
			for i, at := range comings {
				time.AfterFunc(time.Duration(at)*time.Millisecond, func() {
					leaving := make(chan struct{})
					if i < len(goings) {
						time.AfterFunc(time.Duration(goings[i])*time.Millisecond, func() { close(leaving) })
					}
					w.writer.Join(w.open, leaving, func(Channel) {})
				})
			}
			want := content(seed, size)
			go func() {
				for left := want; len(left) > 0; {
					n := min(len(left), 1+int(seed%(6*segmentBytes)))
					if _, err := w.writer.Write(left[:n]); err != nil {
						t.Errorf("write: %v", err)
					}
					left = left[n:]
				}
				if err := w.writer.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			got, err := io.ReadAll(w.reader)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
				t.Errorf("%d bytes read (%v) of %d, or others", len(got), err, len(want))
			}
			w.joined.Wait()
			time.Sleep(time.Second) // those that join too late find that
		})
	})
}

// A channel that stands still must not keep the others from being used.
func TestSlowChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func() { time.Sleep(10 * time.Second) })
		w.pause = func() { time.Sleep(10 * time.Millisecond) }
		w.join()
		go func() {
			w.writer.Write(make([]byte, 100*segmentBytes))
			w.writer.Close()
		}()
		began := time.Now()
		n, err := io.Copy(io.Discard, w.reader)
		if took := time.Since(began); err != nil || n != 100*segmentBytes || took > 31*time.Second {
			t.Errorf("%d bytes in %v, error %v", n, took, err)
		}
		w.joined.Wait()
	})
}

// A reader that takes nothing holds the writer back, whatever its channels take.
func TestGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, writer: NewWriter(newLine(func() {})), pause: func() {}}
		if !w.writer.Join(func() (Channel, error) { return newLine(func() {}), nil }, nil, func(Channel) {}) {
			t.Fatal("could not join")
		}
		done := make(chan error, 1)
		go func() {
			_, err := w.writer.Write(make([]byte, 4*FirstGrant))
			done <- err
		}()
		for _, granted := range []int64{FirstGrant, 2 * FirstGrant, 3 * FirstGrant} {
			w.writer.Grant(granted)
			w.writer.Grant(granted - 1) // came late
			synctest.Wait()
			if got := w.writer.Written(); got != granted {
				t.Errorf("%d bytes written, %d are granted", got, granted)
			}
		}
		w.writer.Fail(errors.New("gone"))
		if err := <-done; err == nil {
			t.Error("the write went on")
		}
	})
}

func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func() { time.Sleep(time.Millisecond) })
		leave, left := w.join()
		go io.Copy(io.Discard, w.reader)
		w.writer.Write(make([]byte, 20*segmentBytes))
		leave()
		if !<-left {
			t.Error("the channel was never used")
		}
		w.joined.Wait() // its end was read
		w.writer.Write(make([]byte, 20*segmentBytes))
		if err := w.writer.Close(); err != nil {
			t.Error(err)
		}
		if w.writer.Join(nil, nil, nil) {
			t.Error("joined a sequence that has ended")
		}
	})
}

func TestWriterFails(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name string
		do   func(w *world, fail func(error))
	}{
		{"first channel", func(w *world, fail func(error)) { fail(broken) }},
		{"from outside", func(w *world, _ func(error)) { w.writer.Fail(broken) }},
		{"another channel", func(w *world, _ func(error)) {
			w.writer.Join(func() (Channel, error) { return nil, broken }, nil, func(Channel) {})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out, in := io.Pipe()
				w := &world{t: t, writer: NewWriter(in)}
				time.AfterFunc(time.Second, func() {
					tt.do(w, func(err error) { out.CloseWithError(err) })
					out.CloseWithError(broken)
				})
				_, err := w.writer.Write(make([]byte, 10*segmentBytes))
				if !errors.Is(err, broken) {
					t.Errorf("write: %v, want %v", err, broken)
				}
				if err := w.writer.Close(); !errors.Is(err, broken) {
					t.Errorf("close: %v, want %v", err, broken)
				}
				if _, err := w.writer.Write([]byte{1}); !errors.Is(err, broken) {
					t.Errorf("write after it: %v, want %v", err, broken)
				}
			})
		})
	}
}

// segments makes what stands in a channel.
func segments(at ...int64) []byte {
	var b []byte
	for i := 0; i < len(at); i += 2 {
		h := make([]byte, headerBytes)
		header{at[i], int(at[i+1])}.put(h)
		b = append(append(b, h...), make([]byte, at[i+1])...)
	}
	return b
}

// What a peer sends that is no sequence ends in an error, and neither in a hang nor
// in bytes.
func TestReaderRefuses(t *testing.T) {
	tests := []struct {
		name          string
		first, second []byte
		want          string
		read          int
	}{
		{"ends without the end", segments(0, 10), nil, "unexpected EOF", 10},
		{"ends in a segment", segments(0, 10)[:15], nil, "unexpected EOF", 3},
		{"ends in a header", segments(0, 10, 10, 10)[:25], nil, "unexpected EOF", 10},
		{"comes twice", segments(0, 10, 5, 10), nil, "the bytes at 5 came twice", 10},
		{"goes backwards", segments(10, 10, 0, 10), segments(0, 10), "a segment at 0 after one at 10", 20},
		{"overlaps", segments(0, 10), segments(5, 10), "the bytes at 5 came twice", 10},
		{"behind the end", segments(0, 10, 10, 0), segments(20, 5), "bytes at 20, behind the end at 10", 10},
		{"end too early", segments(0, 10, 5, 0), nil, "the end is at 5", 10},
		{"a segment too long", append(segments(0, 10), 0, 0, 0, 0, 0, 0, 0, 10, 0x7f, 0, 0, 0), nil, "a segment of 2130706432 bytes at 10", 10},
		{"an offset too large", append(segments(0, 10), 0xff, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 1), nil, "a segment of 1 bytes", 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := NewReader(bytes.NewReader(tt.first))
				joined := make(chan struct{})
				go func() {
					defer close(joined)
					if tt.second != nil {
						r.Join(bytes.NewReader(tt.second))
					}
				}()
				synctest.Wait()
				b, err := io.ReadAll(r)
				if err == nil || !bytes.Contains([]byte(err.Error()), []byte(tt.want)) || len(b) > tt.read {
					t.Errorf("%d bytes, error %v, want %q", len(b), err, tt.want)
				}
				r.Fail(err)
				<-joined
			})
		})
	}
}

// Nobody reads any more: what follows the channels ends.
func TestReaderGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReader(bytes.NewReader(segments(0, 10, 30, 10)))
		done := make(chan error)
		go func() { done <- r.Join(bytes.NewReader(segments(10, 10, 20, 10))) }()
		if n, err := r.Read(make([]byte, 4)); n != 4 || err != nil {
			t.Fatal(n, err)
		}
		gone := errors.New("gone")
		r.Fail(gone)
		<-done
		if _, err := io.ReadAll(r); !errors.Is(err, gone) && err != nil {
			t.Error(err)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add(segments(0, 10, 20, 5, 25, 0), segments(10, 10))
	f.Add(segments(0, 10, 5, 10), segments(3, 4))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		synctest.Test(t, func(t *testing.T) {
			r := NewReader(bytes.NewReader(first))
			go r.Join(bytes.NewReader(second))
			time.AfterFunc(time.Second, func() { r.Fail(errors.New("time is up")) })
			n, err := io.Copy(io.Discard, r)
			if err == nil && n > int64(len(first)+len(second)) {
				t.Errorf("%d bytes of %d", n, len(first)+len(second))
			}
		})
	})
}

func ExampleWriter() {
	out, in := io.Pipe()
	w, r := NewWriter(in), NewReader(out)
	go func() {
		io.WriteString(w, "one sequence")
		w.Close()
	}()
	b, err := io.ReadAll(r)
	fmt.Println(string(b), err)
	// Output: one sequence <nil>
}

// writes are how long what is written at once is.
type writes []int

func (w *writes) Write(b []byte) (int, error) {
	*w = append(*w, len(b))
	return len(b), nil
}

func (*writes) Close() error { return nil }

// A header that is written apart can travel in a packet of its own.
func TestWritesOfASegment(t *testing.T) {
	var got writes
	w := NewWriter(&got)
	if _, err := w.Write(make([]byte, loneBytes+1)); err != nil {
		t.Fatal(err)
	}
	want := []int{headerBytes + segmentBytes, loneBytes - segmentBytes, headerBytes + 1}
	if !slices.Equal(got, want) {
		t.Errorf("%d bytes were written in pieces of %d, want %d", loneBytes+1, got, want)
	}
}
