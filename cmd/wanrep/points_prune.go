package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/replicate"
	"wanrep/replicate/control"
	"wanrep/replicate/retain"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// A pruneDocument is what "wanrep points prune --json" prints.
type pruneDocument struct {
	replicate.PruneReport
	Error *string `json:"error"` // why it ended early, or null
	Hint  string  `json:"hint"`
}

// pruneFlags say what to prune and by which rules.
type pruneFlags struct {
	pointsFlags
	request replicate.PruneRequest
	keep    keepRules // for a store that was named without a config
	json    bool
}

func newPointsPruneCommand() *cobra.Command {
	f := pruneFlags{keep: keepRules(configs.DefaultRetention())}
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove the restore points that the keep rules let go",
		Long: `Remove the restore points that the rules in [retention] let go, and merge what they
hold into the points that build on them. The running appliance does so after each
new point; this command does it now, through the appliance if one runs.

No point goes that is younger than min_age, nor a VM's newest one. A point of which
damage is known takes no place of a rule: it stays until as many good ones are newer.
Nothing of a VM goes where the clock can't be believed, or more than half of its points
would go at once; --force removes them all the same. What is merged is read before, and
nothing is merged of which damage is found. The exit code is 3 if something is held, or
stays for another reason.

A store that --store names has no config; its rules are those of --keep, and what
that does not name is as in a config that does not name it.`,
		Example: `  wanrep points prune --dry-run
  wanrep points prune --vm sql01
  wanrep points prune --store /srv/wanrep --dry-run --keep last=3,daily=14`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(replicate.PruneSchema),
		RunE:        func(cmd *cobra.Command, args []string) error { return f.run(cmd) },
	}
	f.addWithSocket(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.request.Source, "source", "", "`name` of the source whose VM it is (default: all)")
	flags.StringVar(&f.request.VM, "vm", "", "`name` of the VM (default: all)")
	flags.BoolVar(&f.request.DryRun, "dry-run", false, "only tell what would go, and why")
	flags.BoolVar(&f.request.Force, "force", false, "remove what is held too")
	flags.Var(&f.keep, "keep", "`rules` of last, daily, weekly, monthly and min_age; with --store")
	addJSONFlag(cmd, &f.json)
	return cmd
}

func (f *pruneFlags) run(cmd *cobra.Command) error {
	if cmd.Flags().Changed("keep") && f.store == "" {
		return fail(exitUsage, "change the rules in the target's config, or name its store with --store", "--keep needs --store")
	}
	report, err := f.prune(cmd.Context())
	if err != nil && (report.VMs == nil || !f.json) {
		return err
	}
	doc := pruneDocument{PruneReport: report}
	if err != nil {
		code, text, hint := describe(cmd, err, true)
		doc.Error, doc.Hint = &text, hint
		return errors.Join(printJSON(cmd, doc), documented(code, errors.New(text)))
	}
	if f.json {
		err = printJSON(cmd, doc)
	} else {
		err = printPruned(cmd, report)
	}
	if err == nil && unfinished(report) {
		err = quietly(exitWarnings)
	}
	return err
}

// unfinished reports whether points stay that the rules let go.
func unfinished(r replicate.PruneReport) bool {
	for _, vm := range r.VMs {
		if vm.Error != nil {
			return true
		}
		for _, p := range vm.Points {
			if vm.Held != nil && p.Action == replicate.PruneRemove && !p.Removed {
				return true
			}
		}
	}
	return false
}

// prune asks the running appliance, or opens the store that was named or that the
// config names.
func (f *pruneFlags) prune(ctx context.Context) (replicate.PruneReport, error) {
	if f.store != "" {
		return f.pruneStore(ctx, nil)
	}
	client, cfg, err := f.client()
	if err != nil {
		return replicate.PruneReport{}, err
	}
	if cfg != nil {
		if _, err := storeOf(cfg); err != nil {
			return replicate.PruneReport{}, err
		}
	}
	answer, err := client.Prune(ctx, f.request)
	var unreachable *control.UnreachableError
	if cfg != nil && errors.As(err, &unreachable) {
		return f.pruneStore(ctx, cfg)
	}
	var report replicate.PruneReport
	if answer != nil {
		if again := json.Unmarshal(answer, &report); again != nil {
			return report, fmt.Errorf("read the appliance's answer: %w", again)
		}
	}
	if err != nil {
		return report, answered(err)
	}
	return report, nil
}

// pruneStore prunes a store that no appliance has. A dry run changes nothing, and needs
// not be alone.
func (f *pruneFlags) pruneStore(ctx context.Context, cfg *configs.Config) (replicate.PruneReport, error) {
	rules := configs.Retention(f.keep)
	if cfg != nil {
		rules = cfg.Retention
	}
	var store *resume.Store
	var err error
	if f.request.DryRun {
		store, err = f.openStore(vhdxstore.Format{})
	} else {
		store, err = f.openToChange(cfg)
	}
	if err != nil {
		return replicate.PruneReport{}, err
	}
	defer store.Close()
	return replicate.Prune(ctx, store, retentionRules(rules), time.Now(), f.request)
}

// openToChange opens the store for this process alone, with the identity of the target
// if its config is known.
func (f *pointsFlags) openToChange(cfg *configs.Config) (*resume.Store, error) {
	reading, err := f.openStore(vhdxstore.Format{}) // which tells best what is wrong with the directory
	if err != nil {
		return nil, err
	}
	reading.Close()
	path, settings := f.store, resume.Config{Format: vhdxstore.Format{}, Software: softwareVersion()}
	if cfg != nil {
		identity, err := loadIdentity(cfg)
		if err != nil {
			return nil, err
		}
		path, settings.Signer = cfg.Store.Path, identity.Signer()
	}
	dir, err := durable.OS(path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	store, err := resume.Open(dir, settings)
	if _, locked := errors.AsType[*durable.LockedError](err); locked {
		err = fail(exitFailed, "name the appliance with --config or --socket, and it does this", "%w", err)
	}
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("open store %s: %w", diskio.Printable(path), err)
	}
	return store, nil
}

// retentionRules returns the keep rules that a config names.
func retentionRules(r configs.Retention) retain.Rules {
	return retain.Rules{
		Last: r.Last, Daily: r.Daily, Weekly: r.Weekly, Monthly: r.Monthly, MinAge: time.Duration(r.MinAge),
	}
}

func printPruned(cmd *cobra.Command, r replicate.PruneReport) error {
	var rows [][]string
	var notes []string
	removed := 0
	for _, vm := range r.VMs {
		for _, p := range vm.Points {
			if p.Removed {
				removed++
			}
			rows = append(rows, []string{vm.Source, vm.VM, p.Point, pointAge(p), whatBecame(r, vm, p), strings.Join(p.Reasons, ", ")})
		}
		if vm.Held != nil {
			notes = append(notes, fmt.Sprintf("held: %s: %s", vm.VM, *vm.Held))
		}
		if vm.Error != nil {
			notes = append(notes, fmt.Sprintf("not done: %s: %s", vm.VM, *vm.Error))
		}
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "no restore points")
		return err
	}
	if err := printTable(cmd.OutOrStdout(), []string{"SOURCE", "VM", "POINT", "AGE", "ACTION", "REASON"}, rows); err != nil {
		return err
	}
	if !r.DryRun {
		notes = append(notes, fmt.Sprintf("%d restore points removed", removed))
	}
	for _, note := range notes {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), diskio.Printable(note)); err != nil {
			return err
		}
	}
	return nil
}

// whatBecame says what happened to a point, or what would.
func whatBecame(r replicate.PruneReport, vm replicate.PrunedVM, p replicate.PrunedPoint) string {
	switch {
	case p.Removed:
		return "removed"
	case p.Action == replicate.PruneRemove && vm.Held != nil && !r.DryRun:
		return "held"
	}
	return p.Action
}

func pointAge(p replicate.PrunedPoint) string {
	if p.Time.IsZero() {
		return "unknown"
	}
	return retain.Words(time.Duration(p.Age * float64(time.Second)).Round(time.Minute))
}
