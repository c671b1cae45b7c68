package main

import "wanrep/replicate/progress"

// A demoView is the status of the demo's source, which has one peer and one VM.
type demoView struct{ progress.Status }

func (v demoView) link() progress.Link {
	if len(v.Links) == 0 {
		return progress.Link{State: progress.LinkIdle}
	}
	return v.Links[0]
}

func (v demoView) disks() []progress.Disk {
	if len(v.VMs) == 0 {
		return nil
	}
	return v.VMs[0].Disks
}

func (v demoView) point() string {
	if len(v.VMs) == 0 {
		return ""
	}
	return v.VMs[0].Point
}

// stalled reports whether the run waits for a link. The board's link is no help:
// it is up as soon as it is dialed with a session ticket.
func (v demoView) stalled() bool {
	return len(v.VMs) > 0 && v.VMs[0].State == progress.Stalled
}

// sentShare is how much of what is stored was sent, 0 to 1.
func (v demoView) sentShare() float64 {
	var stored, left int64
	for _, d := range v.disks() {
		if d.Stored == 0 || d.Left < 0 {
			return 0 // the disk has not begun
		}
		stored += d.Stored
		left += d.Left
	}
	return demoShare(stored-left, stored)
}

// durableShare is how far the durable offsets are through the disks, 0 to 1.
func (v demoView) durableShare() float64 {
	var size int64
	for _, d := range v.disks() {
		size += d.VirtualSize
	}
	return demoShare(v.durable(), size)
}

func (v demoView) durable() (sum int64) {
	for _, d := range v.disks() {
		sum += d.Durable
	}
	return sum
}

func (v demoView) resent() (sum int64) {
	for _, d := range v.disks() {
		sum += d.Resent
	}
	return sum
}

func demoShare(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
