package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"wanrep/configs"
)

// Names of the documents of "wanrep config".
const (
	configSchema      = "wanrep.config/1"
	configCheckSchema = "wanrep.config-check/1"
)

func newConfigCommand() *cobra.Command {
	return newGroup("config", "Check or show an appliance's config", "",
		`  wanrep config check --config wanrep.toml
  wanrep config show --defaults source`,
		newConfigCheckCommand(),
		newConfigShowCommand(),
	)
}

// A configCheckDocument is what "wanrep config check" found.
type configCheckDocument struct {
	Schema   string            `json:"schema"`
	File     string            `json:"file"`
	OK       bool              `json:"ok"`
	Problems []configs.Problem `json:"problems"`
	Warnings []configs.Problem `json:"warnings"`
	Error    *string           `json:"error"`
	Hint     string            `json:"hint"`
}

func newConfigCheckCommand() *cobra.Command {
	var a addressed
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Tell what is wrong with a config",
		Long: `Tell everything that is wrong with a config, with the line and what to write
instead. The exit code is 2 if the config can't be used, and 3 if it can but
something wants a look, such as a disk that is not there.`,
		Example: `  wanrep config check
  wanrep config check --config wanrep.toml --json`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(configCheckSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			return checkConfig(cmd, &a, asJSON)
		},
	}
	a.addConfig(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func checkConfig(cmd *cobra.Command, a *addressed, asJSON bool) error {
	doc := configCheckDocument{Schema: configCheckSchema, File: a.config,
		Problems: []configs.Problem{}, Warnings: []configs.Problem{}}
	cfg, err := a.load()
	if err != nil {
		var bad *configs.Error
		if !asJSON || !errors.As(err, &bad) {
			return err
		}
		code, text, hint := describe(cmd, err, true)
		doc.Problems, doc.Error, doc.Hint = bad.Problems, &text, hint
		if err := printJSON(cmd, doc); err != nil {
			return err
		}
		return documented(code, err)
	}
	doc.OK = true
	doc.Warnings = append(append(doc.Warnings, cfg.Warnings...), missingDisks(cfg)...)
	if asJSON {
		err = printJSON(cmd, doc)
	} else {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is a good config of %s %q\n", cfg.File, cfg.Role, cfg.Name)
	}
	if err != nil || len(doc.Warnings) == 0 {
		return err
	}
	for _, w := range doc.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "wanrep: warning: %s\n", w)
	}
	return quietly(exitWarnings)
}

// missingDisks looks whether the disks of the VMs are there.
func missingDisks(cfg *configs.Config) []configs.Problem {
	var missing []configs.Problem
	for _, vm := range cfg.VMs {
		for _, disk := range vm.Disks {
			if _, err := os.Stat(disk.Path); err != nil {
				missing = append(missing, configs.Problem{File: cfg.File,
					Message: fmt.Sprintf("disk %q of VM %q: %v", disk.Name, vm.Name, err)})
			}
		}
	}
	return missing
}

func newConfigShowCommand() *cobra.Command {
	var a addressed
	var asJSON, asExample bool
	cmd := &cobra.Command{
		Use:   "show [source|target]",
		Short: "Show a config with every default filled in",
		Long: `Show what is in effect: a config with every default filled in and every path made
absolute. With --defaults it shows the annotated file with every key and its
default instead, for the role that is named or that the config has.`,
		Example: `  wanrep config show --config wanrep.toml
  wanrep config show --defaults target`,
		ValidArgs:   []string{configs.RoleSource, configs.RoleTarget},
		Annotations: withSchema(configSchema),
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return nil
			case !asExample:
				return errors.New("a role is only for --defaults")
			case asJSON:
				return errors.New("--defaults shows a file, which --json can't")
			}
			return exactRole(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if asExample {
				return showExample(cmd, &a, args)
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, struct {
					Schema string `json:"schema"`
					*configs.Config
				}{configSchema, cfg})
			}
			text, err := cfg.TOML()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "# what is in effect of %s\n%s", cfg.File, text)
			return err
		},
	}
	a.addConfig(cmd)
	cmd.Flags().BoolVar(&asExample, "defaults", false, "show the annotated file with every key and its default")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func showExample(cmd *cobra.Command, a *addressed, args []string) error {
	role := strings.Join(args, "")
	if role == "" {
		cfg, err := a.load()
		if err != nil {
			return err
		}
		role = cfg.Role
	}
	text, err := configs.Example(role)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}
