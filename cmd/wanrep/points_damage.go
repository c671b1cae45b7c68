package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/resume"
)

// remember reads again what differs, and what was known to, in a store that this process
// has for itself, which remembers it. A store that somebody else has, or that can't be
// written to, is left as it is: the appliance scrubs it.
func (v *verification) remember(ctx context.Context) error {
	if v.flags.offline || len(v.again) == 0 {
		return nil
	}
	var cfg *configs.Config
	if v.flags.store == "" {
		var err error
		if cfg, err = v.flags.load(); err != nil {
			return err
		}
	}
	store, err := v.flags.openToChange(cfg)
	if locked, ok := errors.AsType[*durable.LockedError](err); ok {
		_, err := fmt.Fprintf(v.out, "not noted in the store, which is in use by %s: the next scrub there notes it\n", diskio.Printable(locked.Owner))
		return err
	}
	if err != nil {
		_, err := fmt.Fprintf(v.out, "not noted in the store: %s\n", diskio.Printable(err.Error()))
		return err
	}
	defer store.Close()
	for _, a := range v.again {
		o := resume.VerifyOptions{Disk: a.disk, Extent: a.extent, MaxRate: int64(v.flags.rate)}
		if err := store.Scrub(ctx, a.point, o, func(resume.VerifyProblem) {}); err != nil && !errors.Is(err, resume.ErrNoPoint) {
			return fmt.Errorf("note what is damaged: %w", err)
		}
	}
	return nil
}

// A rereading is what of a point is to be read again.
type rereading struct {
	point  resume.Point
	disk   string
	extent diskio.Extent
}

// maxRereadings bounds what is read again; the rest is for the scrub.
const maxRereadings = 10000

// noteRereading notes what of a point differs, or did.
func (v *verification) noteRereading(p resume.Point, problems []verifyProblem) {
	for _, w := range problems {
		if w.Disk != "" && len(v.again) < maxRereadings {
			v.again = append(v.again, rereading{p, w.Disk, diskio.Extent{Start: w.Start, Length: w.Length}})
		}
	}
	for _, d := range p.Damage {
		for _, e := range d.Extents {
			if len(v.again) < maxRereadings {
				v.again = append(v.again, rereading{p, d.Disk, diskio.Extent{Start: e.Start, Length: e.Length}})
			}
		}
	}
}

// stateOf is a point's state, and whether it has damage, or one on which it builds has
// that it has too.
func stateOf(p resume.Point) string {
	switch {
	case len(p.Damage) > 0:
		return p.State + ", damage"
	case p.OnDamage:
		return p.State + ", on damage"
	}
	return p.State
}

// printDamage lists what is known to be damaged of a point.
func printDamage(cmd *cobra.Command, p resume.Point) error {
	out := cmd.OutOrStdout()
	if p.OnDamage {
		if _, err := fmt.Fprintln(out, "damage  it has damaged content of a point on which it builds"); err != nil {
			return err
		}
	}
	for _, d := range p.Damage {
		for _, e := range d.Extents {
			if err := printDamageLine(out, d, fmt.Sprintf("%d bytes at %d", e.Length, e.Start)); err != nil {
				return err
			}
		}
		for _, what := range []string{d.File, d.Digests} {
			if what == "" {
				continue
			}
			if err := printDamageLine(out, d, what); err != nil {
				return err
			}
		}
		if d.Stays != "" {
			if err := printDamageLine(out, d, "not healed yet: "+d.Stays); err != nil {
				return err
			}
		}
	}
	return nil
}

func printDamageLine(out io.Writer, d resume.Damage, what string) error {
	_, err := fmt.Fprintf(out, "damage  disk %s: %s\n", diskio.Printable(d.Disk), diskio.Printable(what))
	return err
}
