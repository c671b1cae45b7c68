package resume_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// The rig plays a source that sends points of a VM, over a link that is lost: disks
// vanish and appear, one is replaced, and one grows, with blocks that change and blocks
// that become zeros, so that it builds on two others, or on what was received before.
// It notes what the target told it, and holds the target to that after every crash and
// error.

const (
	block  = diskio.BlockBytes
	source = "lyon"
	vmName = "SQL 01"
	// vmDirName is what stands for vmName on disk.
	vmDirName = "sql-01~8ccfa9363d3d2216756f320df90ba702"
)

// A snapshot is one disk held still at the source.
type snapshot struct {
	spec    resume.DiskSpec
	content []byte
	root    digest.Sum
}

// newSnapshot makes a disk from a picture of its blocks: a letter is content, "."
// is zeros. The last block has only tail bytes.
func newSnapshot(name, picture string, tail int) snapshot {
	content := make([]byte, len(picture)*block)
	tree := digest.NewTree(0)
	for i, c := range []byte(picture) {
		b := content[i*block : (i+1)*block]
		if c != '.' {
			for j := range b {
				b[j] = c ^ byte(j>>9) ^ byte(i)
			}
		}
		if i == len(picture)-1 {
			clear(b[tail:])
			b = b[:tail]
		}
		tree.Add(digest.Block(b))
	}
	content = content[:(len(picture)-1)*block+tail]
	root, err := tree.Root(int64(len(content)))
	if err != nil {
		panic(err)
	}
	return snapshot{
		spec: resume.DiskSpec{
			Name: name, ID: diskio.ID{name[0], 7}, Size: int64(len(content)),
			LogicalSectorSize: 512, PhysicalSectorSize: 4096, Identity: name + "/" + picture,
		},
		content: content, root: root,
	}
}

// A phase is what the source wants next.
type phase struct {
	disks  []snapshot
	blocks int  // how many to send before the link is lost
	commit bool // send all, and commit
}

// A story is what a source does, and in which format the target keeps it.
type story struct {
	format resume.Format
	phases []phase
}

// increments are two points after the first one.
var increments = []phase{
	{disks: []snapshot{
		newSnapshot("os", "ab.c", 1536), newSnapshot("tmp", "t", block),
	}, blocks: 4},
	{disks: []snapshot{newSnapshot("os", "ab.c", 1536), newSnapshot("Data", "x", block)}, commit: true},
	{disks: []snapshot{newSnapshot("os", "a..cq", 512), replaced(newSnapshot("Data", ".", block))}, commit: true},
	{disks: []snapshot{newSnapshot("os", "d.e.q", 512)}, commit: true},
}

// changes are a point, and one on it whose disks change while it is parked: one that
// was received in part, twice, the second time growing; and one that was complete.
var changes = []phase{
	{disks: []snapshot{newSnapshot("os", "abc", block)}, commit: true},
	{disks: []snapshot{newSnapshot("os", "xbyzv", 512), newSnapshot("Data", "d", block)}, blocks: 6},
	{disks: []snapshot{newSnapshot("os", "x.Yqv", 512), newSnapshot("Data", "e", block)}, blocks: 2},
	{disks: []snapshot{newSnapshot("os", "xwyqvu", 512), newSnapshot("Data", "e", block)}, commit: true},
}

// A player is the source. It survives the target's crashes.
type player struct {
	story
	phase int
	// point is that of the part under way, as far as the source knows.
	point      string
	generation uint64
	// told is how far the target said each disk is, by the snapshot's identity.
	told map[string]int64
	// asked are the identities that a Begin named last; a Begin that failed may or
	// may not have taken effect.
	asked map[string]bool
}

func newPlayer(s story) *player {
	return &player{story: s, told: map[string]int64{}, asked: map[string]bool{}}
}

func (p *player) clone() *player {
	c := *p
	c.told, c.asked = maps.Clone(p.told), maps.Clone(p.asked)
	return &c
}

func (p *player) config() resume.Config {
	return resume.Config{
		Format: p.format, Software: "wanrep test", Now: func() time.Time { return time.Unix(1, 0) }, Signer: signer,
	}
}

// signer is the target's.
var signer = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// A violation is a broken promise.
type violation struct{ error }

func broken(format string, args ...any) error { return violation{fmt.Errorf(format, args...)} }

func isViolation(err error) bool { return errors.As(err, new(violation)) }

// play opens the store and goes on to the end of the last phase. It returns the
// first error; a violation if a promise is broken.
func (p *player) play(fsys durable.FS) error {
	s, err := resume.Open(fsys, p.config())
	if err != nil {
		return err
	}
	for err == nil && p.phase < len(p.phases) {
		err = p.playPhase(s)
	}
	if err == nil {
		err = p.check(s)
	}
	return errors.Join(err, s.Close())
}

// persist plays on after errors that strike once. It is only the source that goes
// on; the target's store stays open unless opening it is what went wrong.
func (p *player) persist(fsys durable.FS) error {
	var s *resume.Store
	for attempt := range 6 {
		var err error
		if s == nil {
			if s, err = resume.Open(fsys, p.config()); err != nil {
				s = nil
			}
		}
		for err == nil && p.phase < len(p.phases) {
			err = p.playPhase(s)
		}
		if err == nil {
			err = p.check(s)
		}
		switch {
		case err == nil:
			return s.Close()
		case isViolation(err), errors.Is(err, crashfs.ErrCrashed), attempt == 5:
			return err
		}
	}
	return nil
}

func (p *player) playPhase(s *resume.Store) error {
	if err := p.check(s); err != nil {
		return err
	}
	ph := p.phases[p.phase]
	if ph.commit && p.point != "" {
		// The commit may have happened without our hearing of it.
		_, err := s.Point(source, vmName, p.point)
		if err == nil {
			p.advance()
			return nil
		}
		if !errors.Is(err, resume.ErrNoPoint) {
			return err
		}
	}
	part, err := p.begin(s, ph)
	if err != nil {
		return err
	}
	err = p.send(part, ph)
	if err != nil || !ph.commit {
		err = errors.Join(err, part.Close())
		if err == nil {
			p.phase++
		}
		return err
	}
	if _, err := part.Commit(); err != nil {
		return err
	}
	p.advance()
	return p.check(s)
}

// advance goes to the next phase after a commit.
func (p *player) advance() {
	p.phase++
	p.point, p.generation = "", 0
	clear(p.told)
	clear(p.asked)
}

func (p *player) begin(s *resume.Store, ph phase) (*resume.Part, error) {
	var specs []resume.DiskSpec
	for _, d := range ph.disks {
		specs = append(specs, d.spec)
		p.asked[d.spec.Identity] = true
	}
	part, err := s.Begin(source, vmName, specs)
	if err != nil {
		return nil, err
	}
	if part.Point() == p.point && part.Generation() <= p.generation {
		return nil, broken("generation %d of point %s was granted after %d", part.Generation(), p.point, p.generation)
	}
	if part.Point() < p.point {
		return nil, broken("point %s was begun after %s", part.Point(), p.point)
	}
	p.point, p.generation = part.Point(), part.Generation()
	// What was begun anew, or dropped, owes us nothing any more.
	told := map[string]int64{}
	for i, d := range part.Disks() {
		id := d.Spec().Identity
		if err := p.checkBase(d, ph.disks[i]); err != nil {
			return nil, errors.Join(err, part.Close())
		}
		if d.Durable() < p.told[id] {
			return nil, broken("disk %s begins at %d; %d was acknowledged", id, d.Durable(), p.told[id])
		}
		told[id] = d.Durable()
	}
	p.told = told
	p.asked = map[string]bool{}
	for id := range told {
		p.asked[id] = true
	}
	return part, nil
}

// send sends the disks in turn, two blocks at a time.
func (p *player) send(part *resume.Part, ph phase) error {
	left := ph.blocks
	next := make([]int64, len(ph.disks))
	bases := make([]map[int64]digest.Sum, len(ph.disks))
	for i, d := range part.Disks() {
		next[i] = d.Durable()
		var err error
		if bases[i], err = baseOf(d); err != nil {
			return err
		}
	}
	for sending := true; sending; {
		sending = false
		for i, d := range part.Disks() {
			size := d.Spec().Size
			if next[i] >= size || !ph.commit && left <= 0 {
				continue
			}
			sending = true
			from := next[i]
			next[i] = min(from+2*block, size)
			left -= 2
			if err := p.sendBlocks(d, ph.disks[i], bases[i], from, next[i]); err != nil {
				return err
			}
		}
	}
	if !ph.commit {
		return p.loseBlock(part, ph, next)
	}
	for i, d := range part.Disks() {
		if err := d.Finish(ph.disks[i].root); err != nil {
			if errors.Is(err, resume.ErrDigest) {
				return broken("disk %s: %v", d.Spec().Name, err)
			}
			return err
		}
		p.told[d.Spec().Identity] = d.Durable()
	}
	return nil
}

// loseBlock sends one more block of each disk, which is not synced before the link is
// lost.
func (p *player) loseBlock(part *resume.Part, ph phase, next []int64) error {
	for i, d := range part.Disks() {
		end := min(next[i]+block, d.Spec().Size)
		if next[i] == end {
			continue
		}
		if err := d.Write(next[i], ph.disks[i].content[next[i]:end]); err != nil {
			return err
		}
	}
	return nil
}

// sendBlocks sends what differs from the base.
func (p *player) sendBlocks(d *resume.PartDisk, from snapshot, base map[int64]digest.Sum, start, end int64) error {
	for at := start; at < end; at += block {
		b := from.content[at:min(at+block, end)]
		var err error
		if sameAs(base, at, b) {
			err = d.SkipTo(at + int64(len(b)))
		} else {
			err = d.Write(at, b)
		}
		if err != nil {
			return err
		}
	}
	durable, err := d.Sync()
	if err != nil {
		return err
	}
	if durable != end || d.Durable() != end {
		return broken("disk %s is durable up to %d after %d bytes", d.Spec().Name, durable, end)
	}
	p.told[d.Spec().Identity] = durable
	return nil
}

// record plays without faults and returns the operations.
func record(t *testing.T, s story) []crashfs.Op {
	t.Helper()
	fsys := crashfs.New()
	var ops []crashfs.Op
	fsys.Trace(func(op crashfs.Op) { ops = append(ops, op) })
	p := newPlayer(s)
	if err := p.play(fsys); err != nil {
		t.Fatal(err)
	}
	fsys.Trace(nil)
	if err := p.verify(fsys); err != nil {
		t.Fatal(err)
	}
	return ops
}
