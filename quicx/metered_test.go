package quicx

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// meteredFirst lists a metered uplink before the others, where it must not matter.
func meteredFirst(c *Config) {
	c.Uplinks[0], c.Uplinks[1] = c.Uplinks[1], c.Uplinks[0]
	c.Uplinks[0].Metered = true // lte
}

// A dial uses a metered uplink only if no other answers.
func TestDialTriesMeteredLast(t *testing.T) {
	tests := []struct {
		name string
		cut  func(w *world, e *Endpoint)
		took time.Duration // without the two round trips of a handshake
		path string
	}{
		{"all well", func(*world, *Endpoint) {}, 0, "fibre"},
		{"the other is slow", func(w *world, _ *Endpoint) {
			w.wan.set(true, uplinkIP(0))
			time.AfterFunc(time.Second, func() { w.wan.set(false, uplinkIP(0)) })
		}, 1500 * time.Millisecond, "fibre"},
		{"the other is dead", func(w *world, _ *Endpoint) { w.wan.set(true, uplinkIP(0)) }, meteredPatience, "lte"},
		{"the other is down", func(w *world, e *Endpoint) {
			w.wan.set(true, uplinkIP(0))
			e.NetworkChanged("fibre", false)
		}, 0, "lte"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				src := testIdentity(t, "branch-lyon")
				w.target(src)
				cfg := w.sourceConfig(src, 2)
				meteredFirst(&cfg)
				e := w.endpoint(cfg)
				test.cut(w, e)
				began := time.Now()
				link, err := e.Dial(t.Context(), w.peer())
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > test.took+4*oneWay {
					t.Errorf("took %v", took)
				}
				if got := link.Stats().Path; got != test.path {
					t.Errorf("over %s, want %s", got, test.path)
				}
			})
		})
	}
}

// A link leaves for a metered uplink only if no other works, and comes back.
func TestMeteredIsTheLastResort(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _, link := attachedWorld(t, w, 3, func(c *Config) {
			meteredFirst(c)
			c.Uplinks[0].MaxRate = 1_000_000
		})
		d := startLoad(t, l, link, 200*time.Millisecond)
		for _, step := range []struct {
			name          string
			cut           bool
			uplink        int
			path, standby string
		}{
			{"all well", false, 0, "fibre", "dsl"},
			{"fibre is cut", true, 0, "dsl", "lte"},
			{"dsl is cut", true, 2, "lte", "lte"},
			{"dsl is back", false, 2, "dsl", "lte"},
			{"fibre is back", false, 0, "fibre", "dsl"},
		} {
			w.wan.set(step.cut, uplinkIP(step.uplink))
			began := time.Now()
			time.Sleep(90 * time.Second)
			if s := link.Stats(); s.Path != step.path || s.Standby != step.standby {
				t.Errorf("%s: over %s with a standby over %s, want %s and %s", step.name, s.Path, s.Standby, step.path, step.standby)
			}
			if g := d.longest(began); g.took > 1200*time.Millisecond {
				t.Errorf("%s: a gap of %v", step.name, g.took)
			}
		}
		d.end()
		told := func(text string) bool {
			return strings.HasPrefix(text, "migrated dsl → lte") && strings.HasSuffix(text, ", metered, limited to 8 Mbit/s")
		}
		if got := w.texts(EventMigrated); !slices.ContainsFunc(got, told) {
			t.Errorf("no event says that a metered uplink is used: %q", got)
		}
	})
}

// A standby path over a metered uplink costs next to nothing, and is there when it
// is needed.
func TestMeteredStandbyIsCheap(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.meter()
		l, _, link := attachedWorld(t, w, 2, meteredFirst)
		m.take(1)
		d := startLoad(t, l, link, time.Second)
		time.Sleep(time.Hour)
		_, got := m.take(1)
		t.Logf("a standby over lte costs %d bytes an hour in both directions", got)
		if got == 0 || got > 64<<10 {
			t.Errorf("a standby over lte costs %d bytes an hour in both directions", got)
		}
		cut := time.Now()
		w.wan.set(true, uplinkIP(0))
		time.Sleep(5 * time.Second)
		if g := d.longest(cut); link.Stats().Path != "lte" || g.took > 2*time.Second {
			t.Errorf("after the cut: a gap of %v, %+v", g.took, link.Stats())
		}
		d.end()
	})
}
