package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/resume"
)

func newPointsSeedCommand() *cobra.Command {
	return newGroup("seed", "Carry a VM's first point to the target on a disk",
		`Carry a VM's first point to the target on a disk instead of over the WAN, or what
is missing of one. The source exports the seed, the target imports it, and the next
run continues in the same point: it proves what was carried, and sends what changed
meanwhile.`,
		`  wanrep points seed export --vm sql01 --to /mnt/usb
  wanrep points seed import --from /mnt/usb`,
		newSeedExportCommand(),
		newSeedImportCommand(),
	)
}

// seedImportSchema names the document of "wanrep points seed import --json".
const seedImportSchema = "wanrep.seed-import/1"

// A seedImportDocument says what was imported.
type seedImportDocument struct {
	Schema string         `json:"schema"`
	Seeds  []importedSeed `json:"seeds"`
}

type importedSeed struct {
	Source string             `json:"source"`
	VM     string             `json:"vm"`
	Point  string             `json:"point"`
	Disks  []importedSeedDisk `json:"disks"`
}

type importedSeedDisk struct {
	Disk        string `json:"disk"`
	VirtualSize int64  `json:"virtual_size"` // in bytes
	Durable     int64  `json:"durable"`
}

// seedImport are the flags of the command.
type seedImport struct {
	pointsFlags
	from, source string
	json         bool
}

func newSeedImportCommand() *cobra.Command {
	var f seedImport
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Take seeds into the store of a target",
		Long: `Take seeds into the store of a target, which must not run meanwhile: all those in
the directory that --from names. Each is compared with its roots first. What was
received over the WAN already is kept. An import that was interrupted goes on where
it was.`,
		Example: `  wanrep points seed import --from /mnt/usb
  wanrep points seed import --store /srv/wanrep --from /mnt/usb/sql01 --source branch-lyon`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(seedImportSchema),
		RunE:        func(cmd *cobra.Command, args []string) error { return f.run(cmd) },
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.from, "from", "", "`directory` of the seeds, or of one")
	cmd.Flags().StringVar(&f.source, "source", "", "`name` of the source whose VM it is (default: as the seed says)")
	cmd.MarkFlagRequired("from")
	addJSONFlag(cmd, &f.json)
	return cmd
}

func (f *seedImport) run(cmd *cobra.Command) error {
	path, peers := f.store, []configs.Peer(nil)
	reading := newReading(cmd.ErrOrStderr())
	defer reading.clear()
	how := resume.Config{Format: reading.format(), Software: softwareVersion()}
	if path == "" {
		cfg, err := f.load()
		if err != nil {
			return err
		}
		if path, err = storeOf(cfg); err != nil {
			return err
		}
		identity, err := loadIdentity(cfg)
		if err != nil {
			return err
		}
		// Opening the store may finish what a crash left, which takes the signer.
		peers, how.Signer = cfg.Peers, identity.Signer()
	}
	from, err := durable.OS(f.from)
	if err != nil {
		return fmt.Errorf("open the directory of the seeds: %w", err)
	}
	defer from.Close()
	dirs, err := resume.SeedDirs(from)
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		return fail(exitFailed, "wanrep points seed export writes seed.json when all else is there; one without it is to be exported again",
			"there is no whole seed in %s", diskio.Printable(f.from))
	}
	store, done, err := openForImport(path, how)
	if err != nil {
		return err
	}
	defer done()
	doc := seedImportDocument{Schema: seedImportSchema, Seeds: []importedSeed{}}
	for _, dir := range dirs {
		seed, err := f.read(from, dir, peers)
		if err != nil {
			return err
		}
		at, err := importSeed(cmd.Context(), store, how.Format, from, dir, seed)
		reading.clear()
		if err != nil {
			return fmt.Errorf("import the seed of %s: %w", diskio.Printable(seed.VM), err)
		}
		doc.Seeds = append(doc.Seeds, imported(seed, at))
		if f.json {
			continue
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "imported %s of %s: %d disks in point %s, which the next run completes\n",
			diskio.Printable(seed.VM), diskio.Printable(seed.Source), len(at.Disks), at.Point); err != nil {
			return err
		}
	}
	if f.json {
		return printJSON(cmd, doc)
	}
	return nil
}

// read reads what a seed holds, and finds whose it is.
func (f *seedImport) read(from durable.FS, dir string, peers []configs.Peer) (resume.Seed, error) {
	seed, err := resume.ReadSeed(from, dir)
	if err != nil {
		return seed, fmt.Errorf("read the seed in %s: %w", diskio.Printable(dir), err)
	}
	if f.source != "" {
		seed.Source = f.source
	}
	if f.store == "" && !slices.ContainsFunc(peers, func(p configs.Peer) bool { return p.Name == seed.Source }) {
		return seed, fail(exitNotPaired, "pair with the source first, or name it as it is paired with --source",
			"the seed of %s is of source %q, which is not paired with this target", diskio.Printable(seed.VM), diskio.Printable(seed.Source))
	}
	return seed, nil
}

// openForImport opens a store for writing.
func openForImport(path string, how resume.Config) (*resume.Store, func(), error) {
	dir, err := openStoreDir(path)
	if err != nil {
		return nil, nil, err
	}
	store, err := resume.Open(dir, how)
	if err != nil {
		dir.Close()
		if _, ok := errors.AsType[*durable.LockedError](err); ok {
			return nil, nil, fail(exitFailed, "stop the appliance, import, and start it again", "open store %s: %w", diskio.Printable(path), err)
		}
		return nil, nil, fmt.Errorf("open store %s: %w", diskio.Printable(path), err)
	}
	return store, func() {
		store.Close()
		dir.Close()
	}, nil
}

func importSeed(ctx context.Context, store *resume.Store, format resume.Format, from durable.FS, dir string, seed resume.Seed) (resume.Position, error) {
	if err := resume.VerifySeed(ctx, from, format, dir, seed); err != nil {
		return resume.Position{}, err
	}
	return store.ImportSeed(ctx, from, dir, seed)
}

func imported(seed resume.Seed, at resume.Position) importedSeed {
	out := importedSeed{Source: seed.Source, VM: seed.VM, Point: at.Point, Disks: []importedSeedDisk{}}
	for _, d := range at.Disks {
		out.Disks = append(out.Disks, importedSeedDisk{d.Name, d.Size, d.Durable})
	}
	return out
}
