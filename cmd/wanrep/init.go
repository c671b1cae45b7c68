package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/quicx"
)

// configName is the config's name in the directory that init fills.
const configName = "wanrep.toml"

// initSchema names the document of "wanrep init --json".
const initSchema = "wanrep.init/1"

// An initDocument says what init made.
type initDocument struct {
	Schema   string `json:"schema"`
	Role     string `json:"role"`
	Name     string `json:"name"`
	Config   string `json:"config"`
	StateDir string `json:"state_dir"`
	Socket   string `json:"socket"`
	Store    string `json:"store,omitempty"`
	Pin      string `json:"pin"`
}

// initFlags are what an appliance is told at its beginning.
type initFlags struct {
	dir, name, store, listen string
	json                     bool
}

func newInitCommand() *cobra.Command {
	var o initFlags
	cmd := &cobra.Command{
		Use:   "init source|target",
		Short: "Make a new appliance: its config and its identity",
		Long: `Make a new appliance: an annotated config D/wanrep.toml and an identity below
D/state. Everything is written below --dir, except a store that --store names.
Nothing that exists is overwritten.`,
		Example: `  wanrep init target --dir /etc/wanrep --name dr-paris --store /srv/wanrep --listen :7443
  wanrep init source --dir /etc/wanrep --name branch-lyon`,
		Args:        exactRole,
		ValidArgs:   []string{configs.RoleSource, configs.RoleTarget},
		Annotations: withSchema(initSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			made, err := initAppliance(args[0], o)
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, made)
			}
			return printNextSteps(cmd.OutOrStdout(), made)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "dir", "", "`directory` to make the appliance in")
	flags.StringVar(&o.name, "name", "", "the appliance's `name`, as peers will know it")
	flags.StringVar(&o.store, "store", "", "`directory` for the restore points, of a target (default: below --dir)")
	flags.StringVar(&o.listen, "listen", "", "UDP `address` that a target listens on (default \":7443\")")
	addJSONFlag(cmd, &o.json)
	cmd.MarkFlagRequired("dir")
	cmd.MarkFlagRequired("name")
	return cmd
}

// exactRole accepts one argument, the role.
func exactRole(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New(`say which role: "source" or "target"`)
	}
	_, err := configs.Example(args[0])
	return err
}

// initAppliance writes the identity and then the config, so that a config is
// never there without its identity.
func initAppliance(role string, o initFlags) (initDocument, error) {
	none := initDocument{}
	if role == configs.RoleSource && (o.store != "" || o.listen != "") {
		return none, fail(exitUsage, "", "--store and --listen are for a target")
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return none, err
	}
	made := initDocument{
		Schema: initSchema, Role: role, Name: o.name, Config: filepath.Join(dir, configName),
		StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "wanrep.sock"),
	}
	if role == configs.RoleTarget {
		if made.Store, err = filepath.Abs(o.store); err != nil {
			return none, err
		}
		if o.store == "" {
			made.Store = filepath.Join(dir, "store")
		}
	}
	text, err := configText(made, o.listen)
	if err != nil {
		return none, err
	}
	if _, err := os.Lstat(made.Config); err == nil {
		return none, fail(exitFailed, "take another --dir, or remove the file if the appliance may go",
			"%s exists, and nothing is overwritten", made.Config)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return none, err
	}
	if made.Store != "" {
		if err := os.MkdirAll(made.Store, 0o700); err != nil {
			return none, err
		}
	}
	id, err := identityFor(made)
	if err != nil {
		return none, err
	}
	made.Pin = id.Pin()
	if role == configs.RoleSource {
		if err := initState(made.StateDir); err != nil {
			return none, err
		}
	}
	fsys, err := durable.OS(dir)
	if err != nil {
		return none, err
	}
	defer fsys.Close()
	return made, durable.WriteFile(fsys, configName, []byte(text), 0o644)
}

// configText returns the config, after a look at what the operator gave for it.
func configText(made initDocument, listen string) (string, error) {
	text, err := configs.Template(made.Role, made.Name, made.StateDir, made.Store, listen, made.Socket)
	if err != nil {
		return "", err
	}
	_, err = configs.Parse(made.Config, []byte(text))
	var bad *configs.Error
	if errors.As(err, &bad) {
		p := bad.Problems[0]
		return "", fail(exitUsage, p.Hint, "%s", diskio.Printable(p.Message))
	}
	return text, err
}

// identityFor makes the identity. If an init before this one got no further than
// that, its identity is taken.
func identityFor(made initDocument) (*quicx.Identity, error) {
	id, err := quicx.CreateIdentity(made.StateDir, made.Name)
	if !errors.Is(err, fs.ErrExist) {
		return id, err
	}
	id, err = quicx.LoadIdentity(made.StateDir)
	if err == nil && id.Name != made.Name {
		return nil, fail(exitFailed, "take another --dir, or the same --name",
			"%s holds the identity of %q", made.StateDir, diskio.Printable(id.Name))
	}
	return id, err
}

func printNextSteps(out io.Writer, made initDocument) error {
	next := `next:
  wanrep serve --config %[1]s         runs the appliance
  wanrep pair offer --config %[1]s    prints a code for a source, within 10 minutes
`
	if made.Role == configs.RoleSource {
		next = `next:
  wanrep pair join ADDRESS --config %[1]s    asks for the code of the target's "wanrep pair offer"
  edit %[1]s: a [[vm]] with its disks, and a [[job]]
  wanrep config check --config %[1]s
  wanrep run JOB --config %[1]s
`
	}
	_, err := fmt.Fprintf(out, "wrote %[1]s and a new identity\npin %[2]s\n"+next, made.Config, made.Pin)
	return err
}
