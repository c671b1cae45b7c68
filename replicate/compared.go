package replicate

import (
	"fmt"
	"slices"
	"strings"

	"wanrep/diskio"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
	"wanrep/resume"
)

// A disk that grew, shrank, appeared, vanished or was replaced since the point before
// is handled by itself; the target tells the source how, because that decides how much
// is sent.

// compared says how the disks of an open point differ from those of the VM's point
// before. notes are in the order of the disks, vm is about the VM. All are empty for
// the first point.
func (l *targetLink) compared(p *openPoint) (notes, vm []string) {
	notes = make([]string, len(p.part.Disks()))
	last := l.target.known(vmKey{l.link.Peer(), p.vm}).last
	if last == "" {
		return notes, nil
	}
	before, err := l.target.cfg.Store.Manifest(resume.Point{Source: l.link.Peer(), VM: p.vm, Point: last})
	if err != nil {
		return notes, []string{clip(fmt.Sprintf("point %s can't be read: %v", last, err))}
	}
	if base := p.part.Base(); base != "" && base != last {
		vm = append(vm, fmt.Sprintf("point %s can't be built on, it is damaged; this one builds on %s", last, base))
	}
	left := map[string]resume.ManifestDisk{}
	for _, d := range before.Disks {
		left[d.Name] = d
	}
	for i, d := range p.part.Disks() {
		was, known := left[d.Spec().Name]
		delete(left, d.Spec().Name)
		if !known {
			notes[i] = fmt.Sprintf("it was not in point %s: sent whole", last)
			continue
		}
		notes[i] = difference(last, was, d.Spec(), d.Based())
	}
	for _, d := range before.Disks {
		if _, gone := left[d.Name]; gone && len(vm) < wire.MaxDisks {
			vm = append(vm, clip(fmt.Sprintf("disk %s is not in the VM any more; point %s is the last that has it", d.Name, last)))
		}
	}
	return notes, vm
}

// difference says in what a disk differs from what it was in a point.
func difference(point string, was resume.ManifestDisk, is resume.DiskSpec, based bool) string {
	switch {
	case diskio.ID(was.ID) != is.ID:
		return fmt.Sprintf("it is another disk than in point %s, where its ID was %v: sent whole", point, diskio.ID(was.ID))
	case was.LogicalSectorSize != is.LogicalSectorSize || was.PhysicalSectorSize != is.PhysicalSectorSize:
		return fmt.Sprintf("it had sectors of %d (%d) bytes and has %d (%d) now: sent whole",
			was.LogicalSectorSize, was.PhysicalSectorSize, is.LogicalSectorSize, is.PhysicalSectorSize)
	case was.VirtualSize > is.Size:
		return fmt.Sprintf("it was %s and is %s now: sent whole", size(was.VirtualSize), size(is.Size))
	case !based:
		return fmt.Sprintf("point %s can't be built on, it is damaged or of too many files: sent whole", point)
	case was.VirtualSize < is.Size:
		return fmt.Sprintf("it grew from %s to %s", size(was.VirtualSize), size(is.Size))
	}
	return ""
}

// clip makes a text fit a note.
func clip(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), wire.MaxNote)], "")
}

// tell tells the source's operator what the target said of the disks, once a run.
func (r *run) tell(v *vmRun, opened *wire.Opened) {
	for _, text := range opened.Notes {
		if text = diskio.Printable(text); !slices.Contains(v.notes, text) {
			v.notes = append(v.notes, text)
			r.event(progress.Info, v, text)
			r.log.Info("differs from the point before", "vm", v.name, "how", text)
		}
	}
	for i, d := range v.disks {
		if text := diskio.Printable(opened.Disks[i].Note); text != d.note {
			if d.note = text; text != "" {
				r.event(progress.Info, v, "disk "+d.name+": "+text)
				r.log.Info("differs from the point before", "vm", v.name, "disk", d.name, "how", text)
			}
		}
	}
}
