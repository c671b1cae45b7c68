package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/replicate"
	"wanrep/replicate/control"
	"wanrep/resume"
)

// testedFlags say of which point a failover was tested.
type testedFlags struct {
	pointsFlags
	pointQuery
	undo bool
	json bool
}

func newPointsTestedCommand() *cobra.Command {
	f := testedFlags{pointQuery: pointQuery{point: latest}}
	cmd := &cobra.Command{
		Use:   "tested",
		Short: "Say that a failover to a restore point was tested and worked",
		Long: `Say, at the target, that a failover to a restore point was tested and worked: its
disks were exported or attached, the VM was started from them, and what it is for
runs. wanrep can't see that, so that it believes whoever says it. It is kept with
the store, and shown by points list, points show, status, top and the metrics. The
point itself is not written to, and verify and export do not count as a test.

--undo takes back what was said of a point, or what was said last.`,
		Example: `  wanrep points tested --vm sql01
  wanrep points tested --source branch-lyon --vm sql01 --point 0000000000000003
  wanrep points tested --store /srv/wanrep --vm sql01 --undo`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(replicate.TestedSchema),
		RunE:        func(cmd *cobra.Command, args []string) error { return f.run(cmd) },
	}
	f.addWithSocket(cmd)
	f.pointQuery.add(cmd)
	f.complete(cmd, &f.pointQuery)
	cmd.Flags().BoolVar(&f.undo, "undo", false, "take it back")
	cmd.MarkFlagRequired("vm")
	addJSONFlag(cmd, &f.json)
	return cmd
}

func (f *testedFlags) run(cmd *cobra.Command) error {
	points, err := f.list(cmd.Context())
	if err != nil {
		return err
	}
	p, err := f.choose(points, cmd.Flags().Changed("point"))
	if err != nil {
		return err
	}
	report, err := f.note(cmd.Context(), replicate.TestedRequest{Source: p.Source, VM: p.VM, Point: p.Point, Undo: f.undo})
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd, report)
	}
	said := "noted: a failover of %s of %s to point %s, of %s, was tested and worked\n"
	if f.undo {
		said = "taken back: a failover of %s of %s to point %s, of %s, counts as not tested\n"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), said, diskio.Printable(p.VM), diskio.Printable(p.Source), p.Point, pointTime(p))
	return err
}

// choose returns the point that is meant. What is taken back without naming a point is
// what was said last.
func (f *testedFlags) choose(points []resume.Point, named bool) (resume.Point, error) {
	if !f.undo || named {
		return f.findOne(points, false)
	}
	q := f.pointQuery
	q.point = ""
	found, err := q.find(points, false)
	if err != nil {
		return resume.Point{}, err
	}
	for _, p := range found {
		if p.Source != found[0].Source {
			return f.findOne(points, false) // which tells that it is not clear
		}
	}
	last := slices.MaxFunc(found, func(a, b resume.Point) int { return a.Tested.Compare(b.Tested) })
	if last.Tested.IsZero() {
		return last, fail(exitFailed, "wanrep points list shows which were tested", "no restore point that was tested%s", q.words())
	}
	return last, nil
}

// note tells the running appliance, or the store that was named or that the config names.
func (f *testedFlags) note(ctx context.Context, r replicate.TestedRequest) (replicate.TestedReport, error) {
	if f.store != "" {
		return f.noteInStore(nil, r)
	}
	var report replicate.TestedReport
	client, cfg, err := f.client()
	if err != nil {
		return report, err
	}
	answer, err := client.NoteTested(ctx, r)
	var unreachable *control.UnreachableError
	if cfg != nil && errors.As(err, &unreachable) && !unreachable.Forbidden() {
		return f.noteInStore(cfg, r)
	}
	if err != nil {
		return report, answered(err)
	}
	if err := json.Unmarshal(answer, &report); err != nil {
		return report, fmt.Errorf("read the appliance's answer: %w", err)
	}
	return report, nil
}

func (f *testedFlags) noteInStore(cfg *configs.Config, r replicate.TestedRequest) (replicate.TestedReport, error) {
	store, err := f.openToChange(cfg)
	if err != nil {
		return replicate.TestedReport{}, err
	}
	defer store.Close()
	report, err := replicate.NoteTested(store, r)
	if err != nil {
		err = fmt.Errorf("note that point %s was tested: %w", r.Point, err)
	}
	return report, err
}

// testedText is when a failover to a point was tested.
func testedText(p resume.Point) string {
	if p.Tested.IsZero() {
		return "-"
	}
	return p.Tested.UTC().Format(time.DateOnly)
}
