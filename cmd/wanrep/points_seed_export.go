package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/replicate"
	"wanrep/resume"
)

// seedExportSchema names the document of "wanrep points seed export --json".
const seedExportSchema = "wanrep.seed-export/1"

// A seedExportDocument says what was exported.
type seedExportDocument struct {
	Schema string      `json:"schema"`
	Dir    string      `json:"dir"`
	Seed   resume.Seed `json:"seed"`
}

// seedExport are the flags of the command.
type seedExport struct {
	addressed
	vm, to, peer string
	missing      bool
	json         bool
}

func newSeedExportCommand() *cobra.Command {
	var f seedExport
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the disks of a VM as a seed, at the source",
		Long: `Write the disks of a VM as a seed, at the source: into a directory below --to, where
all files are read again once they are written. With --missing the target is asked
what it has of the VM already, and that is left out; a running appliance must be
stopped for it.`,
		Example: `  wanrep points seed export --vm sql01 --to /mnt/usb
  wanrep points seed export --vm sql01 --to E:\ --missing`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(seedExportSchema),
		RunE:        func(cmd *cobra.Command, args []string) error { return f.run(cmd) },
	}
	f.addConfig(cmd)
	cmd.Flags().StringVar(&f.vm, "vm", "", "`name` of the VM")
	cmd.Flags().StringVar(&f.to, "to", "", "`directory` to write to")
	cmd.Flags().BoolVar(&f.missing, "missing", false, "leave out what the target has")
	cmd.Flags().StringVar(&f.peer, "peer", "", "`name` of the target to ask (default: that of the VM's job)")
	cmd.MarkFlagRequired("vm")
	cmd.MarkFlagRequired("to")
	addJSONFlag(cmd, &f.json)
	return cmd
}

func (f *seedExport) run(cmd *cobra.Command) error {
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if cfg.Role != configs.RoleSource {
		return fail(exitUsage, "export a seed at its source, and import it at the target", "%s is the config of a %s", cfg.File, cfg.Role)
	}
	vms := vmsOf(cfg)
	at := slices.IndexFunc(vms, func(v replicate.VM) bool { return v.Name == f.vm })
	if at < 0 {
		return fail(exitUsage, "the VMs of this source are: "+vmNames(vms), "%s has no VM %q", cfg.File, f.vm)
	}
	has := map[string]int64{}
	if f.missing {
		if has, err = f.durable(cmd.Context(), cfg); err != nil {
			return err
		}
	}
	doc := seedExportDocument{Schema: seedExportSchema}
	reading := newReading(cmd.ErrOrStderr())
	doc.Seed, doc.Dir, err = f.export(cmd.Context(), reading, cfg.Name, vms[at], has)
	reading.clear()
	switch {
	case errors.Is(err, fs.ErrExist):
		return fail(exitFailed, "take another directory, or remove that seed", "%w", err)
	case errors.Is(err, syscall.EFBIG):
		return fail(exitFailed, "a disk with exFAT, NTFS or ext4 takes files of that size; FAT32 does not", "%w", err)
	case err != nil:
		return err
	}
	if f.json {
		return printJSON(cmd, doc)
	}
	for _, d := range doc.Seed.Disks {
		what := "all of it"
		if d.From > 0 {
			what = "from " + formatBytes(d.From) + " on"
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: disk %s of %s, %s, and read it again\n",
			diskio.Printable(filepath.Join(doc.Dir, d.File)), diskio.Printable(d.Name), formatBytes(d.VirtualSize), what); err != nil {
			return err
		}
	}
	return nil
}

func vmNames(vms []replicate.VM) string {
	var names []string
	for _, v := range vms {
		names = append(names, v.Name)
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// export opens the disks and writes the seed.
func (f *seedExport) export(ctx context.Context, reading *reading, source string, vm replicate.VM, has map[string]int64) (resume.Seed, string, error) {
	seed := resume.Seed{Source: source, VM: vm.Name, Time: time.Now().UTC(), Software: softwareVersion()}
	var disks []resume.SeedSource
	defer func() {
		for _, d := range disks {
			d.Content.Close()
		}
	}()
	for _, d := range vm.Disks {
		snapshot, geometry, err := openDisk(ctx, d.Path)
		if err != nil {
			return seed, "", fmt.Errorf("open disk %s: %w", diskio.Printable(d.Name), err)
		}
		disks = append(disks, resume.SeedSource{Content: readDisk{snapshot, reading, vm.Name + "/" + d.Name}, Check: snapshot.Check, From: min(has[d.Name], snapshot.Size())})
		identity, err := replicate.Identity(snapshot)
		if err != nil {
			return seed, "", fmt.Errorf("open disk %s: %w", diskio.Printable(d.Name), err)
		}
		disks[len(disks)-1].Spec = resume.DiskSpec{
			Name: d.Name, ID: geometry.ID, Size: snapshot.Size(), LogicalSectorSize: geometry.LogicalSectorSize,
			PhysicalSectorSize: geometry.PhysicalSectorSize, Identity: identity,
		}
	}
	if err := os.MkdirAll(f.to, 0o755); err != nil {
		return seed, "", err
	}
	to, err := durable.OS(f.to)
	if err != nil {
		return seed, "", err
	}
	defer to.Close()
	seed, dir, err := resume.ExportSeed(ctx, to, reading.format(), seed, disks)
	return seed, filepath.Join(f.to, dir), err
}

// durable asks the target what it has of each disk.
func (f *seedExport) durable(ctx context.Context, cfg *configs.Config) (map[string]int64, error) {
	peer, err := f.target(cfg)
	if err != nil {
		return nil, err
	}
	lock, err := lockState(cfg)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	source, err := openSource(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	has, err := source.engine.Durable(ctx, peer, f.vm)
	return has, answered(source.explain(err))
}

// target returns the peer to which the VM goes.
func (f *seedExport) target(cfg *configs.Config) (string, error) {
	if f.peer != "" {
		return f.peer, nil
	}
	var peers []string
	for _, j := range cfg.Jobs {
		if slices.Contains(j.VMs, f.vm) && !slices.Contains(peers, j.Peer) {
			peers = append(peers, j.Peer)
		}
	}
	if len(peers) != 1 {
		return "", fail(exitUsage, "say which target with --peer", "VM %q goes to %d targets by the jobs of %s", f.vm, len(peers), cfg.File)
	}
	return peers[0], nil
}
