package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

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

// runCheck prints the line of "wanrep status --check". unusable is why there is
// no client.
func runCheck(cmd *cobra.Command, client *control.Client, unusable error, limits ageLimits) error {
	h, text := healthUnknown, ""
	if unusable != nil {
		text, _, _ = strings.Cut(unusable.Error(), "\n")
	} else if status, err := client.Status(cmd.Context()); err != nil {
		h, text = judgeSilence(err)
	} else {
		h, text = judge(status, limits)
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "WANREP %v - %s\n", h, diskio.Printable(text)); err != nil {
		return err
	}
	if h == healthOK {
		return nil
	}
	return quietly(int(h))
}

// judgeSilence judges an appliance that gives no status: nothing is replicated
// where none runs, and nothing is known where this account may not ask.
func judgeSilence(err error) (health, string) {
	if u, ok := errors.AsType[*control.UnreachableError](err); ok {
		if u.Forbidden() {
			return healthUnknown, err.Error() + "; " + u.Hint()
		}
		return healthCritical, err.Error()
	}
	return healthUnknown, err.Error()
}

// judge finds the worst of an appliance's links, jobs and VMs. The text begins
// with what is worst and ends with the numbers that a monitoring system graphs.
func judge(s progress.Status, limits ageLimits) (health, string) {
	worst := healthOK
	var findings []string
	note := func(h health, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if h > worst {
			worst = h
			findings = append([]string{text}, findings...)
			return
		}
		findings = append(findings, text)
	}
	for _, l := range s.Links {
		switch l.State {
		case progress.LinkRedial:
			note(healthWarning, "line to %s lost, attempt %d of %d", l.Peer, l.Attempt, l.Attempts)
		case progress.LinkDown:
			note(healthCritical, "line to %s given up: %s", l.Peer, l.Because)
		}
	}
	for _, j := range s.Jobs {
		switch j.Outcome {
		case progress.Failed:
			note(healthCritical, "job %s failed: %s", j.Job, j.Because)
		case progress.Parked:
			note(healthWarning, "job %s is parked: %s", j.Job, j.Because)
		}
	}
	perf := make([]string, 0, len(s.VMs))
	for _, v := range s.VMs {
		name := v.VM
		if v.Source != "" {
			name = v.Source + "/" + v.VM
		}
		if v.Newest.IsZero() {
			note(healthWarning, "%s has no point yet", name)
			continue
		}
		age := max(0, s.Time.Sub(v.Newest))
		at := limits.of(v)
		switch {
		case at.critical > 0 && age > at.critical:
			note(healthCritical, "newest point of %s is %s old", name, tui.Duration(age))
		case at.warning > 0 && age > at.warning:
			note(healthWarning, "newest point of %s is %s old", name, tui.Duration(age))
		}
		if v.Damage != "" {
			note(healthCritical, "the points of %s are damaged: %s", name, v.Damage)
		}
		perf = append(perf, fmt.Sprintf("'age %s'=%.0fs;%s;%s;0", perfLabel(name), age.Seconds(), perfSeconds(at.warning), perfSeconds(at.critical)))
	}
	if len(findings) == 0 {
		findings = append(findings, fmt.Sprintf("%d VMs, all with points in time", len(s.VMs)))
	}
	text := strings.Join(findings, "; ")
	// The bar separates text and numbers, so none may be in the text.
	text = strings.ReplaceAll(text, "|", "/")
	if len(perf) > 0 {
		text += " | " + strings.Join(perf, " ")
	}
	return worst, text
}

// of returns the limits of one VM.
func (l ageLimits) of(v progress.VM) ageLimits {
	if l.warning == 0 && l.critical == 0 {
		rpo := time.Duration(v.RPO * float64(time.Second))
		return ageLimits{warning: rpo, critical: criticalRPOs * rpo}
	}
	return l
}

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
