package replicate

import (
	"slices"
	"time"

	"wanrep/diskio"
	"wanrep/replicate/progress"
)

// ReportSchema names the form of Report in JSON.
const ReportSchema = "wanrep.run/1"

// A Report is what a run did. Sizes are bytes, durations seconds.
type Report struct {
	Schema   string              `json:"schema"`
	Job      string              `json:"job"`
	Outcome  string              `json:"outcome"` // "committed", "parked" or "failed"
	Error    *string             `json:"error"`
	Duration float64             `json:"duration"`
	Link     progress.LinkTotals `json:"link"`
	VMs      []VMReport          `json:"vms"`
	// Events are what happened meanwhile to the line and to the run's VMs, as far
	// as the board remembers: each migration, reattach and redial.
	Events []progress.Event `json:"events"`
}

// A VMReport is what a run did with one VM.
type VMReport struct {
	VM      string       `json:"vm"`
	Point   string       `json:"point"`
	Base    *string      `json:"base"`
	Outcome string       `json:"outcome"`
	Error   *string      `json:"error"`
	Disks   []DiskReport `json:"disks"`
	// Warnings are what should be looked at, whatever the outcome.
	Warnings []string `json:"warnings,omitempty"`
	// Notes say in what the VM differs from the point before.
	Notes []string `json:"notes,omitempty"`
}

// A DiskReport is what a run did with one disk.
type DiskReport struct {
	Disk        string `json:"disk"`
	VirtualSize int64  `json:"virtual_size"`
	progress.DiskTotals
	// ChangeList tells that only what the disk's files name as changed was read.
	ChangeList bool `json:"change_list,omitempty"`
	// Note says in what the disk differs from that of the point before.
	Note string `json:"note,omitempty"`
	// Root is empty unless the VM's disks were all sent.
	Root string `json:"root"`
}

// report says how the run went. A run is committed if all its VMs are; it is
// parked if none failed, but some wait for the next run.
func (r *run) report() (Report, error) {
	rep := Report{
		Schema: ReportSchema, Job: r.job.Name, Outcome: outcomeCommitted,
		Duration: time.Since(r.began).Seconds(), Link: r.attacher.Totals(), VMs: []VMReport{},
		Events: r.events(),
	}
	var first error
	for _, v := range r.vms {
		rep.VMs = append(rep.VMs, v.report())
		if worse(v.outcome, rep.Outcome) {
			rep.Outcome, first = v.outcome, v.err
		}
	}
	rep.Error = text(first)
	return rep, first
}

// events returns what the board has of this run. What is about no peer is about an
// uplink or the appliance, and so about this run too.
func (r *run) events() []progress.Event {
	events := []progress.Event{}
	for _, e := range r.source.cfg.Board.Status().Events {
		ours := (e.Peer == "" || e.Peer == r.job.Peer) && (e.VM == "" || r.vm(e.VM) != nil)
		if ours && !e.Time.Before(r.began) {
			events = append(events, e)
		}
	}
	return events
}

// worse orders outcomes.
func worse(a, b string) bool {
	order := []string{outcomeCommitted, outcomeParked, outcomeFailed}
	return slices.Index(order, a) > slices.Index(order, b)
}

func (v *vmRun) report() VMReport {
	rep := VMReport{VM: v.name, Point: v.point, Outcome: v.outcome, Error: text(v.err), Disks: []DiskReport{}, Warnings: v.warnings, Notes: v.notes}
	if v.base != "" {
		rep.Base = &v.base
	}
	for _, d := range v.disks {
		rep.Disks = append(rep.Disks, DiskReport{Disk: d.name, VirtualSize: d.size(), DiskTotals: d.report(), ChangeList: d.listed, Note: d.note, Root: d.rootText})
	}
	return rep
}

func text(err error) *string {
	if err == nil {
		return nil
	}
	s := diskio.Printable(err.Error())
	return &s
}
