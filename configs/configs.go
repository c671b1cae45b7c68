// Package configs holds the config file of an appliance: what may stand in it,
// what is meant where nothing stands, and the annotated files that "wanrep init"
// writes.
//
// It is strict: an unknown key, a number without a unit or a job for a VM that is
// not there is an error with the file, the line and what to write instead, and
// all of them are found at once. It does not look at the machine: whether a disk
// exists or a port is free is for the caller to find out. Start with [Load].
package configs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"

	"github.com/BurntSushi/toml"
)

// The roles of an appliance.
const (
	RoleSource = "source"
	RoleTarget = "target"
)

// A Config is what one appliance is told. [Load] fills in every default and
// makes every path absolute; the tables of the other role stay empty.
type Config struct {
	// File is where the config was read from.
	File string `toml:"-" json:"file"`
	// Warnings are what the file may say but does not mean what one would think.
	Warnings []Problem `toml:"-" json:"-"`

	Role string `toml:"role" json:"role"`
	Name string `toml:"name" json:"name"`
	// StateDir keeps identity, session tickets, digest cache and journal.
	StateDir string  `toml:"state_dir" json:"state_dir"`
	Control  Control `toml:"control" json:"control"`
	Metrics  Metrics `toml:"metrics" json:"metrics"`
	Link     Link    `toml:"link" json:"link"`
	Peers    []Peer  `toml:"peer,omitempty" json:"peer,omitempty"`

	// Of a source.
	Reattach Reattach `toml:"reattach,omitempty" json:"reattach,omitzero"`
	Uplinks  []Uplink `toml:"uplink,omitempty" json:"uplink,omitempty"`
	Jobs     []Job    `toml:"job,omitempty" json:"job,omitempty"`
	VMs      []VM     `toml:"vm,omitempty" json:"vm,omitempty"`

	// Of a target.
	Listen    Listen    `toml:"listen,omitempty" json:"listen,omitzero"`
	Store     Store     `toml:"store,omitempty" json:"store,omitzero"`
	Retention Retention `toml:"retention,omitempty" json:"retention,omitzero"`
	Scrub     Scrub     `toml:"scrub,omitempty" json:"scrub,omitzero"`
}

// Control is how commands reach the running appliance.
type Control struct {
	Socket string `toml:"socket" json:"socket"`
	// ReadOnlySocket tells the status and nothing more. Empty: none.
	ReadOnlySocket string `toml:"readonly_socket" json:"readonly_socket"`
}

// Metrics is where Prometheus reads, "host:port". Empty: nowhere.
type Metrics struct {
	Listen string `toml:"listen" json:"listen"`
}

// A Peer is an appliance this one is paired with.
type Peer struct {
	Name string `toml:"name" json:"name"`
	// Addresses are "host:port". A target needs none for its sources.
	Addresses []string `toml:"addresses,omitempty" json:"addresses,omitempty"`
	// Pin is the peer's key, "sha256:…". Empty: not paired yet.
	Pin string `toml:"pin,omitempty" json:"pin,omitempty"`
}

// An Uplink is one way out of the source's site; their order is the preference.
type Uplink struct {
	Name string `toml:"name" json:"name"`
	// Bind is a local address or the name of an interface. Empty: any.
	Bind string `toml:"bind,omitempty" json:"bind,omitempty"`
	// MaxRate is the most that is sent over it a second; 0 is no limit.
	MaxRate Rate `toml:"max_rate" json:"max_rate"`
	// Metered: it is used only while no other works.
	Metered bool `toml:"metered" json:"metered"`
}

// Link says how a link behaves.
type Link struct {
	IdleTimeout Duration `toml:"idle_timeout" json:"idle_timeout"`
	Keepalive   Duration `toml:"keepalive" json:"keepalive"`
	// MaxRate is the most that a source sends a second, to all peers over all
	// uplinks; 0 is no limit.
	MaxRate Rate `toml:"max_rate" json:"max_rate"`
	// ReturnAfter is how long a better uplink must be good before a source's
	// link moves back to it.
	ReturnAfter Duration `toml:"return_after,omitzero" json:"return_after,omitzero"`
	// Repair is what a source does about a line that loses packets at random:
	// RepairAuto spreads the link over several connections, RepairOff nothing.
	Repair string `toml:"repair,omitempty" json:"repair,omitempty"`
}

// Values of Link.Repair.
const (
	RepairAuto = "auto"
	RepairOff  = "off"
)

// Reattach says how a lost link is dialed again.
type Reattach struct {
	RedialEvery Duration `toml:"redial_every" json:"redial_every"`
	RedialFor   Duration `toml:"redial_for" json:"redial_for"`
}

// A Job says which VMs go to which peer, and when.
type Job struct {
	Name      string   `toml:"name" json:"name"`
	Peer      string   `toml:"peer" json:"peer"`
	VMs       []string `toml:"vms" json:"vms"`
	Schedule  string   `toml:"schedule" json:"schedule"`
	Retries   int      `toml:"retries" json:"retries"`
	RetryWait Duration `toml:"retry_wait" json:"retry_wait"`
	// RPO is how old the newest point of each VM may become. 0: two periods of
	// the schedule, and nothing for one without a period.
	RPO Duration `toml:"rpo,omitempty" json:"rpo"`
}

// A VM is a set of disks that belong together.
type VM struct {
	Name  string `toml:"name" json:"name"`
	Disks []Disk `toml:"disks" json:"disks"`
}

// A Disk is one disk of a VM at the source.
type Disk struct {
	Name string `toml:"name" json:"name"`
	Path string `toml:"path" json:"path"`
}

// Listen is where a target takes links.
type Listen struct {
	Address string `toml:"address" json:"address"`
}

// Store is where a target keeps replicas.
type Store struct {
	Path string `toml:"path" json:"path"`
}

// Retention says how many points of a VM are kept. Where all counts are 0, every point
// is.
type Retention struct {
	Last    int `toml:"last" json:"last"`
	Daily   int `toml:"daily" json:"daily"`
	Weekly  int `toml:"weekly" json:"weekly"`
	Monthly int `toml:"monthly" json:"monthly"`
	// MinAge is the age below which no point goes, whatever the counts say.
	MinAge Duration `toml:"min_age" json:"min_age"`
}

// Scrub says how a target reads its points again.
type Scrub struct {
	// Every is how often; 0 is never.
	Every Interval `toml:"every" json:"every"`
	// Sample is the share of the content that is read each time.
	Sample Share `toml:"sample" json:"sample"`
	// MaxRate is the most that is read a second; 0 is no limit.
	MaxRate Rate `toml:"max_rate" json:"max_rate"`
}

// maxFileBytes bounds a config. One with 200 VMs has about 40 KiB.
const maxFileBytes = 1 << 20

// DefaultPath returns where an appliance looks for its config.
func DefaultPath() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(windowsDir(), "wanrep.toml")
	}
	return "/etc/wanrep/wanrep.toml"
}

// windowsDir is where everything of wanrep is on Windows unless a config says
// otherwise.
func windowsDir() string {
	if dir := os.Getenv("ProgramData"); dir != "" {
		return filepath.Join(dir, "wanrep")
	}
	return `C:\ProgramData\wanrep`
}

// Load reads a config. What is wrong in the file itself is an [*Error].
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, data)
}

// Parse reads a config from memory. The name is for messages, and its directory
// is what relative paths in the config are relative to.
func Parse(name string, data []byte) (*Config, error) {
	d := &document{file: name, told: map[string]bool{}}
	if len(data) > maxFileBytes {
		large := fmt.Sprintf("the file is larger than %d KiB, so it is no config", maxFileBytes>>10)
		return nil, &Error{[]Problem{{File: name, Message: large}}}
	}
	d.text = string(data)
	d.index = indexKeys(d.text)
	if at := d.index.tooDeep; at > 0 {
		return nil, &Error{[]Problem{d.between(place{at, at}, "", "this is nested too deep for a config")}}
	}
	var root map[string]any
	if err := toml.Unmarshal(data, &root); err != nil {
		return nil, &Error{[]Problem{d.syntaxProblem(err)}}
	}
	d.noteNames(root)

	role, _ := root["role"].(string)
	c := defaults(role)
	c.File = name
	d.bind(reflect.ValueOf(c).Elem(), root, "")
	d.check(c, root)
	d.sort()
	if len(d.problems) > 0 {
		return nil, &Error{d.problems}
	}
	if err := c.makeAbsolute(); err != nil {
		return nil, err
	}
	c.Warnings = d.warnings
	return c, nil
}

// syntaxProblem places an error of the TOML package.
func (d *document) syntaxProblem(err error) Problem {
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		return Problem{File: d.file, Message: err.Error()}
	}
	start := min(max(syntax.Position.Start, 0), len(d.text))
	end := min(start+max(syntax.Position.Len, 0), len(d.text))
	return d.between(place{start, end}, "", syntax.Message)
}

// makeAbsolute makes paths relative to the directory of the file absolute.
func (c *Config) makeAbsolute() error {
	dir, err := filepath.Abs(filepath.Dir(c.File))
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	paths := []*string{&c.StateDir, &c.Control.Socket, &c.Control.ReadOnlySocket, &c.Store.Path}
	for i := range c.VMs {
		for j := range c.VMs[i].Disks {
			paths = append(paths, &c.VMs[i].Disks[j].Path)
		}
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return nil
}

// TOML returns the config as a file that means the same.
func (c *Config) TOML() (string, error) {
	var b strings.Builder
	enc := toml.NewEncoder(&b)
	enc.Indent = ""
	if err := enc.Encode(c); err != nil {
		return "", fmt.Errorf("write config: %w", err)
	}
	return b.String(), nil
}
