package tui

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

// The list asks at once, again when it is old, and never twice at a time.
func TestPointsAreAsked(t *testing.T) {
	doc, err := os.ReadFile("testdata/points.json")
	if err != nil {
		t.Fatal(err)
	}
	asked, refuse := 0, error(nil)
	m := showing(target(branch(t)), 80, 24, unicodeLook)
	m.fetch = func() answer { return answer{} }
	m.fetchPoints = pointsFetcher(t.Context(), func(context.Context, progress.VM) (json.RawMessage, error) { asked++; return doc, refuse })
	m, cmd := press(t, m.move(5), "r")
	if m, again := press(t, m, "r"); again != nil || !m.points.open {
		t.Error("a second question while the first is out")
	}
	m = after(m, cmd())
	if screen := seen(render(m), 80, 24); asked != 1 || !strings.Contains(screen, "points of sql01, 5, newest first") || strings.Contains(screen, "points of sql01, 6") {
		t.Errorf("asked %d times:\n%s", asked, screen)
	}
	if m.pointsDue(m.clock.Add(pointsEvery - time.Second)) {
		t.Error("asks again at once")
	}
	if !m.pointsDue(m.clock.Add(pointsEvery)) {
		t.Error("never asks again")
	}
	refuse = errors.New("the store is busy")
	vm, _ := m.pointsVM()
	m = after(m, m.fetchPoints(vm))
	if screen := seen(render(m), 80, 24); !strings.Contains(screen, "the store is busy") || !strings.Contains(screen, "0000000000000029") {
		t.Errorf("what was known is gone, or the error is not told:\n%s", screen)
	}
	if m, _ = press(t, m, "esc"); m.points.open {
		t.Error("esc does not close the list")
	}
	other, _ := press(t, m, "g", "r")
	if other = after(other, m.fetchPoints(vm)); other.points.known {
		t.Error("another VM has the points of sql01")
	}
}

func TestPointsAreHostile(t *testing.T) {
	if _, _, err := parsePoints(json.RawMessage(`{"points":[{"time":"yesterday"}]}`), progress.VM{}); err == nil {
		t.Error("took a time that is none")
	}
	m := showing(branch(t), 80, 24, unicodeLook)
	m, _ = press(t, m, "r")
	m.points.known, m.points.err = true, nil
	for range 200 {
		m.points.list = append(m.points.list, point{VM: "web03", Source: "branch-lyon", Point: evil, Base: evil, State: evil})
	}
	m = m.move(farRows)
	if frame := render(m); strings.Contains(frame, "\x1b[2J") || strings.Count(frame, "\n") != 23 {
		t.Error("a point rewrote the screen")
	}
	if m.points.choice != 199 {
		t.Errorf("the last of 200 points is %d", m.points.choice)
	}
}

func TestCopy(t *testing.T) {
	st := branch(t)
	st.VMs[3].Because = "\x1b]52;c;?\a\u202e"
	var out bytes.Buffer
	m := showing(st, 80, 24, unicodeLook)
	m.clipboard = &out
	m, cmd := press(t, m, "y")
	m = after(m, cmd())
	if !strings.HasPrefix(m.toast.text, "copied web03 as JSON") {
		t.Errorf("told %q", m.toast.text)
	}
	text, found := strings.CutPrefix(out.String(), "\x1b]52;c;")
	doc, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, "\a"))
	if !found || err != nil {
		t.Fatalf("wrote %q: %v", out.String(), err)
	}
	var vm progress.VM
	if err := json.Unmarshal(doc, &vm); err != nil || vm.VM != "web03" || strings.ContainsRune(string(doc), '\u202e') {
		t.Errorf("copied %s: %v", doc, err)
	}
	out.Reset()
	if n, err := copyJSON(&out, strings.Repeat("x", maxCopy)); err == nil || n != 0 || out.Len() != 0 {
		t.Errorf("copied %d bytes, which no terminal takes for sure: %v", n, err)
	}
	m, _ = press(t, m, "down")
	if what, value := m.copyable(); what != "web03/web03-os" || value.(progress.Disk).Disk != "web03-os" {
		t.Errorf("a disk is copied as %q, %v", what, value)
	}
	m.points.open = true
	if _, value := m.copyable(); value != nil {
		t.Errorf("an empty list copies %v", value)
	}
}
