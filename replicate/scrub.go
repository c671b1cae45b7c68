package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/replicate/progress"
	"wanrep/resume"
)

// ScrubRules say how a target reads its points again. The zero value is not at all.
type ScrubRules struct {
	// Every is how often a pass begins; 0 is never.
	Every time.Duration
	// Sample is the share of the blocks that a pass reads, above 0 and at most 1.
	// Consecutive passes come to all of them.
	Sample float64
	// MaxRate is how much is read a second, in bytes; 0 is no limit.
	MaxRate int64
}

// A scrubber reads the points of a target again, one disk after the other, beside what
// it receives. Each block of each file is read by one pass only, that of the point
// that has it. Where the pass is survives a restart.
type scrubber struct {
	store  *resume.Store
	rules  ScrubRules
	state  durable.FS // nil: nothing is kept
	log    *slog.Logger
	keeper *keeper
	at     scrubPosition
}

const (
	scrubFile   = "scrub.json"
	scrubSchema = "wanrep.scrub/1"
	// maxScrubBytes is far above the few hundred that a position has.
	maxScrubBytes = 64 << 10
)

// A scrubPosition is how far a pass is.
type scrubPosition struct {
	Schema string    `json:"schema"`
	Pass   uint64    `json:"pass"`
	Begun  time.Time `json:"begun"`
	Done   bool      `json:"done"`
	// The disk that was read last; empty before the first.
	Source string `json:"source"`
	VM     string `json:"vm"`
	Point  string `json:"point"`
	Disk   string `json:"disk"`
}

func newScrubber(cfg TargetConfig, keeper *keeper) *scrubber {
	s := &scrubber{store: cfg.Store, rules: cfg.Scrub, state: cfg.State, log: cfg.Log, keeper: keeper, at: scrubPosition{Done: true}}
	if s.state == nil {
		return s
	}
	b, err := durable.ReadFile(s.state, scrubFile, maxScrubBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return s
	}
	var at scrubPosition
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	if err == nil && at.Schema != scrubSchema {
		err = errors.New("its schema is not " + scrubSchema)
	}
	if err != nil {
		s.log.Warn("where the scrub was is lost, it begins anew", "file", scrubFile, "err", err)
		return s
	}
	s.at = at
	return s
}

// run scrubs until ctx ends.
func (s *scrubber) run(ctx context.Context) {
	if s.rules.Every <= 0 {
		return
	}
	for ctx.Err() == nil {
		if s.at.Done {
			if !sleep(ctx, time.Until(s.at.Begun.Add(s.rules.Every))) {
				return
			}
			s.moved(scrubPosition{Pass: s.at.Pass + 1, Begun: time.Now().UTC()})
		}
		if err := s.pass(ctx); err != nil {
			if ctx.Err() == nil {
				s.log.Error("scrub", "err", err)
			}
			if !sleep(ctx, min(s.rules.Every, scrubRetry)) {
				return
			}
		}
	}
}

// scrubRetry is when a pass that an error ended goes on.
const scrubRetry = 10 * time.Minute

// pass goes on with a pass to its end.
func (s *scrubber) pass(ctx context.Context) error {
	points, err := s.store.List()
	if err != nil {
		return err
	}
	skip := s.known(points)
	var trouble error
	for len(points) > 0 {
		n := slices.IndexFunc(points, func(p resume.Point) bool { return p.Source != points[0].Source || p.VM != points[0].VM })
		if n < 0 {
			n = len(points)
		}
		err := s.scrubVM(ctx, points[:n], &skip)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		trouble = errors.Join(trouble, err)
		points = points[n:]
	}
	s.moved(scrubPosition{Pass: s.at.Pass, Begun: s.at.Begun, Done: true})
	s.log.Info("scrub done", "pass", s.at.Pass, "took", time.Since(s.at.Begun).Round(time.Second))
	return trouble
}

// scrubVM scrubs the points of one VM, beginning behind the disk that was read last if
// skip is set.
func (s *scrubber) scrubVM(ctx context.Context, points []resume.Point, skip *bool) (trouble error) {
	for _, p := range points {
		for _, d := range p.Disks {
			if *skip {
				*skip = !s.is(p, d.Disk)
				continue
			}
			if p.State != resume.StateCommitted {
				continue
			}
			err := s.keeper.scrub(ctx, p, resume.VerifyOptions{
				Own: true, Disk: d.Disk, Sample: s.rules.Sample, Seed: s.at.Pass, MaxRate: s.rules.MaxRate,
			})
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil && !errors.Is(err, resume.ErrNoPoint) { // else it was pruned
				trouble = errors.Join(trouble, fmt.Errorf("disk %q of point %s: %w", diskio.Printable(d.Disk), p.Point, err))
			}
			s.moved(scrubPosition{Pass: s.at.Pass, Begun: s.at.Begun, Source: p.Source, VM: p.VM, Point: p.Point, Disk: d.Disk})
		}
	}
	if *skip || trouble != nil {
		return trouble
	}
	return s.keeper.verified(vmKey{points[0].Source, points[0].VM}, points)
}

func (s *scrubber) is(p resume.Point, disk string) bool {
	return p.Source == s.at.Source && p.VM == s.at.VM && p.Point == s.at.Point && disk == s.at.Disk
}

// known reports whether the store still has the disk that was read last.
func (s *scrubber) known(points []resume.Point) bool {
	for _, p := range points {
		for _, d := range p.Disks {
			if s.is(p, d.Disk) {
				return true
			}
		}
	}
	return false
}

// moved notes where the pass is.
func (s *scrubber) moved(at scrubPosition) {
	s.at = at
	if s.state == nil {
		return
	}
	at.Schema = scrubSchema
	b, err := json.MarshalIndent(at, "", "  ")
	if err == nil {
		err = durable.WriteFile(s.state, scrubFile, append(b, '\n'), 0o600)
	}
	if err != nil {
		s.log.Warn("where the scrub is can't be kept", "file", scrubFile, "err", err)
	}
}

// scrub reads a part of a point again, tells what is damaged, and lets that be healed.
func (k *keeper) scrub(ctx context.Context, p resume.Point, o resume.VerifyOptions) error {
	key := vmKey{p.Source, p.VM}
	before, err := k.store.Damage(p.Source, p.VM)
	if err != nil {
		return err
	}
	err = k.store.Scrub(ctx, p, o, func(resume.VerifyProblem) {})
	after, again := k.store.Damage(p.Source, p.VM)
	if again != nil {
		return errors.Join(err, again)
	}
	if k.tellDamage(key, before, after, nil) {
		k.committed(key) // what has rotted may be in a later point
	}
	return err
}

// heal heals what can be healed of a VM's points, and tells what was.
func (k *keeper) heal(ctx context.Context, key vmKey) error {
	before, err := k.store.Damage(key.source, key.vm)
	if err != nil || len(before) == 0 {
		return err
	}
	k.working.Lock()
	healed, err := k.store.Heal(ctx, key.source, key.vm, k.healRate)
	k.working.Unlock()
	for _, h := range healed {
		k.event(progress.Info, key, healedText(h))
		k.log.Info("damage healed", "vm", key.vm, "point", h.Point, "disk", h.Disk, "blocks", h.Blocks, "digests", h.Digests)
	}
	after, again := k.store.Damage(key.source, key.vm)
	k.tellDamage(key, before, after, healed)
	return errors.Join(err, again)
}

func healedText(h resume.Healed) string {
	var what []string
	if h.Blocks > 0 {
		what = append(what, blocks(h.Blocks))
	}
	if h.Digests {
		what = append(what, "the digests")
	}
	return fmt.Sprintf("healed %s of disk %s in point %s", strings.Join(what, " and "), h.Disk, h.Point)
}

func blocks(n int) string {
	if n == 1 {
		return "1 block"
	}
	return fmt.Sprintf("%d blocks", n)
}

// tellDamage puts on the board what is damaged now, and reports whether some of it is
// new. Of what is good again it tells only what was not healed.
func (k *keeper) tellDamage(key vmKey, before, after []resume.Damage, healed []resume.Healed) (grew bool) {
	type disk struct{ point, disk string }
	was, is := map[disk]resume.Damage{}, map[disk]resume.Damage{}
	for _, d := range before {
		was[disk{d.Point, d.Disk}] = d
	}
	for _, d := range after {
		at := disk{d.Point, d.Disk}
		is[at] = d
		old := was[at]
		k.board.CountDamage(key.source, key.vm, d.Disk, int64(max(0, d.Blocks()-old.Blocks())), 0)
		if d.Blocks() > old.Blocks() || d.File != "" && old.File == "" || d.Digests != "" && old.Digests == "" {
			grew = true
			k.event(progress.Error, key, "found damage: "+DamageText(d))
			k.log.Error("damage found", "vm", key.vm, "point", d.Point, "disk", d.Disk, "blocks", d.Blocks(), "file", d.File, "digests", d.Digests)
		} else if d.Stays != old.Stays && d.Stays != "" && old.Stays != "" {
			k.event(progress.Warning, key, DamageText(d))
		}
	}
	for _, h := range healed {
		k.board.CountDamage(key.source, key.vm, h.Disk, 0, int64(h.Blocks))
		delete(was, disk{h.Point, h.Disk})
	}
	for at := range was {
		if _, damaged := is[at]; !damaged {
			k.event(progress.Info, key, fmt.Sprintf("disk %s of point %s is good again", at.disk, at.point))
		}
	}
	k.showDamage(key)
	return grew
}

// DamageText says in a line what is damaged of one disk.
func DamageText(d resume.Damage) string {
	var what []string
	if n := d.Blocks(); n > 0 {
		what = append(what, fmt.Sprintf("%s, the first at %d", blocks(n), d.Extents[0].Start))
	}
	for _, more := range []string{d.File, d.Digests} {
		if more != "" {
			what = append(what, more)
		}
	}
	text := fmt.Sprintf("disk %s of point %s: %s", d.Disk, d.Point, strings.Join(what, "; "))
	if d.Stays != "" {
		text += ": " + d.Stays
	}
	return text
}

// showDamage puts on the board what is wrong with the points of a VM.
func (k *keeper) showDamage(key vmKey) {
	points, err := k.store.ListVM(key.source, key.vm)
	if err != nil {
		k.log.Error("list the points of a VM", "vm", key.vm, "err", err)
		return
	}
	text, blocks := damageOf(points)
	k.board.VM(key.source, key.vm, func(b *progress.VM) { b.Damage = diskio.Printable(text) })
	k.board.SetDamaged(key.source, key.vm, blocks)
}

// damageOf says what is wrong with the points of a VM, nothing if it is empty, and how
// many blocks of each disk are damaged.
func damageOf(points []resume.Point) (text string, blocks map[string]int64) {
	more := 0
	blocks = map[string]int64{}
	for _, p := range points {
		for _, d := range p.Damage {
			blocks[d.Disk] += int64(d.Blocks())
		}
		switch {
		case p.State == resume.StateDamaged:
			text, more = "point "+p.Point+" can't be read", more+1
		case len(p.Damage) > 0:
			text, more = DamageText(p.Damage[0]), more+len(p.Damage)
		}
	}
	if more > 1 {
		text += fmt.Sprintf("; and %d more", more-1)
	}
	return text, blocks
}
