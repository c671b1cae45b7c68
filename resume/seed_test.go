package resume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// seedFrom makes the disks of a VM the sources of a seed that leaves out what is below
// from.
func seedFrom(from int64, disks ...snapshot) []resume.SeedSource {
	var sources []resume.SeedSource
	for _, d := range disks {
		sources = append(sources, resume.SeedSource{
			Spec: d.spec, Content: inMemory{bytes.NewReader(d.content)}, From: min(from, d.spec.Size), Check: func() error { return nil },
		})
	}
	return sources
}

// inMemory is a disk that can't tell where it has holes.
type inMemory struct{ *bytes.Reader }

func (m inMemory) Size() int64 { return m.Reader.Size() }

func (m inMemory) NextData(off int64) (start, length int64, err error) {
	if off >= m.Size() {
		return 0, 0, io.EOF
	}
	return off, m.Size() - off, nil
}

func (inMemory) Close() error { return nil }

var seedOf = resume.Seed{Source: source, VM: vmName, Time: time.Unix(7, 0).UTC(), Software: "wanrep test"}

// seeded returns a file system with a seed of the disks.
func seeded(t *testing.T, format resume.Format, sources []resume.SeedSource) *crashfs.FS {
	t.Helper()
	fsys := crashfs.New()
	_, dir, err := resume.ExportSeed(t.Context(), fsys, format, seedOf, sources)
	must(t, err)
	if dir != vmDirName {
		t.Errorf("the seed is in %s", dir)
	}
	return fsys
}

// importSeed verifies a seed and takes it into the store, which it opens and closes.
func importSeed(ctx context.Context, to, from durable.FS, format resume.Format) (resume.Position, error) {
	seed, err := resume.ReadSeed(from, vmDirName)
	if err == nil {
		err = resume.VerifySeed(ctx, from, format, vmDirName, seed)
	}
	if err != nil {
		return resume.Position{}, err
	}
	s, err := resume.Open(to, resume.Config{Format: format})
	if err != nil {
		return resume.Position{}, err
	}
	at, err := s.ImportSeed(ctx, from, vmDirName, seed)
	return at, errors.Join(err, s.Close())
}

// nextRun sends nothing but the roots, commits, and compares the point.
func nextRun(to durable.FS, format resume.Format, disks ...snapshot) error {
	s, err := resume.Open(to, resume.Config{Format: format})
	if err != nil {
		return err
	}
	defer s.Close()
	var specs []resume.DiskSpec
	for _, d := range disks {
		specs = append(specs, d.spec)
	}
	part, err := s.Begin(source, vmName, specs)
	if err != nil {
		return err
	}
	defer part.Close()
	for i, d := range part.Disks() {
		if d.Durable() != disks[i].spec.Size {
			return fmt.Errorf("disk %s goes on at %d of %d", d.Spec().Name, d.Durable(), d.Spec().Size)
		}
		if err := d.Finish(disks[i].root); err != nil {
			return err
		}
	}
	m, err := part.Commit()
	if err != nil {
		return err
	}
	for _, d := range disks {
		c, err := s.OpenDisk(resume.Point{Source: source, VM: vmName, Point: m.Point}, d.spec.Name)
		if err != nil {
			return err
		}
		got := make([]byte, c.Size())
		_, err = c.ReadAt(got, 0)
		if err = errors.Join(err, c.Close()); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Equal(got, d.content) {
			return fmt.Errorf("disk %s differs", d.spec.Name)
		}
	}
	return nil
}

var seedDisks = []snapshot{newSnapshot("os", "ab..cd", 1536), newSnapshot("Data 2", ".x.", block), newSnapshot("empty", "..", 512)}

func TestSeedIsContinuedByTheNextRun(t *testing.T) {
	for _, format := range []resume.Format{plain{}, vhdxstore.Format{}} {
		from, to := seeded(t, format, seedFrom(0, seedDisks...)), crashfs.New()
		dirs, err := resume.SeedDirs(from)
		if err != nil || len(dirs) != 1 || dirs[0] != vmDirName {
			t.Errorf("seeds in %q: %v", dirs, err)
		}
		at, err := importSeed(t.Context(), to, from, format)
		must(t, err)
		if at.Point != "0000000000000001" || len(at.Disks) != len(seedDisks) || at.Disks[0].Complete {
			t.Errorf("the part is %+v", at)
		}
		// Once more changes nothing.
		again, err := importSeed(t.Context(), to, from, format)
		if err != nil || again.Point != at.Point || again.Disks[0].Durable != seedDisks[0].spec.Size {
			t.Errorf("then it is %+v: %v", again, err)
		}
		must(t, nextRun(to, format, seedDisks...))
	}
}

// TestSeedOfWhatIsMissing: the target has the beginning of the disks, and the seed the
// rest.
func TestSeedOfWhatIsMissing(t *testing.T) {
	disks := []snapshot{newSnapshot("os", "ab.cdef", 512), newSnapshot("data", "xy", block)}
	changed := newSnapshot("os", "Ab.cdef", 512)
	tests := []struct {
		name string
		has  []snapshot // what the part was begun with
		sent int64      // how much of each disk is durable
		from int64
		want string // in the error
	}{
		{name: "all that is missing", has: disks, sent: 2 * block, from: 2 * block},
		{name: "more than is missing", has: disks, sent: 2 * block, from: block},
		{name: "less than is missing", has: disks, sent: block, from: 2 * block, want: `disk "os": the seed has it from 131072 on, and it is durable here up to 65536`},
		{name: "of a disk that changed", has: []snapshot{changed, disks[1]}, sent: 2 * block, from: 2 * block, want: `disk "os": the seed has it from 131072 on, and what is here below that is of another time`},
		{name: "all of a disk that changed", has: []snapshot{changed, disks[1]}, sent: 2 * block},
		{name: "without the part", from: block, want: "durable here up to 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			to := crashfs.New()
			s, err := resume.Open(to, resume.Config{Format: plain{}})
			must(t, err)
			var specs []resume.DiskSpec
			for _, d := range test.has {
				specs = append(specs, d.spec)
			}
			if specs != nil {
				part, err := s.Begin(source, vmName, specs)
				must(t, err)
				for i, d := range part.Disks() {
					must(t, d.Write(0, test.has[i].content[:min(test.sent, d.Spec().Size)]))
					_, err := d.Sync()
					must(t, err)
				}
				must(t, part.Close())
			}
			must(t, s.Close())
			_, err = importSeed(t.Context(), to, seeded(t, plain{}, seedFrom(test.from, disks...)), plain{})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got %v, want %q", err, test.want)
				}
				return
			}
			must(t, err)
			must(t, nextRun(to, plain{}, disks...))
		})
	}
}

// TestSeedOnAPoint: a seed for a VM that has points adds what differs.
func TestSeedOnAPoint(t *testing.T) {
	to := crashfs.New()
	old, disk := newSnapshot("os", "abcd.fgy", 512), newSnapshot("os", "ab.xe.gh", 512)
	must(t, nextRunAll(to, plain{}, old))
	_, err := importSeed(t.Context(), to, seeded(t, plain{}, seedFrom(0, disk)), plain{})
	must(t, err)
	info, err := to.Stat("lyon/" + vmDirName + "/parts/0000000000000002/os.digests")
	must(t, err)
	if want := int64(64 + 5*40); info.Size() != want { // c, x, e, f and h
		t.Errorf("the digests of the part have %d bytes, want %d", info.Size(), want)
	}
	// Once more changes nothing, also where the disk ends inside a block of the point's.
	_, err = importSeed(t.Context(), to, seeded(t, plain{}, seedFrom(0, disk)), plain{})
	must(t, err)
	must(t, nextRun(to, plain{}, disk))
}

// TestSeedWithHolesOnAPoint: where the seed has nothing and the point has content,
// zeros are written.
func TestSeedWithHolesOnAPoint(t *testing.T) {
	to := crashfs.New()
	old, disk := newSnapshot("os", strings.Repeat("x", 70), block), newSnapshot("os", "y"+strings.Repeat(".", 69), block)
	must(t, nextRunAll(to, vhdxstore.Format{}, old))
	_, err := importSeed(t.Context(), to, seeded(t, vhdxstore.Format{}, seedFrom(0, disk)), vhdxstore.Format{})
	must(t, err)
	must(t, nextRun(to, vhdxstore.Format{}, disk))
}

// nextRunAll sends and commits a point.
func nextRunAll(to durable.FS, format resume.Format, disk snapshot) error {
	s, err := resume.Open(to, resume.Config{Format: format})
	if err != nil {
		return err
	}
	part, err := s.Begin(source, vmName, []resume.DiskSpec{disk.spec})
	if err == nil {
		err = sendAll(part.Disks()[0], disk)
	}
	if err == nil {
		_, err = part.Commit()
	}
	return errors.Join(err, s.Close())
}

// TestSeedsThatAreNotTaken names what is wrong with each.
func TestSeedsThatAreNotTaken(t *testing.T) {
	const manifest = vmDirName + "/seed.json"
	replace := func(old, new string) func(*testing.T, *crashfs.FS) {
		return func(t *testing.T, fsys *crashfs.FS) {
			rewrite(t, fsys, manifest, func(s string) string { return strings.Replace(s, old, new, 1) })
		}
	}
	tests := []struct {
		name  string
		spoil func(*testing.T, *crashfs.FS)
		want  string
	}{
		{"not whole", func(t *testing.T, f *crashfs.FS) { must(t, f.Remove(manifest)) }, "no whole seed"},
		{"cut short", func(t *testing.T, f *crashfs.FS) { rewrite(t, f, manifest, func(s string) string { return s[:40] }) }, "seed.json is damaged"},
		{"a bit of the content", func(t *testing.T, f *crashfs.FS) { must(t, flip(f, vmDirName+"/os.img", plainHead+7, 1)) }, `disk "os": ` + vmDirName + "/os.img is not what was exported"},
		{"a disk missing", func(t *testing.T, f *crashfs.FS) { must(t, f.Remove(vmDirName+"/os.img")) }, `disk "os": open the seed: `},
		{"a file elsewhere", replace(`"file": "os.img"`, `"file": "../os.img"`), `has a file named "../os.img"`},
		{"a file for two disks", replace(`"file": "empty.img"`, `"file": "os.img"`), `has a file named "os.img"`},
		{"another size", replace(`"virtual_size": 329216`, `"virtual_size": 329728`), "the seed's disk has 329216 bytes, and 329728 were exported"},
		{"an offset inside a block", replace(`"from": 0`, `"from": 5`), "begins at 5"},
		{"an offset behind the end", replace(`"from": 0`, `"from": 6553600`), "begins at 6553600"},
		{"a name that is none", replace(`"vm": "SQL 01"`, `"vm": ""`), "a VM without a name"},
		{"a newer one", replace("wanrep.seed/1", "wanrep.seed/2"), `has the schema "wanrep.seed/2"`},
		{"a field more", replace("{", `{"x": 1,`), `unknown field "x"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			from, to := seeded(t, plain{}, seedFrom(0, seedDisks...)), crashfs.New()
			test.spoil(t, from)
			if _, err := importSeed(t.Context(), to, from, plain{}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestExportOfASeed: it does not replace one, does not begin what can't fit, and leaves
// nothing that looks whole if a disk changes meanwhile.
func TestExportOfASeed(t *testing.T) {
	export := func(fsys *crashfs.FS, sources []resume.SeedSource) error {
		_, _, err := resume.ExportSeed(t.Context(), fsys, plain{}, seedOf, sources)
		return err
	}
	fsys := crashfs.New()
	fsys.SetSpace(100 << 10)
	if err := export(fsys, seedFrom(0, seedDisks...)); !errors.Is(err, durable.ErrFull) || !strings.Contains(err.Error(), "the seed has up to 0 MiB") {
		t.Errorf("got %v, want %v", err, durable.ErrFull)
	}
	fsys.SetSpace(1 << 30)
	changes := seedFrom(0, seedDisks...)
	changes[1].Check = func() error { return errors.New("it was written to") }
	if err := export(fsys, changes); err == nil || !strings.Contains(err.Error(), `disk "Data 2": it was written to`) {
		t.Errorf("got %v", err)
	}
	if _, err := resume.ReadSeed(fsys, vmDirName); !errors.Is(err, resume.ErrNoSeed) {
		t.Errorf("got %v, want %v", err, resume.ErrNoSeed)
	}
	must(t, export(fsys, seedFrom(0, seedDisks...)))
	if err := export(fsys, seedFrom(0, seedDisks...)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v", err, fs.ErrExist)
	}
}

// An imported is a seed and the store that takes it.
type imported struct {
	name   string
	format resume.Format
	start  *crashfs.FS // all in it is durable
	from   *crashfs.FS
	disks  []snapshot
}

// importCases are seeds of all of a VM, and one that continues a part on a point.
func importCases(t *testing.T) []imported {
	disk := newSnapshot("os", "ab.xe.gh", 512)
	to := crashfs.New()
	must(t, nextRunAll(to, plain{}, newSnapshot("os", "abcd.fg", block)))
	s, err := resume.Open(to, resume.Config{Format: plain{}})
	must(t, err)
	part, err := s.Begin(source, vmName, []resume.DiskSpec{disk.spec})
	must(t, err)
	must(t, part.Disks()[0].SkipTo(2*block))
	must(t, part.Disks()[0].Write(2*block, disk.content[2*block:4*block]))
	_, err = part.Disks()[0].Sync()
	must(t, errors.Join(err, part.Close(), s.Close()))
	return []imported{
		{"of all", plain{}, crashfs.New(), seeded(t, plain{}, seedFrom(0, seedDisks...)), seedDisks},
		{"of all as VHDX", vhdxstore.Format{}, crashfs.New(), seeded(t, vhdxstore.Format{}, seedFrom(0, seedDisks...)), seedDisks},
		{"of what is missing", plain{}, to.Crash(0), seeded(t, plain{}, seedFrom(4*block, disk)), []snapshot{disk}},
	}
}

// record imports without faults and returns the operations.
func (i imported) record(t *testing.T) (ops []crashfs.Op) {
	to := i.start.Crash(1)
	to.Trace(func(op crashfs.Op) { ops = append(ops, op) })
	_, err := importSeed(t.Context(), to, i.from, i.format)
	must(t, err)
	to.Trace(nil)
	must(t, nextRun(to, i.format, i.disks...))
	return ops
}

// goOn imports again in what is left after a power cut, cuts the power once more, and
// commits what was imported.
func (i imported) goOn(wrap wrapper, to *crashfs.FS, seeds uint64, k int) error {
	for n := range seeds {
		left := to.Crash(mix(n, k))
		if _, err := importSeed(context.Background(), wrap(left), i.from, i.format); err != nil {
			return fmt.Errorf("then the power cut, seed %d: %w", n, err)
		}
		left = left.Crash(0)
		if err := nextRun(left, i.format, i.disks...); err != nil {
			return fmt.Errorf("then the power cut, seed %d, then a run: %w", n, err)
		}
		if err := verifyPoints(left, i.format); err != nil {
			return fmt.Errorf("then the power cut, seed %d, at the end: %w", n, err)
		}
	}
	return nil
}

// crashAt cuts the power at operation k of an import.
func (i imported) crashAt(wrap wrapper, k int) error {
	to := i.start.Crash(1)
	to.Inject(crashfs.Fault{At: k, Kind: crashfs.Crash})
	_, err := importSeed(context.Background(), wrap(to), i.from, i.format)
	if !to.Crashed() {
		return fmt.Errorf("operation %d was not reached: %w", k, err)
	}
	if err := i.goOn(wrap, to, 3, k); err != nil {
		return fmt.Errorf("the power cut at operation %d, %w", k, err)
	}
	return nil
}

// failAt lets one operation of an import fail, and imports again with the store as it is
// then.
func (i imported) failAt(wrap wrapper, fault crashfs.Fault) error {
	to := i.start.Crash(1)
	to.Inject(fault)
	_, _ = importSeed(context.Background(), wrap(to), i.from, i.format) // it may have gone well
	if err := i.goOn(wrap, to, 1, fault.At); err != nil {
		return fmt.Errorf("%v at operation %d, %w", fault, fault.At, err)
	}
	if _, err := importSeed(context.Background(), wrap(to), i.from, i.format); err != nil {
		return fmt.Errorf("%v at operation %d, importing again: %w", fault, fault.At, err)
	}
	if err := nextRun(to.Crash(0), i.format, i.disks...); err != nil {
		return fmt.Errorf("%v at operation %d, importing again and a power cut: %w", fault, fault.At, err)
	}
	return nil
}

// TestCrashAtEveryOperationOfAnImport: the next import goes on and comes to the same.
func TestCrashAtEveryOperationOfAnImport(t *testing.T) {
	for _, i := range importCases(t) {
		t.Run(i.name, func(t *testing.T) {
			sweep(t, changing(i.record(t)), func(k int) error { return i.crashAt(honest, k) })
		})
	}
}

func TestErrorAtEveryOperationOfAnImport(t *testing.T) {
	for _, i := range importCases(t) {
		t.Run(i.name, func(t *testing.T) {
			ops := i.record(t)
			sweep(t, places(ops), func(k int) error { return i.failAt(honest, crashfs.Fault{At: k}) })
			changes := changing(ops)
			sweep(t, changes, func(k int) error {
				return i.failAt(honest, crashfs.Fault{At: k, Err: crashfs.ErrFull, Kind: crashfs.Short})
			})
			sweep(t, changes, func(k int) error { return i.failAt(honest, crashfs.Fault{At: k, Kind: crashfs.Late}) })
		})
	}
}

// TestCrashAtEveryOperationOfAnExport: a seed is whole, or it is none.
func TestCrashAtEveryOperationOfAnExport(t *testing.T) {
	export := func(fsys durable.FS) error {
		_, _, err := resume.ExportSeed(context.Background(), fsys, plain{}, seedOf, seedFrom(0, seedDisks...))
		return err
	}
	var ops []crashfs.Op
	whole := crashfs.New()
	whole.Trace(func(op crashfs.Op) { ops = append(ops, op) })
	must(t, export(whole))
	sweep(t, changing(ops), func(k int) error {
		fsys := crashfs.New()
		fsys.Inject(crashfs.Fault{At: k, Kind: crashfs.Crash})
		if err := export(fsys); err == nil {
			return fmt.Errorf("operation %d was not reached", k)
		}
		for n := range uint64(3) {
			left := fsys.Crash(mix(n, k))
			seed, err := resume.ReadSeed(left, vmDirName)
			if errors.Is(err, resume.ErrNoSeed) {
				if err = export(left); err == nil {
					seed, err = resume.ReadSeed(left, vmDirName)
				}
			}
			if err == nil {
				err = resume.VerifySeed(context.Background(), left, plain{}, vmDirName, seed)
			}
			if err != nil {
				return fmt.Errorf("power cut at operation %d, seed %d: %w", k, n, err)
			}
		}
		return nil
	})
}
