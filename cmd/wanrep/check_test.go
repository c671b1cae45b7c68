package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestJudge(t *testing.T) {
	vm := func(age, rpo time.Duration) progress.VM {
		return progress.VM{VM: "sql01", Job: "nightly", State: progress.Committed, Newest: noon.Add(-age), RPO: rpo.Seconds()}
	}
	job := func(outcome string) progress.Job {
		return progress.Job{Job: "nightly", Outcome: outcome, Because: "disk os: gone"}
	}
	tests := []struct {
		name   string
		status progress.Status
		limits ageLimits
		want   health
		text   string
	}{
		{name: "in time", want: healthOK, text: "WANREP OK - newest points at most 1h00m old, 1 VM in time | 'age sql01'=3600s;7200;14400;0 late=0;;;0;1",
			status: progress.Status{VMs: []progress.VM{vm(time.Hour, 2*time.Hour)}}},
		{name: "two runs were missed", want: healthWarning, text: "newest point of sql01 is 2h00m old, its RPO is 2h00m",
			status: progress.Status{VMs: []progress.VM{vm(2*time.Hour+time.Second, 2*time.Hour)}}},
		{name: "nothing for days", want: healthCritical, text: "newest point of sql01 is ",
			status: progress.Status{VMs: []progress.VM{vm(97*time.Hour, 48*time.Hour)}}},
		{name: "by hand, any age", want: healthOK, text: "'age sql01'=360000s;;;0",
			status: progress.Status{VMs: []progress.VM{vm(100*time.Hour, 0)}}},
		{name: "limits of the command", want: healthCritical, limits: ageLimits{critical: time.Minute}, text: "'age sql01'=3600s;;60;0",
			status: progress.Status{VMs: []progress.VM{vm(time.Hour, 0)}}},
		{name: "damaged", want: healthCritical, text: "points of sql01 damaged: a digest differs",
			status: progress.Status{VMs: []progress.VM{{VM: "sql01", Newest: noon, Damage: "a digest differs"}}}},
		{name: "held", want: healthWarning, text: "points of sql01 held: the clock went back",
			status: progress.Status{VMs: []progress.VM{{VM: "sql01", Newest: noon, Held: "the clock went back"}}}},
		{name: "no point yet", want: healthWarning, text: "sql01 has no point yet",
			status: progress.Status{VMs: []progress.VM{{VM: "sql01"}}}},
		{name: "no point for days", want: healthCritical, text: "sql01 has no point yet",
			status: progress.Status{VMs: []progress.VM{{VM: "sql01", RPO: 3600, FirstSeen: noon.Add(-3 * time.Hour)}}}},
		{name: "paused", want: healthWarning, text: "paused since 2h00m ago; job nightly is paused since 1h00m ago",
			status: progress.Status{Pause: progress.Pause{Paused: true, PausedSince: noon.Add(-2 * time.Hour)},
				Jobs: []progress.Job{{Job: "nightly", Pause: progress.Pause{Paused: true, PausedSince: noon.Add(-time.Hour)}}}}},
		{name: "a full store", want: healthCritical, text: "only 512.0 MiB free in /srv/a/b | free=536870912B;10737418240:;1073741824:;0;4398046511104",
			status: progress.Status{Store: progress.Store{Path: "/srv/a|b", Free: 512 << 20, Total: 4 << 40}}},
		{name: "nothing yet", want: healthOK, text: "WANREP OK - no VM yet"},
		{name: "the worst comes first", want: healthCritical, text: "job nightly failed: disk os: gone; line to paris lost, attempt 3 of 120 | ",
			status: progress.Status{VMs: []progress.VM{vm(0, 0)}, Jobs: []progress.Job{job(progress.Failed)},
				Links: []progress.Link{{Peer: "paris", State: progress.LinkRedial, Attempt: 3, Attempts: 120}}}},
		{name: "parked", want: healthWarning, text: "job nightly is parked",
			status: progress.Status{Jobs: []progress.Job{job(progress.Parked)}}},
		{name: "names that would break the line", want: healthWarning, text: "lyon/a/b'c has no point yet",
			status: progress.Status{VMs: []progress.VM{{Source: "lyon", VM: "a|b'c"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.status.Time = noon
			v := judge(tt.status, tt.limits)
			if text := v.line(); v.health != tt.want || !strings.Contains(text, tt.text) {
				t.Errorf("got %v, %q; want %v, with %q", v.health, text, tt.want, tt.text)
			}
		})
	}
	if v := judgeSilence(errors.New("odd")); v.health != healthUnknown {
		t.Errorf("an odd answer is %v, want %v", v.health, healthUnknown)
	}
}

func TestExpect(t *testing.T) {
	s := progress.Status{
		Time: noon,
		Links: []progress.Link{
			{Peer: "paris", State: progress.LinkRedial, Since: noon.Add(-time.Minute), Attempt: 3, Attempts: 120, NextDial: noon.Add(12 * time.Second)},
			{Peer: "rome", State: progress.LinkUp},
			{Peer: "oslo", State: progress.LinkDown},
		},
		VMs: []progress.VM{
			{VM: "sql01", State: progress.Stalled, Point: "07", Disks: []progress.Disk{
				{Disk: "os", VirtualSize: 64 << 30, Durable: 20 << 30},
				{Disk: "data", VirtualSize: 1 << 40},
				{Disk: "log", VirtualSize: 1 << 30, Durable: 1 << 30},
			}},
			{VM: "web", State: progress.Parked, Point: "01", Disks: []progress.Disk{{Disk: "os", VirtualSize: 64 << 30, Durable: 1 << 30}}},
			{VM: "calm", State: progress.Committed, Disks: []progress.Disk{{Disk: "os", VirtualSize: 64 << 30, Durable: 64 << 30}}},
		},
	}
	want := []string{
		"The line to paris was lost 1m00s ago: attempt 3 of 120, the next in 12s.",
		"The line to oslo is given up; the next run tries again.",
		"Disk os of sql01 continues at 20.0 GiB of 64.0 GiB in point 07 when the line is back.",
		"Disk data of sql01 has not begun; all of its 1.0 TiB go into point 07 when the line is back.",
		"Disk log of sql01 is complete in point 07.",
		"Disk os of web continues at 1.0 GiB of 64.0 GiB in point 01 with the next run.",
	}
	if got := expect(s); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
