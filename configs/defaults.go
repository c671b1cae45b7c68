package configs

import (
	"path/filepath"
	"runtime"
	"time"
)

// defaults returns what is meant where the file of an appliance of that role
// says nothing.
func defaults(role string) *Config {
	c := &Config{
		StateDir: "/var/lib/wanrep",
		Control:  Control{Socket: "/run/wanrep/wanrep.sock"},
		Link:     Link{IdleTimeout: Duration(60 * time.Second), Keepalive: Duration(5 * time.Second)},
	}
	if runtime.GOOS == "windows" {
		c.StateDir = filepath.Join(windowsDir(), "state")
		c.Control.Socket = filepath.Join(windowsDir(), "wanrep.sock")
	}
	switch role {
	case RoleSource:
		c.Link.ReturnAfter = Duration(30 * time.Second)
		c.Link.Repair = RepairAuto
		c.Reattach = Reattach{RedialEvery: Duration(15 * time.Second), RedialFor: Duration(30 * time.Minute)}
	case RoleTarget:
		c.Listen = Listen{Address: ":7443"}
		c.Retention = DefaultRetention()
		c.Scrub = Scrub{Every: Interval(day), Sample: 0.05, MaxRate: 50 << 20}
	}
	return c
}

// DefaultRetention is which points stay where nothing is said.
func DefaultRetention() Retention { return Retention{Last: 7, MinAge: Duration(7 * day)} }

// setDefaults is called for each [[job]] before it is read.
func (j *Job) setDefaults() {
	j.Schedule = "manual"
	j.Retries = 3
	j.RetryWait = Duration(10 * time.Minute)
}
