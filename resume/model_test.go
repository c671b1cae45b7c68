package resume_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"wanrep/diskio/digest"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// A model is what the store has to be like, in the simplest words: how much of each
// disk was acknowledged, and which points there are. Its methods are the steps of
// a random run.
type model struct {
	fsys  *crashfs.FS
	store *resume.Store // nil while it is closed
	part  *resume.Part  // nil while none is open
	sent  []int64       // of each disk of the open part

	acked  map[string]int64 // by identity, in the part under way
	points [][]snapshot     // committed
	names  []string         // of the points
	// doubted are points whose prune was begun: they may be gone, and are what they
	// were if not.
	doubted map[string]bool
	// has is what the part is known to have of a disk, by its name: the digests of the
	// blocks that were acknowledged before the disk changed, and after.
	has map[string]blockSums
	// base is what each disk of the open part has to be compared with.
	base []blockSums
	// deciding is the part that is being received: its commit may have happened
	// although it was not acknowledged.
	deciding   []snapshot
	committing bool
	name       string // of that part
}

// modelDisks are the disks of which a VM is made, some in two states.
var modelDisks = [][]snapshot{
	{newSnapshot("a", "ab..c", 512), newSnapshot("a", "a..dc", 512), newSnapshot("a", "ab.dce", 1024)},
	{newSnapshot("b", "..", block), newSnapshot("b", "xyz", 1024), replaced(newSnapshot("b", "xw", block))},
	{newSnapshot("C", "123456", 7)},
}

// blockSums are digests of blocks; those of zeros too.
type blockSums map[int64]digest.Sum

// take notes the blocks of a disk from one offset to another, or forgets them.
func (b blockSums) take(disk snapshot, from, to int64, known bool) {
	for at := from; at < to; at += block {
		delete(b, at/block)
		if known {
			b[at/block] = digest.Block(disk.content[at:min(at+block, disk.spec.Size)])
		}
	}
}

var modelConfig = resume.Config{Format: plain{}}

func drawVM(t *rapid.T) (vm []snapshot) {
	for i, states := range modelDisks {
		if i == 0 || rapid.IntRange(0, 3).Draw(t, "has disk") > 0 {
			n := 0
			if rapid.IntRange(0, 4).Draw(t, "changed") == 0 {
				n = rapid.IntRange(0, len(states)-1).Draw(t, "state")
			}
			vm = append(vm, states[n])
		}
	}
	return vm
}

// failed takes the error of a step: the part has to be closed then, and no more.
func (m *model) failed(t *rapid.T, err error) {
	if m.fsys.Crashed() {
		m.fsys = m.fsys.Crash(rapid.Uint64().Draw(t, "seed"))
		m.store, m.part = nil, nil
		return
	}
	if !errors.Is(err, crashfs.ErrIO) {
		t.Fatalf("unexpected error: %v", err)
	}
	m.fsys.Inject(crashfs.Fault{})
	m.closePart()
}

func (m *model) closePart() {
	if m.part != nil {
		_ = m.part.Close()
		m.part = nil
	}
}

// opened reports whether the store is open, and opens it if not.
func (m *model) opened(t *rapid.T) bool {
	if m.store != nil {
		return true
	}
	s, err := resume.Open(m.fsys, modelConfig)
	if err != nil {
		m.failed(t, err)
		return false
	}
	m.store = s
	return true
}

func (m *model) Begin(t *rapid.T) {
	if m.part != nil {
		t.Skip("begun")
	}
	if !m.opened(t) {
		return
	}
	vm := drawVM(t)
	var specs []resume.DiskSpec
	for _, d := range vm {
		specs = append(specs, d.spec)
	}
	m.settleHas(vm)
	part, err := m.store.Begin(source, vmName, specs)
	m.settleAcked(vm)
	if err != nil {
		m.failed(t, err)
		return
	}
	m.fsys.Inject(crashfs.Fault{})
	m.learn(t, m.store)
	m.committing = false
	m.part, m.deciding, m.name, m.sent, m.base = part, vm, part.Point(), nil, nil
	for i, d := range part.Disks() {
		id := d.Spec().Identity
		if d.Durable() < m.acked[id] {
			t.Fatalf("disk %s begins at %d, %d was acknowledged", id, d.Durable(), m.acked[id])
		}
		m.acked[id] = d.Durable()
		m.sent = append(m.sent, d.Durable())
		base, err := m.checkBase(d, vm[i])
		if err != nil {
			if isViolation(err) {
				t.Fatal(err)
			}
			m.failed(t, err)
			return
		}
		m.base = append(m.base, base)
	}
}

// settleAcked forgets what was acknowledged of disks that a Begin did not name, or named
// in another state. They may be gone even if it failed.
func (m *model) settleAcked(vm []snapshot) {
	for id := range m.acked {
		if !slices.ContainsFunc(vm, func(d snapshot) bool { return d.spec.Identity == id }) {
			delete(m.acked, id)
		}
	}
}

// settleHas notes what the part has of disks that Begin is about to change. What was
// not acknowledged may be there or not. Disks that are not named, or are not the same
// any more, may be dropped.
func (m *model) settleHas(vm []snapshot) {
	for _, was := range m.deciding {
		name := was.spec.Name
		is := diskOf(vm, name)
		if is == nil || is.spec.Size < was.spec.Size || is.spec.ID != was.spec.ID {
			delete(m.has, name)
			continue
		}
		if is.spec.Identity == was.spec.Identity || m.has[name] == nil && m.acked[was.spec.Identity] == 0 {
			continue
		}
		if m.has[name] == nil {
			m.has[name] = blockSums{}
		}
		acked := m.acked[was.spec.Identity]
		m.has[name].take(was, 0, acked, true)
		m.has[name].take(was, acked, was.spec.Size, false)
	}
	for name := range m.has {
		if diskOf(vm, name) == nil {
			delete(m.has, name)
		}
	}
}

// checkBase returns what a disk has to be compared with, and holds that to what the
// part is known to have.
func (m *model) checkBase(d *resume.PartDisk, disk snapshot) (blockSums, error) {
	base, err := baseOf(d)
	if err != nil {
		return nil, err
	}
	if d.Durable() > 0 {
		return base, nil // some of it may not be below any more
	}
	for n, want := range m.has[disk.spec.Name] {
		got, ok := base[n]
		if !ok {
			got = digest.ZeroBlock()
		}
		if got != want {
			return nil, broken("disk %s would be sent again at block %d; it was acknowledged", disk.spec.Identity, n)
		}
	}
	return base, nil
}

// rarely skips a step three times of four.
func rarely(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
		t.Skip("not now")
	}
}

// drawDisk returns a disk of the open part.
func (m *model) drawDisk(t *rapid.T) (int, *resume.PartDisk, snapshot) {
	if m.part == nil {
		t.Skip("no part")
	}
	i := rapid.IntRange(0, len(m.sent)-1).Draw(t, "disk")
	return i, m.part.Disks()[i], m.deciding[i]
}

func (m *model) Write(t *rapid.T) {
	i, d, from := m.drawDisk(t)
	size := d.Spec().Size
	if m.sent[i] == size {
		t.Skip("all sent")
	}
	end := min(m.sent[i]+block*int64(rapid.IntRange(1, 3).Draw(t, "blocks")), size)
	if err := d.Write(m.sent[i], from.content[m.sent[i]:end]); err != nil {
		m.failed(t, err)
		return
	}
	m.sent[i] = end
}

// Skip leaves out a block that the target has, or that is zeros and it has none.
func (m *model) Skip(t *rapid.T) {
	i, d, from := m.drawDisk(t)
	at, size := m.sent[i], d.Spec().Size
	end := min(at+block, size)
	if at == size || !sameAs(m.base[i], at, from.content[at:end]) {
		t.Skip("it has to be sent")
	}
	if err := d.SkipTo(end); err != nil {
		m.failed(t, err)
		return
	}
	m.sent[i] = end
}

func (m *model) Sync(t *rapid.T) {
	_, d, _ := m.drawDisk(t)
	if _, done := d.Root(); done {
		t.Skip("complete")
	}
	durable, err := d.Sync()
	if err != nil {
		m.failed(t, err)
		return
	}
	m.acked[d.Spec().Identity] = durable
}

func (m *model) Finish(t *rapid.T) {
	i, _, _ := m.drawDisk(t)
	m.finish(t, i)
}

// finish sends what is left of a disk.
func (m *model) finish(t *rapid.T, i int) bool {
	d, from := m.part.Disks()[i], m.deciding[i]
	if m.sent[i] < d.Spec().Size {
		if err := d.Write(m.sent[i], from.content[m.sent[i]:]); err != nil {
			m.failed(t, err)
			return false
		}
		m.sent[i] = d.Spec().Size
	}
	if err := d.Finish(from.root); err != nil {
		m.failed(t, err)
		return false
	}
	m.acked[d.Spec().Identity] = d.Durable()
	return true
}

func (m *model) FinishWrongly(t *rapid.T) {
	rarely(t)
	_, d, from := m.drawDisk(t)
	if _, done := d.Root(); done {
		t.Skip("complete")
	}
	wrong := from.root
	wrong[3]++
	err := d.Finish(wrong)
	delete(m.acked, d.Spec().Identity)
	delete(m.has, d.Spec().Name)
	if !errors.Is(err, resume.ErrDigest) {
		m.failed(t, err)
		return
	}
	m.closePart()
}

func (m *model) Commit(t *rapid.T) {
	if m.part == nil {
		t.Skip("no part")
	}
	for i := range m.sent {
		if !m.finish(t, i) {
			return
		}
	}
	part := m.part
	m.part, m.committing = nil, true
	if _, err := part.Commit(); err != nil {
		m.failed(t, err)
		return
	}
	m.committed()
}

func (m *model) committed() {
	m.points, m.names = append(m.points, m.deciding), append(m.names, m.name)
	m.deciding, m.committing = nil, false
	clear(m.acked)
	clear(m.has)
}

func (m *model) Close(t *rapid.T) { m.closePart() }

func (m *model) Fault(t *rapid.T) {
	rarely(t)
	m.fsys.Inject(crashfs.Fault{
		At:   m.fsys.Ops() + rapid.IntRange(1, 30).Draw(t, "operations"),
		Kind: rapid.SampledFrom([]crashfs.Kind{crashfs.Fail, crashfs.Short, crashfs.Late, crashfs.Crash}).Draw(t, "kind"),
	})
}

func (m *model) PowerCut(t *rapid.T) {
	rarely(t)
	m.fsys = m.fsys.Crash(rapid.Uint64().Draw(t, "seed"))
	m.store, m.part = nil, nil
}

func (m *model) Kill(t *rapid.T) {
	rarely(t)
	m.fsys.Kill()
	m.store, m.part = nil, nil
}

// learn finds out whether a commit that was not acknowledged happened, and returns
// all committed points that there are, and what each holds.
func (m *model) learn(t *rapid.T, s *resume.Store) (list []resume.Point, hold [][]snapshot) {
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(p resume.Point) bool { return p.State == resume.StatePart })
	if n := len(list); n > 0 && m.deciding != nil && list[n-1].Point == m.name {
		m.committed()
	}
	for i, name := range m.names {
		switch at := len(hold); {
		case at < len(list) && list[at].Point == name:
			hold = append(hold, m.points[i])
		case !m.doubted[name]:
			t.Fatalf("point %s is missing in %v", name, list)
		}
	}
	if len(hold) != len(list) {
		t.Fatalf("%d points, want %d", len(list), len(hold))
	}
	return list, hold
}

// Prune takes out any point but the newest.
func (m *model) Prune(t *rapid.T) {
	rarely(t)
	if m.store == nil || len(m.points) < 2 {
		t.Skip("nothing to prune")
	}
	i := rapid.IntRange(0, len(m.points)-2).Draw(t, "point")
	m.doubted[m.names[i]] = true
	err := m.store.Prune(t.Context(), resume.Point{Source: source, VM: vmName, Point: m.names[i]})
	switch {
	case err == nil:
		m.points, m.names = slices.Delete(m.points, i, i+1), slices.Delete(m.names, i, i+1)
	case errors.As(err, new(*resume.PinnedError)), errors.Is(err, resume.ErrNoPoint):
	default:
		m.failed(t, err)
	}
}

// Check opens the store as a power cut would leave it, and compares it with the
// model.
func (m *model) Check(t *rapid.T) {
	left := m.fsys.Crash(rapid.Uint64Range(0, 20).Draw(t, "mix"))
	s, err := resume.Open(left, modelConfig)
	if err != nil {
		t.Fatal(err)
	}
	after := &model{
		acked: maps.Clone(m.acked), points: slices.Clone(m.points), names: slices.Clone(m.names), doubted: m.doubted,
		deciding: m.deciding, name: m.name,
	}
	list, hold := after.learn(t, s)
	for i, p := range list {
		if err := compare(s, p, hold[i]); err != nil {
			t.Fatalf("point %s: %v", p.Point, err)
		}
	}
	after.checkPosition(t, s)
	if m.part != nil {
		m.checkPosition(t, m.store)
	}
}

func (m *model) checkPosition(t *rapid.T, s *resume.Store) {
	pos, err := s.Position(source, vmName)
	if err != nil && !errors.Is(err, resume.ErrNoPart) {
		t.Fatal(err)
	}
	durable := map[string]int64{}
	for _, d := range pos.Disks {
		durable[d.Identity] = d.Durable
	}
	for id, acked := range m.acked {
		if durable[id] < acked {
			t.Fatalf("disk %s can go on at %d, %d was acknowledged", id, durable[id], acked)
		}
	}
}

// compare reads the disks of a point.
func compare(s *resume.Store, p resume.Point, want []snapshot) error {
	if p.State != resume.StateCommitted || len(p.Disks) != len(want) {
		return fmt.Errorf("%+v, want %d disks", p, len(want))
	}
	for _, w := range want {
		c, err := s.OpenDisk(p, w.spec.Name)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
		if !bytes.Equal(got, w.content) {
			return fmt.Errorf("disk %s differs", w.spec.Name)
		}
	}
	return nil
}

func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.steps"); f.Value.String() == f.DefValue {
		must(t, f.Value.Set("100"))
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{fsys: crashfs.New(), acked: map[string]int64{}, has: map[string]blockSums{}, doubted: map[string]bool{}}
		rt.Repeat(map[string]func(*rapid.T){
			"": m.Check, "begin": m.Begin, "write": m.Write, "write more": m.Write, "write on": m.Write,
			"skip": m.Skip, "skip more": m.Skip,
			"sync": m.Sync, "finish": m.Finish, "finish wrongly": m.FinishWrongly, "commit": m.Commit, "import": m.Import,
			"close": m.Close, "prune": m.Prune, "prune more": m.Prune, "fault": m.Fault, "power cut": m.PowerCut, "kill": m.Kill,
		})
	})
}
