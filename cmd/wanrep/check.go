package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
	"wanrep/tui"
)

// A health is a state as monitoring systems know it; the number is the exit code
// of a check (Monitoring Plugins Development Guidelines, "Plugin Return Codes").
type health int

const (
	healthOK health = iota
	healthWarning
	healthCritical
	healthUnknown
)

func (h health) String() string {
	return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[h]
}

// ageLimits are how old the newest point of a VM may be. Zero: as the VM's RPO
// says.
type ageLimits struct {
	warning, critical time.Duration
}

// criticalRPOs is how many RPOs old a newest point is when it is critical; a
// warning it is after one.
const criticalRPOs = 2

// runCheck prints the line of "wanrep status --check". cfg may be nil; unusable is
// why there is no client.
func runCheck(cmd *cobra.Command, client *control.Client, cfg *configs.Config, unusable error, limits ageLimits) error {
	var v verdict
	if unusable != nil {
		text, _, _ := strings.Cut(unusable.Error(), "\n")
		v.note(healthUnknown, "%s", text)
	} else if status, err := client.Status(cmd.Context()); err != nil {
		v = judgeSilence(err)
		if cfg != nil && cfg.Role == configs.RoleTarget && v.health == healthCritical {
			v.judgeVMs(offlineStatus(cfg, time.Now().UTC()), limits)
		}
	} else {
		v = judge(status, limits)
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), diskio.Printable(v.line())); err != nil {
		return err
	}
	if v.health == healthOK {
		return nil
	}
	return quietly(int(v.health))
}

// A verdict is how an appliance is, with why and with the numbers behind it.
type verdict struct {
	health   health
	findings []string // the worst first
	numbers  []string // in the form of performance data
}

// note adds what was found, in front if nothing worse was found before.
func (v *verdict) note(h health, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if h > v.health || len(v.findings) == 0 {
		v.health = max(h, v.health)
		v.findings = append([]string{text}, v.findings...)
		return
	}
	v.findings = append(v.findings, text)
}

// line is the verdict as monitoring systems read it. The bar separates text and
// numbers, so none may be in the text.
func (v *verdict) line() string {
	text := fmt.Sprintf("WANREP %v - %s", v.health, strings.ReplaceAll(strings.Join(v.findings, "; "), "|", "/"))
	if len(v.numbers) > 0 {
		text += " | " + strings.Join(v.numbers, " ")
	}
	return text
}

// judgeSilence judges an appliance that gives no status: nothing is replicated
// where none runs, and nothing is known where this account may not ask.
func judgeSilence(err error) (v verdict) {
	u, unreachable := errors.AsType[*control.UnreachableError](err)
	switch {
	case unreachable && u.Forbidden():
		v.note(healthUnknown, "%v; %s", err, u.Hint())
	case unreachable:
		v.note(healthCritical, "%v", err)
	default:
		v.note(healthUnknown, "%v", err)
	}
	return v
}

// judge finds the worst of an appliance's VMs, links, jobs and store.
func judge(s progress.Status, limits ageLimits) (v verdict) {
	v.judgeVMs(s, limits)
	for _, l := range s.Links {
		switch l.State {
		case progress.LinkRedial:
			v.note(healthWarning, "line to %s lost, attempt %d of %d", l.Peer, l.Attempt, l.Attempts)
		case progress.LinkDown:
			v.note(healthCritical, "line to %s given up: %s", l.Peer, l.Because)
		}
	}
	if s.Paused {
		v.note(healthWarning, "paused since %s", tui.Ago(s.PausedSince, s.Time))
	}
	for _, j := range s.Jobs {
		switch j.Outcome {
		case progress.Failed:
			v.note(healthCritical, "job %s failed: %s", j.Job, j.Because)
		case progress.Parked:
			v.note(healthWarning, "job %s is parked: %s", j.Job, j.Because)
		}
		if j.Paused {
			v.note(healthWarning, "job %s is paused since %s", j.Job, tui.Ago(j.PausedSince, s.Time))
		}
	}
	v.judgeStore(s.Store)
	if len(v.findings) == 0 {
		v.note(healthOK, "%s", allInTime(s))
	}
	return v
}

// allInTime says so, with the age that comes nearest to its limit.
func allInTime(s progress.Status) string {
	if len(s.VMs) == 0 {
		return "no VM yet"
	}
	oldest := slices.MinFunc(s.VMs, func(a, b progress.VM) int { return a.Newest.Compare(b.Newest) })
	text := "1 VM"
	if n := len(s.VMs); n > 1 {
		text = fmt.Sprintf("%d VMs", n)
	}
	return fmt.Sprintf("newest points at most %s old, %s in time", tui.Duration(s.Time.Sub(oldest.Newest)), text)
}

// judgeVMs judges the age of each VM's newest point, and its points.
func (v *verdict) judgeVMs(s progress.Status, limits ageLimits) {
	late := 0
	for _, vm := range s.VMs {
		name := vm.VM
		if vm.Source != "" {
			name = vm.Source + "/" + vm.VM
		}
		if vm.Damage != "" {
			v.note(healthCritical, "points of %s damaged: %s", name, vm.Damage)
		}
		if vm.Held != "" {
			v.note(healthWarning, "points of %s held: %s", name, vm.Held)
		}
		at := limits.of(vm)
		if vm.Newest.IsZero() {
			h := healthWarning
			if at.critical > 0 && !vm.FirstSeen.IsZero() && s.Time.Sub(vm.FirstSeen) > at.critical {
				h = healthCritical
			}
			v.note(h, "%s has no point yet", name)
			late++
			continue
		}
		age := max(0, s.Time.Sub(vm.Newest))
		old := fmt.Sprintf("newest point of %s is %s old", name, tui.Duration(age))
		if vm.RPO > 0 {
			old += ", its RPO is " + tui.Duration(rpoOfVM(vm))
		}
		switch {
		case at.critical > 0 && age > at.critical:
			v.note(healthCritical, "%s", old)
			late++
		case at.warning > 0 && age > at.warning:
			v.note(healthWarning, "%s", old)
			late++
		}
		v.numbers = append(v.numbers, fmt.Sprintf("'age %s'=%.0fs;%s;%s;0", perfLabel(name), age.Seconds(), perfSeconds(at.warning), perfSeconds(at.critical)))
	}
	if len(s.VMs) > 0 {
		v.numbers = append(v.numbers, fmt.Sprintf("late=%d;;;0;%d", late, len(s.VMs)))
	}
}

// judgeStore judges the room that a target's store has.
func (v *verdict) judgeStore(s progress.Store) {
	if s.Path == "" || s.Total <= 0 {
		return
	}
	switch {
	case s.Free < noSpace:
		v.note(healthCritical, "only %s free in %s", tui.Bytes(s.Free), s.Path)
	case s.Free < littleSpace:
		v.note(healthWarning, "only %s free in %s", tui.Bytes(s.Free), s.Path)
	}
	v.numbers = append(v.numbers, fmt.Sprintf("free=%dB;%d:;%d:;0;%d", s.Free, int64(littleSpace), int64(noSpace), s.Total))
}

// of returns the limits of one VM.
func (l ageLimits) of(v progress.VM) ageLimits {
	if l.warning == 0 && l.critical == 0 {
		rpo := rpoOfVM(v)
		return ageLimits{warning: rpo, critical: criticalRPOs * rpo}
	}
	return l
}

func rpoOfVM(v progress.VM) time.Duration { return time.Duration(v.RPO * float64(time.Second)) }

// perfLabel makes a name fit for a label in quotes.
func perfLabel(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '\'' || r == '=' || r == '|' {
			return '_'
		}
		return r
	}, name)
}

func perfSeconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", d.Seconds())
}
