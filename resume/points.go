package resume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wanrep/diskio"
)

// States of a Point.
const (
	StateCommitted = "committed"
	StatePart      = "part" // being received, or waiting for its source
	// StateDamaged is a committed point of which the manifest can't be read, or a
	// file is missing, or the same is true of a point on which it builds. If none of a
	// VM's points has a manifest, Source and VM are the names of its directories.
	StateDamaged = "damaged"
)

// A Point is a restore point, or a part of one. In JSON it is an element of
// wanrep.points/1.
type Point struct {
	Source string      `json:"source"`
	VM     string      `json:"vm"`
	Point  string      `json:"point"`
	Base   string      `json:"base"` // null in JSON for a point that stands alone
	Time   time.Time   `json:"time"` // committed, or begun for a part
	State  string      `json:"state"`
	Disks  []PointDisk `json:"disks"`
	// Damage is what is known to be damaged of the point's own files. OnDamage tells
	// that the point has damaged content of one on which it builds.
	Damage   []Damage `json:"damage"`
	OnDamage bool     `json:"on_damage"`
	// Tested is when a failover to the point was tested and worked; null in JSON if it
	// was not.
	Tested time.Time `json:"tested"`
}

// A PointDisk is one disk of a Point. Sizes are bytes.
type PointDisk struct {
	Disk        string `json:"disk"`
	VirtualSize int64  `json:"virtual_size"`
	Stored      int64  `json:"stored"`  // what its file takes
	Durable     int64  `json:"durable"` // all below this offset is here
	Root        string `json:"root"`    // null in JSON until the disk is complete
}

// MarshalJSON writes null for what is not there.
func (p Point) MarshalJSON() ([]byte, error) {
	type plain Point
	if p.Disks == nil {
		p.Disks = []PointDisk{}
	}
	if p.Damage == nil {
		p.Damage = []Damage{}
	}
	return json.Marshal(struct {
		plain
		Base   *string    `json:"base"`
		Tested *time.Time `json:"tested"`
	}{plain(p), orNull(p.Base), timeOrNull(p.Tested)})
}

// MarshalJSON writes null for what is not there.
func (d PointDisk) MarshalJSON() ([]byte, error) {
	type plain PointDisk
	return json.Marshal(struct {
		plain
		Root *string `json:"root"`
	}{plain(d), orNull(d.Root)})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// pointDir returns the directory of a committed point.
func pointDir(source, vm, point string) (string, error) {
	dir, err := vmDir(source, vm)
	if err != nil {
		return "", err
	}
	if _, ok := pointNumber(point); !ok {
		return "", fmt.Errorf("%q: %w", diskio.Printable(point), ErrNoPoint)
	}
	return path.Join(dir, pointsName, point), nil
}

// List returns the points and parts of all VMs, those of one VM in their order.
func (s *Store) List() ([]Point, error) {
	dirs, err := s.vmDirs()
	if err != nil {
		return nil, err
	}
	// A store of 10,000 points is some 100,000 calls of the system, so that as many VMs
	// are listed at a time as there are processors.
	lists, errs := make([][]Point, len(dirs)), make([]error, len(dirs))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(dirs)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(dirs)); i = next.Add(1) - 1 {
				lists[i], errs[i] = s.listVM(dirs[i])
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(lists...), nil
}

// ListVM is List for one VM.
func (s *Store) ListVM(source, vm string) ([]Point, error) {
	dir, err := vmDir(source, vm)
	if err != nil {
		return nil, err
	}
	return s.listVM(dir)
}

func (s *Store) listVM(dir string) ([]Point, error) {
	// Parts first: one that is committed meanwhile is then seen as a point too and
	// not missed.
	part, err := s.listPart(dir)
	if err != nil {
		return nil, err
	}
	points, err := s.listPoints(dir)
	if err != nil {
		return nil, err
	}
	if part != nil && (len(points) == 0 || points[len(points)-1].Point < part.Point) {
		points = append(points, *part)
	}
	return points, nil
}

func (s *Store) listPoints(vmDir string) ([]Point, error) {
	release, err := s.look(vmDir)
	if err != nil {
		return nil, err
	}
	defer release()
	names, err := s.pointDirs(path.Join(vmDir, pointsName))
	if err != nil {
		return nil, err
	}
	proofs, err := s.proofsOf(vmDir)
	if err != nil {
		return nil, err
	}
	var list []Point
	var known Point // one that has a manifest
	var unnamed []int
	chains := s.chains(vmDir)
	for _, name := range names {
		if chains.pruned.hides(name) {
			continue
		}
		p := Point{Source: path.Dir(vmDir), VM: path.Base(vmDir), Point: name}
		if files := chains.files(name); files.err == nil {
			p = files.manifest.point()
			known = p
		} else {
			unnamed = append(unnamed, len(list))
		}
		p.Tested = proofs.of(name)
		for _, d := range p.Disks {
			if damage := chains.damage[pointAndDisk{name, d.Disk}]; damage != nil {
				p.Damage = append(p.Damage, *damage)
			}
		}
		if err := chains.check(name); isDamaged(err) {
			s.cfg.Log.Warn("point is damaged", "point", name, "err", err)
			p.State = StateDamaged
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	if err := chains.markInherited(list); err != nil {
		return nil, err
	}
	if known.VM != "" {
		for _, i := range unnamed {
			list[i].Source, list[i].VM = known.Source, known.VM
		}
	}
	return list, nil
}

// listPart returns the part of a VM, or nil.
func (s *Store) listPart(vmDir string) (*Point, error) {
	state, err := s.currentPart(vmDir)
	if err != nil || state == nil {
		return nil, err
	}
	p := Point{
		Source: state.source, VM: state.vm, Point: state.point, Base: state.base,
		Time: state.begun, State: StatePart,
	}
	for _, d := range state.disks {
		disk := PointDisk{Disk: d.spec.Name, VirtualSize: d.spec.Size, Durable: d.durable}
		if d.complete {
			disk.Root = d.root.String()
		}
		for n := range len(d.under) + 1 {
			file := path.Join(vmDir, partsName, state.point, layerName(safeName(d.spec.Name), n)+s.cfg.Format.Extension())
			if info, err := s.fsys.Stat(file); err == nil {
				disk.Stored += info.Size()
			}
		}
		p.Disks = append(p.Disks, disk)
	}
	return &p, nil
}

// currentPart returns what is known of a VM's part: from memory, or from its
// journal in a store that another process may be working on.
func (s *Store) currentPart(vmDir string) (*partState, error) {
	if !s.readOnly {
		return s.partOf(vmDir)
	}
	names, err := s.pointDirs(path.Join(vmDir, partsName))
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(names) {
		dir := path.Join(vmDir, partsName, name)
		state, err := readJournal(s.fsys, path.Join(dir, journalName))
		if errors.Is(err, fs.ErrNotExist) {
			// It is not begun yet, or decided: a crash in the middle of its commit left it here.
			var m Manifest
			if m, err = readManifest(s.fsys, dir); err == nil {
				return m.part(), nil
			}
		}
		if errors.Is(err, fs.ErrNotExist) || isDamaged(err) {
			continue
		}
		return state, err
	}
	return nil, nil
}

// part returns a decided part, all of which is here.
func (m Manifest) part() *partState {
	p := &partState{source: m.Source, vm: m.VM, point: m.Point, begun: m.Begun}
	if m.Base != nil {
		p.base = *m.Base
	}
	for _, d := range m.Disks {
		p.disks = append(p.disks, diskState{
			spec: d.spec(), durable: d.VirtualSize, digests: d.Digests, complete: true, based: d.Base != nil, root: d.Root,
		})
	}
	return p
}

// partOf returns what is known of a VM's part in memory, or nil.
func (s *Store) partOf(vmDir string) (*partState, error) {
	s.mu.Lock()
	v := s.vms[vmDir]
	if v == nil {
		s.mu.Unlock()
		return nil, nil
	}
	part, live, unsure := v.part, v.live, v.unsure
	s.mu.Unlock()
	if live != nil {
		return live.says(), nil
	}
	return part, unsure
}

// Point returns one committed point. It is how a source whose commit was not
// acknowledged learns that it happened.
func (s *Store) Point(source, vm, point string) (Point, error) {
	m, err := s.Manifest(Point{Source: source, VM: vm, Point: point})
	if err != nil {
		return Point{}, err
	}
	return m.point(), nil
}

// OpenDisk opens a disk of a committed point for reading. The point is being read until
// the content is closed.
func (s *Store) OpenDisk(p Point, disk string) (_ Content, err error) {
	r, err := s.Read(p)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	m, err := s.Manifest(p)
	if err != nil {
		return nil, err
	}
	d, ok := m.disk(disk)
	if !ok {
		return nil, fmt.Errorf("point %s of %s has no disk %q", m.Point, diskio.Printable(m.VM), diskio.Printable(disk))
	}
	dir, err := pointDir(m.Source, m.VM, m.Point)
	if err != nil {
		return nil, err
	}
	content, err := s.cfg.Format.Open(s.fsys, path.Join(dir, d.File))
	if err != nil {
		if r.Pruned() {
			err = ErrPruned
		}
		return nil, err
	}
	return readContent{content, r}, nil
}

// A Position is where a VM's part can be continued.
type Position struct {
	Point, Base string
	// Generation counts how often the part was begun. A link that was given an
	// older one must not write any more.
	Generation uint64
	Disks      []DiskPosition
}

// A DiskPosition is where one disk can be continued.
type DiskPosition struct {
	DiskSpec
	// Durable is the offset below which nothing has to be sent again.
	Durable  int64
	Complete bool
}

// Position returns where the part of a VM can be continued, or ErrNoPart. It
// changes nothing.
func (s *Store) Position(source, vm string) (Position, error) {
	dir, err := vmDir(source, vm)
	if err != nil {
		return Position{}, err
	}
	state, err := s.currentPart(dir)
	if err != nil {
		return Position{}, err
	}
	if state == nil {
		return Position{}, ErrNoPart
	}
	p := Position{Point: state.point, Base: state.base, Generation: state.generation}
	for _, d := range state.disks {
		p.Disks = append(p.Disks, DiskPosition{DiskSpec: d.spec, Durable: d.durable, Complete: d.complete})
	}
	return p, nil
}
