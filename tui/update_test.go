package tui

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wanrep/replicate/progress"
)

// after feeds messages to a model.
func after(m model, messages ...any) model {
	for _, msg := range messages {
		next, _ := m.Update(msg)
		m = next.(model)
	}
	return m
}

func TestGoneAndBack(t *testing.T) {
	st := branch(t)
	start := time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC) // another clock than the appliance's
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	m := newModel(unicodeLook, nil)
	m.width, m.height = 80, 24
	m.fetch = func() answer { return answer{} }

	m = after(m, tick(at(0)), answer{status: st, at: at(0)})
	if screen := seen(render(m), 80, 24); !strings.Contains(screen, "link up") || !strings.Contains(screen, "11:20:07 UTC") {
		t.Fatalf("after an answer:\n%s", screen)
	}
	m = after(m, tick(at(1)), answer{err: fs.ErrPermission, at: at(1)}, tick(at(2)), answer{err: fs.ErrPermission, at: at(13)})
	screen := seen(render(m), 80, 24)
	for _, want := range []string{"appliance gone 12s, old data: permission denied", "11:20:20 UTC", "sql01-data"} {
		if !strings.Contains(screen, want) {
			t.Errorf("while gone %q is missing:\n%s", want, screen)
		}
	}
	st.Time = st.Time.Add(20 * time.Second)
	m = after(m, tick(at(20)), answer{status: st, at: at(20)})
	if screen := seen(render(m), 80, 24); strings.Contains(screen, "gone") || !strings.Contains(screen, "11:20:27 UTC") {
		t.Errorf("after it came back:\n%s", screen)
	}
}

func TestFreeze(t *testing.T) {
	st := branch(t)
	m := showing(st, 80, 24, unicodeLook)
	m.fetch = func() answer { return answer{} }
	m, _ = press(t, m, "f")
	still := render(m)
	later := st
	later.Time, later.VMs = st.Time.Add(time.Hour), nil
	m = after(m, tick(st.Time.Add(time.Second)), answer{status: later, at: st.Time.Add(time.Second)})
	if render(m) != still {
		t.Error("a frozen screen changed")
	}
	m, _ = press(t, m, "f")
	if m = after(m, answer{status: later, at: st.Time.Add(2 * time.Second)}); !strings.Contains(render(m), "12:20:07") {
		t.Error("the screen did not go on")
	}
}

func TestOneQuestionAtATime(t *testing.T) {
	m := newModel(unicodeLook, nil)
	m.fetch = func() answer { return answer{} }
	asked := func(m model) (model, bool) {
		was := m.asking
		next, _ := m.Update(tick(time.Unix(0, 0)))
		m = next.(model)
		return m, m.asking && !was
	}
	m, first := asked(m)
	m, second := asked(m)
	if !first || second {
		t.Errorf("asked %v and, with the answer still out, %v", first, second)
	}
	m = after(m, answer{err: errors.New("no"), at: time.Unix(1, 0)})
	if _, third := asked(m); !third {
		t.Error("did not ask again after an error")
	}
}

func TestToastGoes(t *testing.T) {
	m := showing(branch(t), 80, 24, unicodeLook)
	m.fetch = func() answer { return answer{} }
	m = after(m, outcome{label: "cut", at: m.clock})
	if m = after(m, tick(m.clock.Add(toastLasts))); m.toast.text == "" {
		t.Error("the message went too early")
	}
	if m = after(m, tick(m.clock.Add(toastLasts+time.Second))); m.toast.text != "" {
		t.Error("the message stays")
	}
	m = after(m, outcome{label: "cut", err: errors.New("no such path"), at: m.clock}, tick(m.clock.Add(time.Hour)))
	if !m.toast.isErr || m.toast.text != "cut: no such path" {
		t.Errorf("the error did not stay: %+v", m.toast)
	}
}

type silent struct{}

func (silent) Status(ctx context.Context) (progress.Status, error) {
	<-ctx.Done()
	return progress.Status{}, ctx.Err()
}

// An appliance that takes the question and does not answer is gone, too.
func TestSilentAppliance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		a := fetcher(t.Context(), silent{})()
		if !errors.Is(a.err, errSilent) || time.Since(start) != answerWithin {
			t.Errorf("after %v: %v", time.Since(start), a.err)
		}
	})
}
