package tui

import (
	"math"
	"strconv"
	"time"

	"wanrep/replicate/progress"
)

// late reports whether a VM is less recoverable than its RPO demands: the newest
// point is older, or there is none. Unlike VM.Late it goes on while nobody answers.
func late(vm progress.VM, now time.Time) bool { return overdue(vm, now) > 1 }

// overdue is a VM's lag as a multiple of its RPO: infinite without a point, and 0
// if no RPO was set.
func overdue(vm progress.VM, now time.Time) float64 {
	switch {
	case !(vm.RPO > 0):
		return 0
	case vm.Newest.IsZero():
		return math.Inf(1)
	}
	return max(0, now.Sub(vm.Newest).Seconds()) / vm.RPO
}

// allowed prints the lag that is allowed in the one unit that says it whole:
// "15m", "4h", "7d". It is empty for none.
func allowed(rpo float64) string {
	if !(rpo > 0) {
		return ""
	}
	s := int64(math.Ceil(min(rpo, 1e10)))
	for _, unit := range []struct {
		seconds int64
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if s%unit.seconds == 0 {
			return strconv.FormatInt(s/unit.seconds, 10) + unit.name
		}
	}
	return Duration(toDuration(rpo))
}

// worstOff returns the VM that has waited longest for a point, measured by its RPO
// where there is one.
func worstOff(vms []progress.VM, now time.Time) progress.VM {
	return sorted(vms, byAge, false, now)[0]
}

// lagInk is the ink for the age of a VM's newest point.
func lagInk(vm progress.VM, now time.Time) ink {
	if vm.Newest.IsZero() || late(vm, now) {
		return of(bad, bold)
	}
	return of(plain, bold)
}

// lagText is the age of a VM's newest point, with a sign where it is over the RPO,
// since a colour alone would not tell everybody.
func (t *theme) lagText(vm progress.VM, now time.Time) string {
	if late(vm, now) {
		return t.glyphs.alarm + age(vm.Newest, now)
	}
	return age(vm.Newest, now)
}

// lagOfRPO is the age of a VM's newest point against its RPO: "26h07m of 4h".
func lagOfRPO(vm progress.VM, now time.Time) string {
	switch {
	case vm.Newest.IsZero() && vm.RPO > 0:
		return "no point yet, RPO " + allowed(vm.RPO)
	case vm.Newest.IsZero():
		return "no point yet"
	case vm.RPO > 0:
		return age(vm.Newest, now) + " of " + allowed(vm.RPO)
	}
	return age(vm.Newest, now)
}

// protection counts the VMs that are not as recoverable as they should be, and
// says in a few words how many these are; sign and tone go with it.
func (t *theme) protection(vms []progress.VM, now time.Time) []span {
	over, damaged, asked := 0, 0, 0
	for _, vm := range vms {
		if late(vm, now) {
			over++
		}
		if vm.RPO > 0 {
			asked++
		}
		if vm.Damage != "" {
			damaged++
		}
	}
	var out []span
	if damaged > 0 {
		out = append(out, span{t.glyphs.failed + " " + strconv.Itoa(damaged) + " damaged   ", of(bad, bold)})
	}
	switch {
	case over > 0:
		out = append(out, span{t.glyphs.alarm + " " + strconv.Itoa(over) + " of " + strconv.Itoa(len(vms)) + " over RPO", of(bad, bold)})
	case asked == len(vms):
		out = append(out, span{t.glyphs.ok + " all within RPO", of(good)})
	case asked > 0:
		out = append(out, span{t.glyphs.ok + " " + strconv.Itoa(asked) + " within RPO, " + strconv.Itoa(len(vms)-asked) + " without one", of(plain)})
	}
	return out
}
