package tui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"wanrep/replicate/progress"
)

// pointsEvery is how old a list of points may get on the screen: the appliance
// reads its store for each, which with thousands of points takes a while.
const pointsEvery = 10 * time.Second

// A point is a restore point, or a part of one, as the points document tells it
// ("wanrep points list --json").
type point struct {
	Source string    `json:"source"`
	VM     string    `json:"vm"`
	Point  string    `json:"point"`
	Base   string    `json:"base"` // empty for one that stands alone
	Time   time.Time `json:"time"` // committed, or begun for a part
	State  string    `json:"state"`
	Disks  []struct {
		Disk        string `json:"disk"`
		VirtualSize int64  `json:"virtual_size"`
		Stored      int64  `json:"stored"`
		Durable     int64  `json:"durable"`
	} `json:"disks"`
	// Damage lists what of the point's own files is damaged, Tested is when a failover
	// to it was tested; zero is never.
	Damage []struct{} `json:"damage"`
	Tested time.Time  `json:"tested"`
	// OnDamage tells that it has damaged content of a point on which it builds.
	OnDamage bool `json:"on_damage"`
}

// States of a point in that document.
const (
	pointCommitted = "committed"
	pointPart      = "part"
	pointDamaged   = "damaged"
)

// A pointsView is the list of a VM's points.
type pointsView struct {
	open   bool
	of     rowKey // the VM
	asking bool
	asked  time.Time // by the local clock
	known  bool      // list is what the appliance said
	list   []point   // newest first
	older  int       // points that are not in it
	err    error     // why there is no list
	choice int
}

// pointsAnswer is what came back from the appliance.
type pointsAnswer struct {
	of     rowKey
	points []point
	older  int
	err    error
}

// pointsFetcher returns a function that asks for a VM's points once.
func pointsFetcher(ctx context.Context, ask func(context.Context, progress.VM) (json.RawMessage, error)) func(progress.VM) pointsAnswer {
	if ask == nil {
		return nil
	}
	return func(vm progress.VM) pointsAnswer {
		ctx, cancel := context.WithTimeout(ctx, pointsWithin)
		defer cancel()
		a := pointsAnswer{of: vmKey(vm)}
		doc, err := ask(ctx, vm)
		if err == nil {
			a.points, a.older, err = parsePoints(doc, vm)
		}
		a.err = err
		return a
	}
}

// pointsWithin is how long the appliance may take to read its store.
const pointsWithin = 10 * time.Second

// parsePoints returns a VM's points out of a document, newest first, and how many
// older ones are not in it.
func parsePoints(doc json.RawMessage, vm progress.VM) (points []point, older int, err error) {
	var list struct {
		Points []point `json:"points"`
		Older  int     `json:"older"`
	}
	if err := json.Unmarshal(doc, &list); err != nil {
		return nil, 0, fmt.Errorf("read the list of points: %w", err)
	}
	points = slices.DeleteFunc(list.Points, func(p point) bool {
		return p.VM != vm.VM || p.Source != vm.Source && vm.Source != ""
	})
	slices.SortStableFunc(points, func(a, b point) int { return b.Time.Compare(a.Time) })
	return points, list.Older, nil
}

// listPoints opens the list of the selected VM's points.
func listPoints(m model) (tea.Model, tea.Cmd) {
	rows := m.rows()
	if len(rows) == 0 {
		return m, nil
	}
	if of := vmKey(rows[m.selection(rows)].vm); m.points.of != of {
		m.points = pointsView{of: of}
	}
	m.points.open, m.points.choice = true, 0
	if m.fetchPoints == nil {
		m.points.err = errNoPoints
		return m, nil
	}
	return m.askPoints()
}

var errNoPoints = errors.New("the restore points are not to be had here")

// pointsVM returns the VM whose points are shown, if it is still there.
func (m model) pointsVM() (progress.VM, bool) {
	i := slices.IndexFunc(m.status.VMs, func(vm progress.VM) bool { return vmKey(vm) == m.points.of })
	if i < 0 {
		return progress.VM{}, false
	}
	return m.status.VMs[i], true
}

// askPoints asks for the points in the background, unless a question is under way.
func (m model) askPoints() (model, tea.Cmd) {
	vm, there := m.pointsVM()
	if m.points.asking || m.fetchPoints == nil || !there {
		return m, nil
	}
	m.points.asking, m.points.asked = true, m.clock
	fetch := m.fetchPoints
	return m, func() tea.Msg { return fetch(vm) }
}

// pointsDue reports whether the list on the screen is old.
func (m model) pointsDue(at time.Time) bool {
	return m.points.open && !m.frozen && at.Sub(m.points.asked) >= pointsEvery
}

// answerPoints takes over what the appliance said, unless it is about a VM that was
// looked at before. What was known stays if it now says nothing.
func (m model) answerPoints(a pointsAnswer) model {
	if a.of != m.points.of {
		return m
	}
	m.points.asking, m.points.err = false, a.err
	if a.err == nil {
		m.points.known, m.points.list, m.points.older = true, a.points, a.older
	}
	return m
}

// movePoint moves the selection in the list.
func (m model) movePoint(by int) model {
	m.points.choice = max(0, min(m.points.choice+by, len(m.points.list)-1))
	return m
}

// drawPoints draws the list of the selected VM's points.
func (m model) drawPoints(c *canvas, r rect) {
	vm, there := m.pointsVM()
	if !there {
		m.drawVMs(c, r)
		return
	}
	points := m.points.list
	title := "restore points of " + vmName(m.status, vm)
	if n := len(points); n > 0 {
		title += fmt.Sprintf(", %d, newest first", n)
	}
	if m.points.older > 0 {
		title += fmt.Sprintf(", without %d older ones", m.points.older)
	}
	keys := []span{{"esc", of(plain, bold)}, {" back  ", of(faint)}, {"up, down", of(plain, bold)}, {" other points  ", of(faint)}, {"y", of(plain, bold)}, {" copy", of(faint)}}
	in := c.box(r, title, keys, true)
	in = rect{in.x, in.y, in.w, in.h}
	y := in.y
	for _, text := range m.aboutPoints(vm, points) {
		for _, line := range wrap(text, in.w-4) {
			if y < in.y+in.h {
				c.put(in.x+2, y, in.w-4, line, of(plain))
				y++
			}
		}
	}
	if len(points) == 0 {
		return
	}
	shown := in.y + in.h - y - 1
	chosen := min(m.points.choice, len(points)-1)
	first := max(0, min(chosen-shown/2, len(points)-shown))
	k := pointColumnsFor(in.w - 1)
	k.heads(c, in.x+1, y)
	for i := range min(shown, len(points)-first) {
		p := points[first+i]
		k.row(c, in.x+1, y+1+i, p, m.now())
		if first+i == chosen {
			c.put(in.x, y+1+i, 1, c.glyphs.marker, of(moving, bold))
			c.mark(rect{in.x, y + 1 + i, in.w, 1})
		}
	}
}

// aboutPoints says why there is no list, or that what there is may be old; and else what
// is to be known of the points together.
func (m model) aboutPoints(vm progress.VM, points []point) []string {
	switch {
	case m.points.err != nil:
		return []string{m.points.err.Error(), goneHint(m.points.err)}
	case !m.points.known:
		return []string{"asking the appliance " + m.theme.glyphs.cut}
	case len(points) == 0:
		return []string{"No restore point of " + vmName(m.status, vm) + " is here yet."}
	}
	var about []string
	if vm.Damage != "" {
		about = append(about, "Damaged: "+vm.Damage)
	}
	if vm.Held != "" {
		about = append(about, "Held: "+vm.Held+". At the target, wanrep points prune --dry-run shows what waits, and --force lets it go.")
	}
	if slices.ContainsFunc(points, func(p point) bool { return p.State == pointCommitted }) {
		about = append(about, m.testedFailover(vm, points))
	}
	return about
}

// testedFailover says when a failover to one of the points was last tested.
func (m model) testedFailover(vm progress.VM, points []point) string {
	last := point{Tested: vm.Tested}
	for _, p := range points {
		if !p.Tested.IsZero() && !p.Tested.Before(last.Tested) {
			last = p
		}
	}
	switch {
	case last.Tested.IsZero():
		return "No failover was tested yet. At the target, wanrep points tested notes one."
	case last.Point == "":
		return "Failover tested " + Ago(last.Tested, m.now()) + ", to a point that is gone."
	}
	return "Failover tested " + Ago(last.Tested, m.now()) + ", to point " + last.Point + "."
}

// pointColumns are the widths of the list's columns; 0 leaves one out.
type pointColumns struct{ age, taken, point, state, base, disks, stored int }

func pointColumnsFor(w int) pointColumns {
	k := pointColumns{age: 7, taken: 16, point: 16, state: 11}
	if w >= 76 {
		k.taken, k.stored = 19, 9
	}
	if w >= 84 {
		k.disks = 5
	}
	if w >= 104 {
		k.taken, k.base = 23, 16
	}
	return k
}

func (k pointColumns) heads(c *canvas, x, y int) {
	k.draw(c, x, y, [7]string{"AGE", "TAKEN", "POINT", "STATE", "BUILDS ON", "DISKS", "STORED"}, [7]ink{
		of(faint), of(faint), of(faint), of(faint), of(faint), of(faint), of(faint),
	})
}

func (k pointColumns) row(c *canvas, x, y int, p point, now time.Time) {
	stored, durable, size := int64(0), int64(0), int64(0)
	for _, d := range p.Disks {
		stored += d.Stored
		durable += d.Durable
		size += d.VirtualSize
	}
	sign, tone, state := c.glyphs.idle, faint, p.State
	switch {
	case p.State == pointDamaged:
		sign, tone = c.glyphs.failed, bad
	case len(p.Damage) > 0:
		sign, tone, state = c.glyphs.failed, bad, "damage"
	case p.OnDamage:
		sign, tone, state = c.glyphs.alarm, warn, "on damage"
	case p.State == pointCommitted && !p.Tested.IsZero():
		sign, tone, state = c.glyphs.ok, good, "tested"
	case p.State == pointCommitted:
		sign, tone = c.glyphs.ok, good
	case p.State == pointPart:
		sign, tone, state = c.glyphs.in, moving, "part "+busyText(share(durable, size))
	}
	taken := "unknown"
	if !p.Time.IsZero() {
		const whole = "2006-01-02 15:04:05 UTC"
		taken = p.Time.UTC().Format(whole[:min(k.taken, len(whole))])
	}
	base := p.Base
	if base == "" {
		base = "stands alone"
	}
	k.draw(c, x, y, [7]string{age(p.Time, now), taken, p.Point, sign + " " + state, base, fmt.Sprint(len(p.Disks)), Bytes(stored)}, [7]ink{
		of(plain, bold), of(plain), of(plain), of(tone), of(faint), of(plain), of(plain),
	})
}

// draw puts the cells of a line into the columns that there are.
func (k pointColumns) draw(c *canvas, x, y int, cells [7]string, inks [7]ink) {
	widths := [7]int{k.age, k.taken, k.point, k.state, k.base, k.disks, k.stored}
	rightward := [7]bool{0: true, 5: true, 6: true}
	for i, w := range widths {
		if w == 0 {
			continue
		}
		if rightward[i] {
			c.right(x, y, w, cells[i], inks[i])
		} else {
			c.put(x, y, w, cells[i], inks[i])
		}
		x += w + gap
	}
}
