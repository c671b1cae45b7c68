package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/replicate"
	"wanrep/replicate/control"
	"wanrep/resume"
)

// remember lets what differs, and what was known to, be read again by whoever has the
// store, and be noted by it: the running appliance, or this process if none runs. A
// store of which neither can be asked is left as it is.
func (v *verification) remember(ctx context.Context) error {
	if v.flags.offline || len(v.again) == 0 {
		return nil
	}
	var cfg *configs.Config
	var client *control.Client
	if v.flags.store == "" {
		var err error
		if client, cfg, err = v.flags.client(); err != nil {
			return err
		}
	}
	store, err := v.flags.openToChange(cfg)
	locked, isLocked := errors.AsType[*durable.LockedError](err)
	switch {
	case err == nil:
		defer store.Close()
		err = v.scrub(ctx, store)
	case isLocked && client != nil:
		err = v.askToScrub(ctx, client)
	case isLocked:
		_, err = fmt.Fprintf(v.out, "not noted in the store, which is in use by %s: verify with the --config of that appliance, and it notes it\n", diskio.Printable(locked.Owner))
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		_, err = fmt.Fprintf(v.out, "not noted in the store: %s\n", diskio.Printable(err.Error()))
		return err
	}
	v.doc.Noted = true
	return nil
}

func (v *verification) scrub(ctx context.Context, store *resume.Store) error {
	for _, a := range v.again {
		o := resume.VerifyOptions{Disk: a.disk, MaxRate: int64(v.flags.rate)}
		for _, e := range a.extents {
			o.Extents = append(o.Extents, diskio.Extent(e))
		}
		err := store.Scrub(ctx, a.point, o, func(resume.VerifyProblem) {})
		if err != nil && !errors.Is(err, resume.ErrNoPoint) {
			return err
		}
	}
	return nil
}

// maxScrubExtents is how many extents fit into a request to an appliance.
const maxScrubExtents = 500

func (v *verification) askToScrub(ctx context.Context, client *control.Client) error {
	for _, a := range v.again {
		for extents := range slices.Chunk(a.extents, maxScrubExtents) {
			err := client.Scrub(ctx, replicate.ScrubRequest{
				Source: a.point.Source, VM: a.point.VM, Point: a.point.Point, Disk: a.disk, Extents: extents,
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// A rereading is what of a disk of a point is to be read again.
type rereading struct {
	point   resume.Point
	disk    string
	extents []resume.DamagedExtent
}

// maxRereadings bounds how many extents are read again; the rest is for the scrub.
const maxRereadings = 10000

// noteRereading notes what of a point differs, or did.
func (v *verification) noteRereading(p resume.Point, problems []verifyProblem) {
	for _, w := range problems {
		if w.Disk != "" {
			v.noteExtent(p, w.Disk, resume.DamagedExtent{Start: w.Start, Length: w.Length})
		}
	}
	for _, d := range p.Damage {
		for _, e := range d.Extents {
			v.noteExtent(p, d.Disk, e)
		}
	}
}

func (v *verification) noteExtent(p resume.Point, disk string, e resume.DamagedExtent) {
	if v.rereadings++; v.rereadings > maxRereadings {
		return
	}
	last := len(v.again) - 1
	if last < 0 || v.again[last].disk != disk || v.again[last].point.Point != p.Point || v.again[last].point.VM != p.VM || v.again[last].point.Source != p.Source {
		v.again = append(v.again, rereading{point: p, disk: disk})
		last++
	}
	v.again[last].extents = append(v.again[last].extents, e)
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
