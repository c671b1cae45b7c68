package tui

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"wanrep/replicate/progress"
)

// An order is what the rows are sorted by.
type order int

const (
	byWorst order = iota // what needs a person first
	byAge                // oldest newest point first, measured by its RPO
	byName
	byRate // fastest first
	orders
)

func (o order) String() string {
	return [...]string{"worst first", "oldest point first", "by name", "fastest first"}[o]
}

// A row is one line of the tree: a VM, or a disk of one.
type row struct {
	vm   progress.VM
	disk *progress.Disk // nil for the VM itself
	last bool           // the VM's last disk
}

// A rowKey names a row for as long as the VM exists, wherever it is sorted to.
type rowKey struct{ source, vm, disk string }

func (r row) key() rowKey {
	k := vmKey(r.vm)
	if r.disk != nil {
		k.disk = r.disk.Disk
	}
	return k
}

func vmKey(v progress.VM) rowKey { return rowKey{source: v.Source, vm: v.VM} }

// rows returns the lines of the tree in the order they are shown.
func (m model) rows() []row {
	var out []row
	for _, vm := range sorted(m.status.VMs, m.order, m.reverse, m.now()) {
		disks := slices.Clone(vm.Disks)
		slices.SortStableFunc(disks, func(a, b progress.Disk) int {
			return cmp.Compare(min(severity(a.State), calm), min(severity(b.State), calm))
		})
		if !matches(m.filter, vm.Source, vm.VM, vm.State) {
			disks = slices.DeleteFunc(disks, func(d progress.Disk) bool { return !matches(m.filter, d.Disk, d.State) })
			if len(disks) == 0 {
				continue
			}
		}
		out = append(out, row{vm: vm})
		if m.folded[vmKey(vm)] {
			continue
		}
		for i := range disks {
			out = append(out, row{vm: vm, disk: &disks[i], last: i == len(disks)-1})
		}
	}
	return out
}

// sorted returns the VMs in an order.
func sorted(vms []progress.VM, by order, reverse bool, now time.Time) []progress.VM {
	vms = slices.Clone(vms)
	slices.SortStableFunc(vms, func(a, b progress.VM) int {
		n := compareVMs(a, b, by, now)
		if reverse {
			n = -n
		}
		return n
	})
	return vms
}

// matches reports whether one of the words contains the filter, or with a
// leading "!" whether none does.
func matches(filter string, words ...string) bool {
	text, not := strings.CutPrefix(strings.ToLower(filter), "!")
	if text == "" {
		return true
	}
	found := slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(w), text) })
	return found != not
}

// calm is the severity from which on nothing needs a person.
const calm = 3

// severity orders states: the lower, the sooner a person should look.
func severity(state string) int {
	switch state {
	case progress.Failed:
		return 0
	case progress.Parked:
		return 1
	case progress.Stalled:
		return 2
	case progress.Verifying, progress.Sending, progress.Receiving:
		return calm
	case progress.Waiting, progress.Complete:
		return calm + 1
	}
	return calm + 2
}

func compareVMs(a, b progress.VM, by order, now time.Time) int {
	name := cmp.Or(strings.Compare(a.VM, b.VM), strings.Compare(a.Source, b.Source))
	switch by {
	case byWorst:
		return cmp.Or(cmp.Compare(urgency(a, now), urgency(b, now)), byLag(a, b, now), name)
	case byAge:
		return cmp.Or(byLag(a, b, now), name)
	case byRate:
		return cmp.Or(cmp.Compare(total(b).wire, total(a).wire), name)
	}
	return name
}

// byLag compares what is over its RPO most with what is less so, and ages where
// nobody said how old a point may be. No point at all comes before everything.
func byLag(a, b progress.VM, now time.Time) int {
	if n := cmp.Compare(overdue(b, now), overdue(a, now)); n != 0 && (late(a, now) || late(b, now) || a.RPO > 0 && b.RPO > 0) {
		return n
	}
	return a.Newest.Compare(b.Newest)
}

// urgency orders VMs: first those whose points can't be relied on, then those that
// have no point as new as it should be, then by the state of what is under way. Points
// that are held wait for a person, but nothing is lost by it.
func urgency(vm progress.VM, now time.Time) int {
	switch {
	case vm.Damage != "":
		return -2
	case late(vm, now):
		return -1
	case vm.Held != "":
		return min(severity(vm.State), calm-1)
	}
	return severity(vm.State)
}

// moves reports whether bytes of something in this state are on their way.
func moves(state string) bool {
	return state == progress.Sending || state == progress.Receiving || state == progress.Verifying
}

// A sum is what the disks of a VM make together.
type sum struct {
	done, sent, size int64
	read, wire       float64
	eta              float64 // of the slowest disk; negative if any is unknown or none moves
}

func total(vm progress.VM) sum {
	t := sum{eta: -1}
	unknown := false
	for _, d := range vm.Disks {
		t.done += durable(d)
		t.sent += sent(d)
		t.size += d.VirtualSize
		t.read += positive(d.ReadRate)
		t.wire += positive(d.WireRate)
		if ended(d.State) {
			continue
		}
		unknown = unknown || !(d.ETA >= 0)
		t.eta = max(t.eta, d.ETA)
	}
	if unknown {
		t.eta = -1
	}
	return t
}

func ended(state string) bool { return state == progress.Complete || state == progress.Committed }

// durable is how far a disk is safe, never beyond its size.
func durable(d progress.Disk) int64 {
	if ended(d.State) {
		return d.VirtualSize
	}
	return max(0, min(d.Durable, d.VirtualSize))
}

// sent is how far a disk is sent or received, never below what is durable.
func sent(d progress.Disk) int64 {
	return max(durable(d), min(d.Offset, d.VirtualSize))
}

// share is part of whole, 0 to 1, and 0 of nothing.
func share(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return clampShare(float64(part) / float64(whole))
}

// vmName is how a VM is called: with its source at a target that keeps VMs of
// several.
func vmName(st progress.Status, vm progress.VM) string {
	several := func(other progress.VM) bool { return other.Source != vm.Source }
	if st.Role == "target" && vm.Source != "" && slices.ContainsFunc(st.VMs, several) {
		return vm.Source + "/" + vm.VM
	}
	return vm.VM
}

// job returns the job that a VM belongs to.
func job(st progress.Status, vm progress.VM) (progress.Job, bool) {
	i := slices.IndexFunc(st.Jobs, func(j progress.Job) bool { return j.Job == vm.Job })
	if i < 0 || vm.Job == "" {
		return progress.Job{}, false
	}
	return st.Jobs[i], true
}

// note says why a VM is in its state, and what comes next.
func note(st progress.Status, vm progress.VM, now time.Time) string {
	next := ""
	if j, ok := job(st, vm); ok {
		wait := Duration(j.Next.Sub(now))
		switch missed := severity(vm.State) < calm; {
		case st.Paused || j.Paused:
			next = pausedNote(st, j)
		case j.Next.IsZero():
		case j.State == jobRetries && missed:
			next = "try " + strconv.Itoa(j.Try+1) + " in " + wait
		case j.State == jobIdle:
			next = "next run in " + wait
		}
	}
	return joined(damaged(vm), next, vm.Because, pointsHeld(vm))
}

// isDamaged is shown as the state of a VM of which nothing is under way, and whose
// points can't be relied on.
const isDamaged = "damaged"

// isPaused is shown as the state of what would move if the operator let it.
const isPaused = "paused"

// shownState is the state that a VM's line tells.
func shownState(st progress.Status, vm progress.VM) string {
	if vm.Damage != "" && severity(vm.State) > calm {
		return isDamaged
	}
	return unlessHeld(st, vm, vm.State)
}

// unlessHeld is the state of a VM or of a disk of it, or that the operator holds it.
func unlessHeld(st progress.Status, vm progress.VM, state string) string {
	if j, _ := job(st, vm); moves(state) && (st.Paused || j.Paused) {
		return isPaused
	}
	return state
}

// damaged says what is wrong with a VM's points.
func damaged(vm progress.VM) string {
	if vm.Damage == "" {
		return ""
	}
	return isDamaged + ": " + vm.Damage
}

// pointsHeld says why points stay that the keep rules let go.
func pointsHeld(vm progress.VM) string {
	if vm.Held == "" {
		return ""
	}
	return "points held: " + vm.Held
}

// joined puts texts that are there one behind the other.
func joined(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(t string) bool { return t == "" }), "; ")
}

// States of a job in which something comes next.
const (
	jobIdle    = "idle"
	jobRetries = "waiting to retry"
)

// heldWhy is the operator's reason for holding a VM whose run is under way.
func heldWhy(st progress.Status, vm progress.VM) string {
	j, _ := job(st, vm)
	switch {
	case !moves(vm.State):
		return ""
	case st.Paused:
		return st.PausedBecause
	}
	return j.PausedBecause
}

// pausedNote says that nothing comes next, and the operator's reason.
func pausedNote(st progress.Status, j progress.Job) string {
	p := j.Pause
	if st.Paused {
		p = st.Pause
	}
	if p.PausedBecause == "" {
		return "paused"
	}
	return "paused: " + p.PausedBecause
}

// held says that the operator holds jobs, since when and why, if so.
func held(p progress.Pause, now time.Time) string {
	if !p.Paused {
		return ""
	}
	text := "paused"
	if !p.PausedSince.IsZero() {
		text += " for " + Duration(now.Sub(p.PausedSince))
	}
	if p.PausedBecause != "" {
		text += ": " + p.PausedBecause
	}
	return text
}

// worstLinks returns the links, those that need a person first.
func worstLinks(links []progress.Link) []progress.Link {
	states := []string{progress.LinkDown, progress.LinkRedial, progress.LinkDialing, progress.LinkUp, progress.LinkIdle}
	rank := func(l progress.Link) int { return slices.Index(states, l.State) }
	out := slices.Clone(links)
	slices.SortStableFunc(out, func(a, b progress.Link) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}
