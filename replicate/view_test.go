package replicate

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
	"wanrep/resume"
)

// twoSources is a target that keeps VMs of two sources, as far as its board goes.
func twoSources() *Target {
	b := progress.NewBoard("target", "dr", "1.0")
	t := &Target{cfg: TargetConfig{Board: b, Log: slog.New(slog.DiscardHandler)}, kept: map[vmKey]kept{}}
	for _, source := range []string{"lyon", "rome"} {
		b.Link(source, func(l *progress.Link) { l.Remote = source + " address" })
		b.Disk(source, source+" vm", "os", func(d *progress.Disk) { d.State = progress.Receiving })
		b.VM(source, source+" vm", func(v *progress.VM) { v.State = progress.Receiving })
		b.Event(progress.Event{Peer: source, Text: source + " event"})
		t.kept[vmKey{source, source + " vm"}] = kept{points: 3, oldest: time.Unix(1000, 0).UTC()}
	}
	b.Event(progress.Event{Text: "rome, without a peer"})
	b.SetStore(progress.Store{Path: "/rome/store", Free: 10, Total: 100, Points: 6})
	return t
}

func TestViewTellsNothingOfOthers(t *testing.T) {
	reply, err := twoSources().view("lyon")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(reply.JSON), "rome") {
		t.Errorf("lyon is told of rome: %s", reply.JSON)
	}
	s, err := readView("dr", reply.JSON)
	if err != nil {
		t.Fatal(err)
	}
	want := progress.Store{Free: 10, Total: 100, Points: 3, Oldest: time.Unix(1000, 0).UTC()}
	if s.Store != want || len(s.Links) != 1 || len(s.Events) != 1 || len(s.VMs) != 1 || len(s.VMs[0].Disks) != 1 {
		t.Errorf("lyon is told %+v", s)
	}
}

func TestViewFits(t *testing.T) {
	target := twoSources()
	for vm := range 200 {
		name := fmt.Sprint("vm", vm)
		for disk := range 20 {
			target.cfg.Board.Disk("lyon", name, fmt.Sprint("disk", disk), func(d *progress.Disk) { d.State = progress.Committed })
		}
		target.cfg.Board.VM("lyon", name, func(v *progress.VM) { v.State = progress.Committed })
	}
	reply, err := target.view("lyon")
	if err != nil {
		t.Fatal(err)
	}
	s, err := readView("dr", reply.JSON)
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.JSON) > wire.MaxStatusBytes || len(s.VMs) != 201 || len(s.VMs[0].Disks) != 1 || len(s.VMs[7].Disks) != 0 {
		t.Errorf("%d bytes tell of %d VMs; want all of them, with the disks of the one that is received", len(reply.JSON), len(s.VMs))
	}
	if len(target.cfg.Board.Snapshot().VMs[7].Disks) == 0 {
		t.Error("the board has lost its disks")
	}
	for vm := range 3000 {
		target.cfg.Board.VM("lyon", fmt.Sprint("more", vm), func(*progress.VM) {})
	}
	var no *RefusedError
	if _, err := target.view("lyon"); !errors.As(err, &no) {
		t.Errorf("a status that does not fit: %v, want a refusal", err)
	}
}

func TestViewOfAHostileTarget(t *testing.T) {
	evil := "\x1b[2J\u202e" + strings.Repeat("x", 100_000)
	data, err := json.Marshal(progress.Status{
		Schema: evil, Role: "source", Name: evil, Version: evil,
		Links:  []progress.Link{{Peer: evil, Uplinks: []progress.Uplink{{Name: evil}}}},
		VMs:    []progress.VM{{VM: evil, Disks: []progress.Disk{{Disk: evil, Because: evil}}}},
		Events: []progress.Event{{Text: evil}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := readView("dr", data)
	if err != nil {
		t.Fatal(err)
	}
	if s.Schema != progress.Schema || s.Role != "target" || s.Name != "dr" {
		t.Errorf("it passes for %s %s with schema %s", s.Role, s.Name, s.Schema)
	}
	for _, text := range []string{s.Version, s.Links[0].Peer, s.Links[0].Uplinks[0].Name, s.VMs[0].VM, s.VMs[0].Disks[0].Because, s.Events[0].Text} {
		if strings.ContainsAny(text, "\x1b\u202e") || len(text) > 2*maxViewText {
			t.Errorf("a text of %d bytes is taken over: %.40q", len(text), text)
		}
	}
	var protocol *wire.ProtocolError
	if _, err := readView("dr", []byte(`{"vms":7}`)); !errors.As(err, &protocol) {
		t.Errorf("no status at all: %v", err)
	}
}

func TestPointsFit(t *testing.T) {
	var all []resume.Point
	for i := range 5000 {
		all = append(all, resume.Point{
			Source: "lyon", VM: "sql\x1b[2J", Point: fmt.Sprintf("%016x", i), State: resume.StateCommitted,
			Disks: []resume.PointDisk{{Disk: "os", VirtualSize: 64 << 30, Root: strings.Repeat("0", 64)}},
		})
	}
	for _, n := range []int{0, 3, len(all)} {
		data, err := fittingPoints(all[:n])
		if err != nil {
			t.Fatal(err)
		}
		p, err := readPoints("dr", data)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > wire.MaxStatusBytes || len(p.Points)+p.Older != n || n < 10 && p.Older != 0 {
			t.Errorf("of %d points %d are told and %d are not, in %d bytes", n, len(p.Points), p.Older, len(data))
		}
		if n > 0 && (len(p.Points) == 0 || p.Points[len(p.Points)-1].Point != all[n-1].Point || strings.Contains(p.Points[0].VM, "\x1b")) {
			t.Errorf("of %d points the newest is left out, or a name is not fit to be shown", n)
		}
	}
	if _, err := readPoints("dr", []byte(`{"points":7}`)); err == nil {
		t.Error("took points that are a number")
	}
}
