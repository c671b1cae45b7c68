package resume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// A VerifyProblem is a part of a committed point that is not what was committed.
type VerifyProblem struct {
	Point  string
	Disk   string // empty if it concerns all of them
	Extent diskio.Extent
	What   string
}

// What is wrong with an extent.
const (
	whatContent = "content differs from its digest"
	whatRead    = "content can't be read: "
	whatDigests = "digests file: "
	whatBase    = ", in what base point %s has"
	// whatManifest begins what is wrong with a manifest.
	whatManifest = "manifest: "
)

// Verify reads all of a committed point again, compares the digest of each block
// with the digests file and the digests file with the root in the manifest, and
// the manifest with its signature. It calls report for each extent that is wrong,
// in the order of the disks and of their content. It returns an error if it could
// not go through: ctx's, ErrPruned, or one that says why the manifest can't be had.
// What only the VM's points together tell is VerifyChain's.
func Verify(ctx context.Context, s *Store, p Point, report func(VerifyProblem)) error {
	return VerifySome(ctx, s, p, VerifyOptions{}, report)
}

// VerifySome is Verify for the part of a point that the options name, at the rate
// that they allow. The digests files are read whole all the same.
func VerifySome(ctx context.Context, s *Store, p Point, o VerifyOptions, report func(VerifyProblem)) error {
	return verifySome(ctx, s, p, o, report, nil)
}

func verifySome(ctx context.Context, s *Store, p Point, o VerifyOptions, report func(VerifyProblem), found *findings) error {
	r, err := s.Read(p)
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = verify(ctx, s, p, o, found, func(v VerifyProblem) {
		switch {
		case ctx.Err() != nil:
		case r.Pruned():
			cancel(ErrPruned)
		default:
			report(v)
		}
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func verify(ctx context.Context, s *Store, p Point, o VerifyOptions, found *findings, report func(VerifyProblem)) error {
	m, err := s.Manifest(p)
	if isDamaged(err) {
		report(VerifyProblem{Point: p.Point, What: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.checkSignature(); err != nil {
		report(VerifyProblem{Point: p.Point, What: whatManifest + err.Error()})
	}
	vm, err := vmDir(m.Source, m.VM)
	if err != nil {
		return err
	}
	chains, pace := s.chains(vm), &pacer{rate: o.MaxRate}
	for _, d := range m.Disks {
		if o.Disk != "" && o.Disk != d.Name {
			continue
		}
		v := &verifier{
			store: s, chains: chains, dir: path.Join(vm, pointsName, m.Point), disk: d, pace: pace,
			only: o.within(d.VirtualSize), sample: o.sampler(m.Point, d.Name),
			own: o.Own, found: found, report: report, problem: VerifyProblem{Point: m.Point, Disk: d.Name},
		}
		if err := v.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A verifier verifies one disk.
type verifier struct {
	store  *Store
	chains *chains
	dir    string
	disk   ManifestDisk
	only   []diskio.Extent // what to read, ascending
	sample sampler
	own    bool // leave out what the disk builds on
	pace   *pacer
	found  *findings
	report func(VerifyProblem)

	problem VerifyProblem // being extended; reported when its extent ends
	content Content
	data    diskio.Extent // the next extent of the content that is stored
	tree    *digest.Tree  // of the content, if all of it is read
	unread  bool          // some block could not be read
}

// run compares the disk's content with its digests, in ascending order and with
// little memory. If the digests can't be trusted, it compares the content with the
// root instead, which takes all of it.
func (v *verifier) run(ctx context.Context) error {
	whole := diskio.Extent{Length: v.disk.VirtualSize}
	content, err := v.store.cfg.Format.Open(v.store.fsys, path.Join(v.dir, v.disk.File))
	if err != nil {
		v.noteUnopened(err)
		v.tell(whole, whatRead+err.Error())
		v.flush()
		return nil
	}
	defer content.Close()
	if content.Size() != v.disk.VirtualSize {
		what := fmt.Sprintf("the disk has %d bytes, not %d", content.Size(), v.disk.VirtualSize)
		v.found.file(v.problem.Point, v.disk, what)
		v.tell(whole, what)
		v.flush()
		return nil
	}
	if v.whole() {
		v.found.file(v.problem.Point, v.disk, "")
	}
	v.content, v.tree = content, digest.NewTree(0)
	trusted := v.checkDigests()
	if !trusted && !v.whole() {
		return nil
	}
	if err := v.compare(ctx, trusted); err != nil {
		return err
	}
	if !trusted && !v.unread {
		root, err := v.tree.Root(v.disk.VirtualSize)
		if err != nil {
			return err
		}
		if root != v.disk.Root {
			v.tell(whole, "content differs from the root in the manifest")
		}
	}
	v.flush()
	return nil
}

// checkDigests compares the digests file with the root in the manifest.
func (v *verifier) checkDigests() bool {
	err := v.withDigests(0, func(m *digestsMerge) error {
		t := digest.NewTree(0)
		if err := m.extend(t, digest.Blocks(v.disk.VirtualSize)); err != nil {
			return err
		}
		root, err := t.Root(v.disk.VirtualSize)
		if err == nil && root != v.disk.Root {
			err = errRoot
		}
		return err
	})
	v.noteDigests(err)
	var own *baseError
	if errors.As(err, &own) && own.point == v.problem.Point {
		err = own.err
	}
	if err != nil {
		v.tell(diskio.Extent{Length: v.disk.VirtualSize}, whatDigests+err.Error())
		v.flush()
	}
	return err == nil
}

// withDigests lets use read the digests from a block on.
func (v *verifier) withDigests(from int64, use func(*digestsMerge) error) error {
	l, err := v.chains.layer(v.problem.Point, v.disk.Name)
	if err != nil {
		return err
	}
	m, err := mergeDigests(v.store.fsys, l, from)
	if err != nil {
		return err
	}
	defer m.Close()
	return use(m)
}

// compare goes through all blocks that are stored or have a digest. Without
// trusted digests it only digests what is stored.
func (v *verifier) compare(ctx context.Context, trusted bool) error {
	if !trusted {
		return v.walk(ctx, func() (int64, digest.Sum, string, error) { return 0, digest.Sum{}, "", io.EOF }, false)
	}
	from := v.first()
	return v.withDigests(from, func(m *digestsMerge) error { return v.walk(ctx, m.read, true) })
}

// walk merges two ascending lists of blocks: those of the records and those that
// are stored. A block in neither is zeros in both. It reads those of them that are
// to be read.
func (v *verifier) walk(ctx context.Context, next func() (int64, digest.Sum, string, error), judge bool) error {
	blocks := v.behind()
	buf := make([]byte, diskio.BlockBytes)
	index, want, point, err := next()
	for at := v.first(); ; at++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && err != io.EOF {
			return err
		}
		stored := v.storedAt(at, blocks)
		recorded := blocks
		if err == nil {
			recorded = index
		}
		at = min(stored, recorded)
		if at >= blocks {
			v.tree.SkipTo(blocks)
			return nil
		}
		expected, from := digest.ZeroBlock(), v.problem.Point
		if at == recorded {
			expected, from = want, point
			index, want, point, err = next()
		}
		if !v.has(at) || v.own && from != v.problem.Point {
			continue
		}
		if err := v.pace.wait(ctx, diskio.BlockBytes); err != nil {
			return err
		}
		good := v.block(at, buf, expected, from, judge)
		if judge {
			v.found.block(from, v.disk, at, good)
		}
	}
}

// first returns the first block that is to be read, and behind the one behind the last.
func (v *verifier) first() int64 { return v.only[0].Start / diskio.BlockBytes }

func (v *verifier) behind() (block int64) {
	for _, e := range v.only {
		block = max(block, digest.Blocks(e.End()))
	}
	return block
}

// has reports whether a block is to be read. The blocks are asked for in their order.
func (v *verifier) has(block int64) bool {
	for len(v.only) > 1 && digest.Blocks(v.only[0].End()) <= block {
		v.only = v.only[1:]
	}
	return v.only[0].Start <= block*diskio.BlockBytes && block < digest.Blocks(v.only[0].End()) && v.sample.has(block)
}

// whole reports whether all of the disk is read.
func (v *verifier) whole() bool {
	return v.sample.all && v.only[0] == diskio.Extent{Length: v.disk.VirtualSize}
}

// storedAt returns the first block at or after at of which something is stored.
// Where the content can't tell, every block counts.
func (v *verifier) storedAt(at, blocks int64) int64 {
	off := at * diskio.BlockBytes
	if at >= blocks {
		return blocks
	}
	if off >= v.data.End() {
		start, length, err := v.content.NextData(off)
		switch {
		case err == io.EOF:
			v.data = diskio.Extent{Start: v.disk.VirtualSize, Length: 1}
		case err != nil || length <= 0:
			v.data = diskio.Extent{Start: off, Length: diskio.BlockBytes}
		default:
			v.data = diskio.Extent{Start: max(start, off), Length: start + length - max(start, off)}
		}
	}
	return min(max(at, v.data.Start/diskio.BlockBytes), blocks)
}

// block reads one block, which the point from has, and compares its digest. It reports
// whether it is what it was.
func (v *verifier) block(at int64, buf []byte, want digest.Sum, from string, judge bool) bool {
	off := at * diskio.BlockBytes
	buf = buf[:min(diskio.BlockBytes, v.disk.VirtualSize-off)]
	extent := diskio.Extent{Start: off, Length: int64(len(buf))}
	v.tree.SkipTo(at)
	n, err := v.content.ReadAt(buf, off)
	if n < len(buf) && err != nil {
		v.unread = true
		v.tree.Add(digest.ZeroBlock())
		v.tell(extent, whatRead+err.Error())
		return false
	}
	sum := digest.Block(buf)
	v.tree.Add(sum)
	switch {
	case !judge || sum == want:
		return true
	case from == v.problem.Point:
		v.tell(extent, whatContent)
	default:
		v.tell(extent, whatContent+fmt.Sprintf(whatBase, from))
	}
	return false
}

// tell notes a problem. One that goes on where the last one ended becomes part of
// it.
func (v *verifier) tell(e diskio.Extent, what string) {
	what = diskio.Printable(what)
	if v.problem.What == what && v.problem.Extent.End() == e.Start {
		v.problem.Extent.Length += e.Length
		return
	}
	v.flush()
	v.problem.Extent, v.problem.What = e, what
}

// flush reports the problem that was noted.
func (v *verifier) flush() {
	if v.problem.What != "" {
		v.report(v.problem)
	}
	v.problem.What = ""
}
