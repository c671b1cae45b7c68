package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/replicate"
	"wanrep/replicate/control"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// pointSchema names the document of "wanrep points show".
const pointSchema = "wanrep.point/1"

func newPointsCommand() *cobra.Command {
	return newGroup("points", "Look at the restore points of a target",
		`Look at the restore points of a target: those in the store at --store, those of
the running appliance, or those in the store that its config names. Seeds carry
the first point of a VM there.`,
		`  wanrep points list --store /srv/wanrep
  wanrep points verify --store /srv/wanrep --vm sql01
  wanrep points export --vm sql01 --point latest --to /srv/restore`,
		newPointsListCommand(),
		newPointsShowCommand(),
		newPointsVerifyCommand(),
		newPointsExportCommand(),
		newPointsTestedCommand(),
		newPointsPruneCommand(),
		newPointsSeedCommand(),
	)
}

// pointsFlags say where the points are.
type pointsFlags struct {
	addressed
	store string
}

func (f *pointsFlags) add(cmd *cobra.Command) {
	f.addConfig(cmd)
	cmd.Flags().StringVar(&f.store, "store", "", "`directory` of the store, with or without a running appliance")
	cmd.MarkFlagsMutuallyExclusive("config", "store")
}

func (f *pointsFlags) addWithSocket(cmd *cobra.Command) {
	f.addSocket(cmd)
	cmd.Flags().StringVar(&f.store, "store", "", "`directory` of the store, with or without a running appliance")
	cmd.MarkFlagsMutuallyExclusive("config", "store")
	cmd.MarkFlagsMutuallyExclusive("socket", "store")
}

// openStore opens the store for reading, beside an appliance that may be working
// on it.
func (f *pointsFlags) openStore(format resume.Format) (*resume.Store, error) {
	path := f.store
	if path == "" {
		cfg, err := f.load()
		if err != nil {
			return nil, err
		}
		if path, err = storeOf(cfg); err != nil {
			return nil, err
		}
	}
	dir, err := durable.OS(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(exitFailed, "--store names the directory that the target's config has as store.path",
			"there is no store at %s", diskio.Printable(path))
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	store, err := resume.OpenReadOnly(dir, resume.Config{Format: format})
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("open store %s: %w", diskio.Printable(path), err)
	}
	return store, nil
}

// storeOf returns the store of the appliance that a config describes.
func storeOf(cfg *configs.Config) (string, error) {
	if cfg.Role != configs.RoleTarget {
		return "", fail(exitUsage, "run this at the target, or give --store", "%s is the config of a source, which has no points", cfg.File)
	}
	return cfg.Store.Path, nil
}

// list returns all points: from the store if that was named, else from the
// running appliance, else from the store that the config names.
func (f *pointsFlags) list(ctx context.Context) ([]resume.Point, error) {
	if f.store == "" {
		client, cfg, err := f.client()
		if err != nil {
			return nil, err
		}
		if cfg != nil {
			if _, err := storeOf(cfg); err != nil {
				return nil, err
			}
		}
		doc, err := client.Points(ctx)
		var unreachable *control.UnreachableError
		if err == nil {
			var points replicate.Points
			if err := json.Unmarshal(doc, &points); err != nil {
				return nil, fmt.Errorf("read the appliance's answer: %w", err)
			}
			return points.Points, nil
		}
		if cfg == nil || !errors.As(err, &unreachable) {
			return nil, answered(err)
		}
	}
	store, err := f.openStore(vhdxstore.Format{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return store.List()
}

func newPointsListCommand() *cobra.Command {
	var f pointsFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the restore points and the parts being received",
		Example: `  wanrep points list
  wanrep points list --store /srv/wanrep --json`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(replicate.PointsSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			points, err := f.list(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				if points == nil {
					points = []resume.Point{}
				}
				return printJSON(cmd, replicate.Points{Schema: replicate.PointsSchema, Points: points})
			}
			return printPoints(cmd, points)
		},
	}
	f.addWithSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printPoints(cmd *cobra.Command, points []resume.Point) error {
	if len(points) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "no restore points")
		return err
	}
	rows := make([][]string, 0, len(points))
	for _, p := range points {
		stored := int64(0)
		for _, d := range p.Disks {
			stored += d.Stored
		}
		rows = append(rows, []string{p.Source, p.VM, p.Point, stateOf(p), pointTime(p), fmt.Sprint(len(p.Disks)), formatBytes(stored), testedText(p)})
	}
	return printTable(cmd.OutOrStdout(), []string{"SOURCE", "VM", "POINT", "STATE", "TIME", "DISKS", "STORED", "TESTED"}, rows)
}

func pointTime(p resume.Point) string {
	if p.Time.IsZero() {
		return "unknown"
	}
	return p.Time.UTC().Format(time.DateTime) + " UTC"
}

// latest is what names the newest committed point of a VM.
const latest = "latest"

// A pointQuery says which points are meant. What is empty matches all.
type pointQuery struct {
	source, vm, point string
}

func (q *pointQuery) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.source, "source", "", "`name` of the source whose VM it is")
	cmd.Flags().StringVar(&q.vm, "vm", "", "`name` of the VM")
	cmd.Flags().StringVar(&q.point, "point", q.point, "`point` as list prints it, or \"latest\"")
}

// find returns the points that are meant; parts are left out if only points will
// do.
func (q pointQuery) find(points []resume.Point, parts bool) ([]resume.Point, error) {
	var found []resume.Point
	for _, p := range points {
		if q.source != "" && p.Source != q.source || q.vm != "" && p.VM != q.vm || !parts && p.State == resume.StatePart {
			continue
		}
		switch {
		case q.point == "" || q.point == p.Point:
			found = append(found, p)
		case q.point == latest && p.State == resume.StateCommitted:
			// The points of a VM come in their order, so that the last one stays.
			found = slices.DeleteFunc(found, func(o resume.Point) bool { return o.Source == p.Source && o.VM == p.VM })
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil, fail(exitFailed, "wanrep points list shows what there is", "no restore point%s", q.words())
	}
	return found, nil
}

// findOne returns the one point that is meant.
func (q pointQuery) findOne(points []resume.Point, parts bool) (resume.Point, error) {
	found, err := q.find(points, parts)
	if err != nil {
		return resume.Point{}, err
	}
	if len(found) > 1 {
		return resume.Point{}, fail(exitUsage, "say which one with --source, --vm and --point",
			"%d restore points are meant%s", len(found), q.words())
	}
	return found[0], nil
}

// words says in a message what was asked for.
func (q pointQuery) words() string {
	var b strings.Builder
	for _, w := range [][2]string{{"source", q.source}, {"VM", q.vm}, {"point", q.point}} {
		if w[1] != "" {
			fmt.Fprintf(&b, ", %s %q", w[0], w[1])
		}
	}
	return b.String()
}

func newPointsShowCommand() *cobra.Command {
	var f pointsFlags
	q := pointQuery{point: latest}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show one restore point with its disks",
		Example: `  wanrep points show --vm sql01
  wanrep points show --store /srv/wanrep --source branch-lyon --vm sql01 --point 0000000000000003 --json`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(pointSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			points, err := f.list(cmd.Context())
			if err != nil {
				return err
			}
			p, err := q.findOne(points, true)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, struct {
					Schema string       `json:"schema"`
					Point  resume.Point `json:"point"`
				}{pointSchema, p})
			}
			return printPoint(cmd, p)
		},
	}
	f.addWithSocket(cmd)
	q.add(cmd)
	f.complete(cmd, &q)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printPoint(cmd *cobra.Command, p resume.Point) error {
	base := p.Base
	if base == "" {
		base = "none"
	}
	facts := [][2]string{{"source", p.Source}, {"VM", p.VM}, {"point", p.Point}, {"base", base}, {"state", stateOf(p)}, {"time", pointTime(p)}}
	if !p.Tested.IsZero() {
		facts = append(facts, [2]string{"tested", p.Tested.UTC().Format(time.DateTime) + " UTC"})
	}
	for _, row := range facts {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-7s %s\n", row[0], diskio.Printable(row[1])); err != nil {
			return err
		}
	}
	rows := make([][]string, 0, len(p.Disks))
	for _, d := range p.Disks {
		root := d.Root
		if root == "" {
			root = "not complete"
		}
		rows = append(rows, []string{d.Disk, formatBytes(d.VirtualSize), formatBytes(d.Stored), formatBytes(d.Durable), root})
	}
	if err := printTable(cmd.OutOrStdout(), []string{"DISK", "SIZE", "STORED", "DURABLE", "ROOT"}, rows); err != nil {
		return err
	}
	return printDamage(cmd, p)
}
