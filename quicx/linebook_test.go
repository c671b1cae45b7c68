package quicx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A link begins with what the last one learned of the same line, also that of a process
// before: its lanes are there before the first disk is, and so the line is full at once.
func TestLinkKnowsItsLine(t *testing.T) {
	const mbit, size = 40.0, 12 << 20
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(mbit, 0.02)
		id := testIdentity(t, "branch-lyon")
		digests(w.target(id))
		var took []time.Duration
		dir := t.TempDir()
		for range 2 {
			cfg := w.sourceConfig(id, 1)
			cfg.TicketDir = dir
			e := w.endpoint(cfg)
			l, err := e.Dial(t.Context(), w.peer())
			if err != nil {
				t.Fatal(err)
			}
			firstWords(t, l)
			time.Sleep(time.Second)
			if s := l.Stats(); len(took) == 1 && s.Lanes < 4 {
				t.Errorf("%d lanes before there is anything to do", s.Lanes)
			}
			took = append(took, deliver(t, l, size))
			if len(took) == 2 { // nothing of a peer that is gone is kept
				if err := e.Forget(w.peer()); err != nil {
					t.Error(err)
				}
				if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
					t.Errorf("after it was forgotten there are %v, %v", files, err)
				}
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if share := size * 8 / took[1].Seconds() / (mbit * 1e6); share < 0.75 || took[0] < took[1] {
			t.Errorf("took %v, the second time %.2f of the line", took, share)
		}
	})
}

// Lanes that were turned away are dialed again soon.
func TestLanesAreDialedAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(20, 0.02)
		id := testIdentity(t, "branch-lyon")
		target := w.target(id)
		digests(target)
		l, err := w.endpoint(w.sourceConfig(id, 1)).Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		firstWords(t, l)
		allow := func(n int) {
			target.mu.Lock()
			defer target.mu.Unlock()
			for k := range target.links {
				k.inbound.mu.Lock()
				k.inbound.lanes += n
				k.inbound.mu.Unlock()
			}
		}
		allow(maxInboundLanes)
		time.AfterFunc(time.Second, func() { allow(-maxInboundLanes) })
		time.AfterFunc(2500*time.Millisecond, func() {
			if n := l.Stats().Lanes; n == 1 {
				t.Error("no lane 1.5 s after they are let in")
			}
		})
		deliver(t, l, 6<<20)
		l.Close(CodeDone, "")
	})
}

func TestLineBook(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tickets")
	pin, other := Pin{1}, Pin{2}
	open := func() *lineBook { return &lineBook{dir: dir, lines: make(map[Pin]map[string]line)} }
	known := line{Lanes: 40, Sent: 900, Lost: 18, Calm: 20, Own: 0.02, Rate: 12e6, Base: 80 * time.Millisecond, Seen: time.Now().Add(-time.Hour).UTC().Round(0)}
	b := open()
	b.note(pin, "fibre", known)
	b.note(other, "fibre", line{Lanes: 3, Base: time.Millisecond, Seen: known.Seen})
	if got := open().of(pin, "fibre"); got != known {
		t.Errorf("got %+v, want %+v", got, known)
	}
	if got := open().of(pin, "lte"); got != (line{}) || got.first() != 0 {
		t.Errorf("a line that was never used has %+v", got)
	}
	if err := b.drop(pin); err != nil {
		t.Error(err)
	}
	if err := b.drop(pin); err != nil {
		t.Errorf("drop it again: %v", err)
	}
	for _, book := range []*lineBook{b, open()} {
		if got := book.of(pin, "fibre"); got != (line{}) {
			t.Errorf("after the drop there is %+v", got)
		}
		if got := book.of(other, "fibre"); got.Lanes != 3 {
			t.Errorf("of the other peer there is %+v", got)
		}
	}
	if info, err := os.Stat(b.path(other)); err != nil || info.Size() > maxBookBytes {
		t.Errorf("%v, %v", info, err)
	}
}

func TestParseLines(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	const good = `{"lanes":40,"sent":900,"lost":18,"calm":20,"own":0.02,"jitter_ns":1000,"rate":1e7,"base_ns":80000000,"seen":"2026-05-01T11:00:00Z"}`
	tests := []struct {
		name, line string
		kept       bool
	}{
		{"as written", good, true},
		{"old", strings.Replace(good, "2026-05-01", "2026-04-01", 1), false},
		{"of the future", strings.Replace(good, "2026-05-01", "2027-05-01", 1), false},
		{"no lanes", strings.Replace(good, `"lanes":40`, `"lanes":0`, 1), false},
		{"more lanes than there may be", strings.Replace(good, `"lanes":40`, `"lanes":97`, 1), false},
		{"more lost than sent", strings.Replace(good, `"lost":18`, `"lost":901`, 1), false},
		{"a negative rate", strings.Replace(good, "1e7", "-1", 1), false},
		{"no round trip", strings.Replace(good, "80000000", "0", 1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseLines([]byte(`{"fibre":`+tt.line+`}`), now); (len(got) == 1) != tt.kept {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzParseLines(f *testing.F) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f.Add([]byte(`{"fibre":{"lanes":40,"sent":900,"lost":18,"calm":20,"own":0.02,"rate":1e7,"base_ns":80000000,"seen":"2026-05-01T11:00:00Z"}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"":{"lanes":-1,"rate":1e999}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		known := parseLines(data, now)
		defer func() { known["another"] = line{} }() // as note does
		for uplink, k := range known {
			count := k.count()
			n := count.want(now, laneSight{lanes: max(1, k.first()), busy: 1, rate: 1e6, sent: 100, loss: 0.01, base: k.Base})
			if first := k.first(); first < 0 || first > MaxLanes || n < 1 || n > MaxLanes {
				t.Errorf("over %q a link begins with %d lanes and goes on with %d", uplink, first, n)
			}
		}
	})
}
