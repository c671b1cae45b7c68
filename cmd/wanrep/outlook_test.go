package main

import (
	"strings"
	"testing"

	"wanrep/replicate/progress"
)

func TestOutlook(t *testing.T) {
	s := progress.Status{
		Links: []progress.Link{
			{Peer: "paris", State: progress.LinkUp, Uplinks: []progress.Uplink{
				{Name: "fibre", State: progress.UplinkActive}, {Name: "lte", State: progress.UplinkStandby}}},
			{Peer: "rome", State: progress.LinkUp, Uplinks: []progress.Uplink{
				{Name: "fibre", State: progress.UplinkActive}, {Name: "lte", State: progress.UplinkDown}}},
		},
		VMs: []progress.VM{
			{VM: "sql01", State: progress.Sending, Point: "07", Disks: []progress.Disk{
				{Disk: "os", State: progress.Complete, VirtualSize: 64 << 30, Durable: 64 << 30},
				{Disk: "data", State: progress.Sending, VirtualSize: 64 << 30, Durable: 20 << 30},
				{Disk: "logs", State: progress.Sending, VirtualSize: 1 << 40},
			}},
			{VM: "calm", State: progress.Committed, Disks: []progress.Disk{{Disk: "os", VirtualSize: 1 << 30, Durable: 1 << 30}}},
		},
	}
	want := []string{
		"If fibre is lost now, the link to paris moves to lte, and nothing is sent twice.",
		"If the line is lost now, sql01 goes on in point 07: disk os is complete, disk data continues at 20.0 GiB of 64.0 GiB, disk logs from 0.",
	}
	if got := outlook(s); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
