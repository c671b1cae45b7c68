package main

import (
	"fmt"
	"strings"

	"wanrep/replicate/progress"
	"wanrep/tui"
)

// outlook tells, while all is well, what would happen if an uplink or the line were
// lost now.
func outlook(s progress.Status) []string {
	var texts []string
	for _, l := range s.Links {
		if active, standby := uplinkIn(l, progress.UplinkActive), uplinkIn(l, progress.UplinkStandby); active != "" && standby != "" {
			texts = append(texts, fmt.Sprintf("If %s is lost now, the link to %s moves to %s, and nothing is sent twice.", active, l.Peer, standby))
		}
	}
	for _, v := range s.VMs {
		if v.State == progress.Sending || v.State == progress.Receiving {
			texts = append(texts, fmt.Sprintf("If the line is lost now, %s goes on in point %s: %s.", v.VM, v.Point, disksGoOn(v.Disks)))
		}
	}
	return texts
}

func uplinkIn(l progress.Link, state string) string {
	for _, u := range l.Uplinks {
		if u.State == state {
			return u.Name
		}
	}
	return ""
}

// disksGoOn tells where each disk would continue.
func disksGoOn(disks []progress.Disk) string {
	var parts []string
	for _, d := range disks {
		switch {
		case d.State == progress.Complete:
			parts = append(parts, fmt.Sprintf("disk %s is complete", d.Disk))
		case d.Durable > 0:
			parts = append(parts, fmt.Sprintf("disk %s continues at %s of %s", d.Disk, tui.Bytes(d.Durable), tui.Bytes(d.VirtualSize)))
		default:
			parts = append(parts, fmt.Sprintf("disk %s from 0", d.Disk))
		}
	}
	return strings.Join(parts, ", ")
}
