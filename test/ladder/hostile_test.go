package ladder

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/replicate/wire"
)

// A caller speaks to the target by hand, as a source with a bug or a thief of its
// key would.
type caller struct {
	s       *sim
	link    *quicx.Link
	control *quicx.Stream
}

func (s *sim) call() *caller {
	peer := quicx.Peer{Name: "dr", Addresses: []string{targetAddr.String()}, Pin: s.targetID.Pin()}
	l, err := s.endpoint.Dial(s.t.Context(), peer)
	if err != nil {
		s.t.Fatal(err)
	}
	control, err := l.OpenStream(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return &caller{s, l, control}
}

// ask sends messages on the control stream and returns the last answer.
func (c *caller) ask(messages ...any) (answer any, err error) {
	for _, m := range messages {
		if err := wire.Write(c.control, m); err != nil {
			return nil, err
		}
		if answer, err = wire.Read(c.control); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// stream opens a disk stream with a message.
func (c *caller) stream(m any) *quicx.Stream {
	st, err := c.link.OpenStream(c.s.t.Context())
	if err != nil {
		c.s.t.Fatal(err)
	}
	if err := wire.Write(st, m); err != nil {
		c.s.t.Fatal(err)
	}
	return st
}

// end waits until a stream ends and returns the last message on it.
func end(t *testing.T, st *quicx.Stream) (last any) {
	t.Helper()
	if err := st.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := wire.Read(st)
		if err != nil {
			var e *quicx.Error
			if err != io.EOF && (!errors.As(err, &e) || e.Dropped()) {
				t.Errorf("the stream ended with %v", err)
			}
			return last
		}
		last = m
	}
}

func smallDisks() map[string]*memoryDisk {
	return map[string]*memoryDisk{"data": newDisk(9, 1), "os": newDisk(3, 2)}
}

func hello() *wire.Hello {
	return &wire.Hello{MinVersion: 1, MaxVersion: 1, VMs: []string{"sql01"}}
}

func open() *wire.Open {
	return &wire.Open{VM: "sql01", Disks: []wire.Disk{{
		Name: "data", Size: 4 * diskio.BlockBytes, LogicalSectorSize: 512, PhysicalSectorSize: 512, Identity: "evil",
	}}}
}

// TestHostileSource tries what no honest source does. Nothing of it commits a
// point, and an honest run afterwards succeeds.
func TestHostileSource(t *testing.T) {
	block := make([]byte, diskio.BlockBytes)
	block[0] = 1
	data := func(off int64) []byte { return wire.AppendData(nil, off, block) }
	damaged := data(0)
	damaged[30] ^= 1

	tests := []struct {
		name string
		do   func(t *testing.T, c *caller)
	}{
		{"commit before open", func(t *testing.T, c *caller) { c.refused(t, hello(), &wire.Commit{}) }},
		{"open before hello", func(t *testing.T, c *caller) { c.refused(t, open()) }},
		{"version of the future", func(t *testing.T, c *caller) { c.refused(t, &wire.Hello{MinVersion: 7, MaxVersion: 9}) }},
		{"commit of nothing", func(t *testing.T, c *caller) {
			c.refused(t, hello(), open(), &wire.Commit{Roots: []digest.Sum{digest.ZeroBlock()}})
		}},
		{"commit of too many disks", func(t *testing.T, c *caller) {
			c.refused(t, hello(), open(), &wire.Commit{Roots: make([]digest.Sum, 5)})
		}},
		{"answer as a request", func(t *testing.T, c *caller) { c.refused(t, hello(), &wire.Opened{}) }},
		{"escape in a name", func(t *testing.T, c *caller) {
			m := open()
			m.VM = "\x1b]0;pwned\a"
			c.refused(t, hello(), m)
		}},
		{"stream of another generation", func(t *testing.T, c *caller) { c.opened(t, &wire.Begin{Generation: 99}) }},
		{"stream of no disk", func(t *testing.T, c *caller) { c.opened(t, &wire.Begin{Generation: 1, Disk: 7}) }},
		{"stream of a negative disk", func(t *testing.T, c *caller) { c.opened(t, &wire.Begin{Generation: 1, Disk: -1}) }},
		{"stream that skips", func(t *testing.T, c *caller) { c.opened(t, &wire.Begin{Generation: 1, Offset: diskio.BlockBytes}) }},
		{"stream without a beginning", func(t *testing.T, c *caller) { c.opened(t, &wire.Done{}) }},
		{"two streams for one disk", func(t *testing.T, c *caller) {
			c.begin(t)
			time.Sleep(time.Second)
			end(t, c.stream(&wire.Begin{Generation: 1}))
		}},
		{"backwards", func(t *testing.T, c *caller) { c.frames(t, data(diskio.BlockBytes), data(0)) }},
		{"behind the end", func(t *testing.T, c *caller) { c.frames(t, data(4*diskio.BlockBytes)) }},
		{"not on a block", func(t *testing.T, c *caller) { c.frames(t, data(512)) }},
		{"damaged frame", func(t *testing.T, c *caller) { c.frames(t, damaged) }},
		{"wrong root", func(t *testing.T, c *caller) {
			c.frames(t, data(0), wire.AppendEnd(nil, 4*diskio.BlockBytes, digest.Sum{1}))
		}},
		{"end of another disk", func(t *testing.T, c *caller) { c.frames(t, wire.AppendEnd(nil, 512, digest.Sum{1})) }},
		{"silence", func(t *testing.T, c *caller) { end(t, c.control) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, smallDisks(), func(t *testing.T, s *sim) {
				c := s.call()
				test.do(t, c)
				c.link.Close(quicx.CodeDone, "")
				time.Sleep(time.Second)
				for _, vm := range s.board.Status().VMs {
					if vm.Points != 0 {
						t.Fatalf("%d points of %s were committed", vm.Points, vm.VM)
					}
				}
				if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
					t.Fatalf("an honest run afterwards: %v", err)
				}
				s.checkReplica()
			})
		})
	}
}

// refused checks that the last of the messages comes to nothing.
func (c *caller) refused(t *testing.T, messages ...any) {
	t.Helper()
	answer, err := c.ask(messages...)
	if _, ok := answer.(*wire.Refused); err == nil && !ok {
		t.Errorf("the answer is %T, want a refusal or the end", answer)
	}
}

// begin opens the point and a stream for its disk.
func (c *caller) begin(t *testing.T) *quicx.Stream {
	t.Helper()
	answer, err := c.ask(hello(), open())
	if opened, ok := answer.(*wire.Opened); !ok || opened.Generation != 1 {
		t.Fatalf("open was answered by %+v and %v", answer, err)
	}
	return c.stream(&wire.Begin{Generation: 1})
}

// opened opens the point and checks that a stream with this message is ended.
func (c *caller) opened(t *testing.T, first any) {
	t.Helper()
	if _, err := c.ask(hello(), open()); err != nil {
		t.Fatal(err)
	}
	if last := end(t, c.stream(first)); last != nil {
		t.Errorf("the stream was answered by %+v, want its end", last)
	}
}

// frames sends frames that the target must refuse.
func (c *caller) frames(t *testing.T, frames ...[]byte) {
	t.Helper()
	st := c.begin(t)
	for _, f := range frames {
		if _, err := st.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if last, ok := end(t, st).(*wire.Refused); !ok {
		t.Errorf("the last answer is %+v, want a refusal", last)
	}
}

// TestNewerLinkFencesTheOlder opens a VM on a second link while the first one is
// sending. Nothing that the first one still sends counts.
func TestNewerLinkFencesTheOlder(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		old := s.call()
		stream := old.begin(t)
		fresh := s.call()
		answer, err := fresh.ask(hello(), open())
		opened, ok := answer.(*wire.Opened)
		if !ok || opened.Generation != 2 {
			t.Fatalf("the second link got %+v and %v, want generation 2", answer, err)
		}
		block := make([]byte, diskio.BlockBytes)
		block[0] = 1
		for range 10 {
			if _, err := stream.Write(wire.AppendData(nil, 0, block)); err != nil {
				var e *quicx.Error
				if !errors.As(err, &e) || e.Dropped() {
					t.Errorf("the old link ended with %v, want one that is not worth a redial", err)
				}
				fresh.link.Close(quicx.CodeDone, "")
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("the old link can still write")
	})
}

// TestHostileTarget answers a source with lies. The run fails at once and does not
// go down the ladder.
func TestHostileTarget(t *testing.T) {
	opened := &wire.Opened{Point: "1", Generation: 1, Disks: []wire.Offset{{}, {}}}
	tests := []struct {
		name    string
		answers []any // to hello, open, commit
		onDisk  any   // what a disk's stream is answered by
	}{
		{"no welcome", []any{&wire.Committed{}}, nil},
		{"wrong version", []any{&wire.Welcome{Version: 9}}, nil},
		{"too few disks", []any{&wire.Welcome{Version: 1}, &wire.Opened{Point: "1", Disks: []wire.Offset{{}}}}, nil},
		{"behind the end", []any{&wire.Welcome{Version: 1}, &wire.Opened{Point: "1", Disks: []wire.Offset{{Durable: 1 << 40}, {}}}}, nil},
		{"not on a block", []any{&wire.Welcome{Version: 1}, &wire.Opened{Point: "1", Disks: []wire.Offset{{Durable: 100}, {}}}}, nil},
		{"acknowledges what was not sent", []any{&wire.Welcome{Version: 1}, opened}, &wire.Durable{Offset: 1 << 40}},
		{"asks on a disk's stream", []any{&wire.Welcome{Version: 1}, opened}, hello()},
		{"committed another content", []any{&wire.Welcome{Version: 1}, &wire.Opened{Point: "1", Disks: []wire.Offset{{}, {}}, Committed: true}}, nil},
		{"does not commit", []any{&wire.Welcome{Version: 1}, opened, &wire.Welcome{Version: 1}}, &wire.Done{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, smallDisks(), func(t *testing.T, s *sim) {
				s.stopTarget()
				s.stopTarget = s.liar(test.answers, test.onDisk)
				began := time.Now()
				report, err := s.source.Run(t.Context(), "nightly")
				if err == nil || report.Outcome != "failed" {
					t.Errorf("outcome %q and error %v, want failed", report.Outcome, err)
				}
				if took := time.Since(began); took > time.Minute || s.attempts > 1 {
					t.Errorf("took %v and %d redials", took, s.attempts)
				}
			})
		})
	}
}

// liar is a target that gives fixed answers. It returns what stops it.
func (s *sim) liar(answers []any, onDisk any) (stop func()) {
	listener, err := quicx.Listen(quicx.ListenConfig{
		Identity: s.targetID, Conn: s.plug(targetAddr), Peers: []quicx.Peer{{Name: "branch", Pin: s.sourceID.Pin()}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l, err := listener.Accept(s.t.Context())
		if err != nil {
			return
		}
		control, err := l.AcceptStream(s.t.Context())
		if err != nil {
			return
		}
		for i, answer := range answers {
			if _, err := wire.Read(control); err != nil {
				return
			}
			wire.Write(control, answer)
			if i == 1 && onDisk != nil {
				for range 2 {
					go lieOnDisk(s, l, onDisk)
				}
			}
		}
		wire.Read(control)
	}()
	return func() {
		listener.Close()
		<-done
	}
}

func lieOnDisk(s *sim, l *quicx.Link, answer any) {
	st, err := l.AcceptStream(s.t.Context())
	if err != nil {
		return
	}
	wire.Write(st, answer)
	io.Copy(io.Discard, st)
}

// TestStalledLinkIsNotHealthy has a target that takes everything and acknowledges
// nothing. The link is up all the time; the run leaves it after a minute.
func TestStalledLinkIsNotHealthy(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		s.stopTarget()
		opened := &wire.Opened{Point: "1", Generation: 1, Disks: []wire.Offset{{}, {}}}
		stopLiar := s.liar([]any{&wire.Welcome{Version: 1}, opened}, nil)
		time.AfterFunc(70*time.Second, func() {
			stopLiar()
			s.startTarget()
		})
		began := time.Now()
		if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		s.checkReplica()
		if took := time.Since(began); took < time.Minute || took > 3*time.Minute {
			t.Errorf("took %v, want a little more than a minute", took)
		}
		told := false
		for _, e := range s.sources.Status().Events {
			told = told || strings.Contains(e.Text, "moved no block for 1m")
		}
		if !told {
			t.Errorf("no event says why the link was left: %+v", s.sources.Status().Events)
		}
	})
}

// TestSlowTargetSlowsTheSource has a target that takes nothing off its streams. The
// source reads ahead no more than the windows of the link and its own pipeline hold.
func TestSlowTargetSlowsTheSource(t *testing.T) {
	bubble(t, map[string]*memoryDisk{"data": newDisk(1000, 1)}, func(t *testing.T, s *sim) {
		s.stopTarget()
		opened := &wire.Opened{Point: "1", Generation: 1, Disks: []wire.Offset{{}}}
		s.stopTarget = s.liar([]any{&wire.Welcome{Version: 1}, opened}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.source.Run(ctx, "nightly")
		}()
		time.Sleep(30 * time.Second)
		read := s.disks["data"].wasRead()
		if read == 0 || read > 16<<20 {
			t.Errorf("the source has read %d bytes that nobody takes", read)
		}
		cancel()
		<-done
	})
}

// TestWrongDiskIsSentAnew has a part whose disk is complete and not the source's,
// as one with a bug could leave it. The commit is refused, and the run after it
// sends the disk anew.
func TestWrongDiskIsSentAnew(t *testing.T) {
	bubble(t, map[string]*memoryDisk{"data": newDisk(4, 1)}, func(t *testing.T, s *sim) {
		c := s.call()
		m := open()
		m.Disks[0].ID, m.Disks[0].PhysicalSectorSize, m.Disks[0].Identity = diskID("data"), 4096, "version 0"
		if _, err := c.ask(hello(), m); err != nil {
			t.Fatal(err)
		}
		zeros := digest.NewTree(0)
		zeros.SkipTo(4)
		root, err := zeros.Root(4 * diskio.BlockBytes)
		if err != nil {
			t.Fatal(err)
		}
		st := c.stream(&wire.Begin{Generation: 1})
		if _, err := st.Write(wire.AppendEnd(nil, 4*diskio.BlockBytes, root)); err != nil {
			t.Fatal(err)
		}
		if answer, err := wire.Read(st); err != nil {
			t.Fatalf("the end was answered by %+v and %v", answer, err)
		}
		c.link.Close(quicx.CodeDone, "")
		time.Sleep(time.Second)

		_, err = s.source.Run(t.Context(), "nightly")
		var refused *replicate.RefusedError
		if !errors.As(err, &refused) || refused.Code != wire.CodeDigest {
			t.Fatalf("got %v, want a refusal for the digest", err)
		}
		if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		s.checkReplica()
	})
}
