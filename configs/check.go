package configs

import (
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxNameBytes bounds every name: peers show them and build directories of
	// them.
	maxNameBytes = 64
	// maxSocketBytes is the longest path of a unix socket (unix(7): 108 with the
	// final zero; the BSDs and Windows have about the same).
	maxSocketBytes = 107
	// MinRate is the lowest limit of what is sent: a block of 64 KiB takes 8 s.
	MinRate = Rate(8000)
	// minScrubRate is the lowest limit of what is read again: a block a second.
	minScrubRate = Rate(64 << 10)
	// maxCount bounds retries and kept points, so that a slip of a digit shows.
	maxCount = 10000
)

// The tables that only one role has.
var roleOf = map[string]string{
	"reattach": RoleSource, "uplink": RoleSource, "job": RoleSource, "vm": RoleSource,
	"listen": RoleTarget, "store": RoleTarget, "retention": RoleTarget, "scrub": RoleTarget,
}

// check looks for what is wrong in the sense of the config; root is the parsed
// file, which tells what was written from what is a default.
func (d *document) check(c *Config, root map[string]any) {
	d.checkRole(c, root)
	if _, written := root["name"]; !written {
		d.problem("", `write name = "branch-lyon"`, "the appliance has no name")
	} else {
		d.checkName("name", c.Name)
	}
	d.notEmpty("state_dir", c.StateDir)
	d.checkSockets(c)
	if c.Metrics.Listen != "" {
		d.checkAddress("metrics.listen", c.Metrics.Listen, false)
	}
	d.checkLink(c)
	d.checkPeers(c)
	switch c.Role {
	case RoleSource:
		d.checkVMs(c)
		d.checkJobs(c)
	case RoleTarget:
		d.checkTarget(c)
	}
}

func (d *document) checkRole(c *Config, root map[string]any) {
	roles := []string{RoleSource, RoleTarget}
	if _, written := root["role"]; !written {
		d.problem("", `write role = "source" or role = "target"`, "the appliance has no role")
		return
	}
	if !slices.Contains(roles, c.Role) {
		d.problem("role", didYouMean(c.Role, roles), `role %q is neither "source" nor "target"`, c.Role)
		return
	}
	for key, role := range roleOf {
		if _, written := root[key]; !written || role == c.Role {
			continue
		}
		d.problem(key, "", "%q is for a %s, and this appliance is a %s", key, role, c.Role)
	}
}

// checkName checks a name that peers will see.
func (d *document) checkName(at, name string) bool {
	switch {
	case name == "":
		d.problem(at, "", "%s has no name", d.subject(at))
	case len(name) > maxNameBytes:
		d.problem(at, "", "the name has %d bytes, more than %d", len(name), maxNameBytes)
	case !utf8.ValidString(name) || printable(name) != name:
		d.problem(at, "", "the name holds characters that can't be shown")
	case strings.TrimSpace(name) != name:
		d.problem(at, "", "the name begins or ends with a space")
	default:
		return true
	}
	return false
}

// subject returns what the name at a path belongs to.
func (d *document) subject(at string) string {
	table, rest, inTable := strings.Cut(at, ".")
	switch {
	case !inTable:
		return "the appliance"
	case strings.HasPrefix(rest, "disks["):
		return "a disk of " + d.tableName(table)
	}
	return d.tableName(table)
}

// names checks the names of the tables of an array, which must differ.
func (d *document) names(array string, n int, name func(int) string) {
	seen := map[string]bool{}
	for i := range n {
		at := element(array, i) + ".name"
		if d.checkName(at, name(i)) && seen[name(i)] {
			d.problem(at, "", "there are two with the name %q", name(i))
		}
		seen[name(i)] = true
	}
}

func (d *document) notEmpty(at, value string) {
	if value == "" {
		d.problem(at, "", "%s must not be empty", lastKey(at))
	}
}

func (d *document) checkSockets(c *Config) {
	d.notEmpty("control.socket", c.Control.Socket)
	d.checkSocket("control.socket", c.Control.Socket)
	d.checkSocket("control.readonly_socket", c.Control.ReadOnlySocket)
	if c.Control.Socket != "" && c.Control.ReadOnlySocket == c.Control.Socket {
		d.problem("control.readonly_socket", "", "readonly_socket is the same as socket")
	}
}

func (d *document) checkSocket(at, path string) {
	if !filepath.IsAbs(path) {
		if dir, err := filepath.Abs(filepath.Dir(d.file)); err == nil {
			path = filepath.Join(dir, path)
		}
	}
	if len(path) > maxSocketBytes {
		d.problem(at, "", "the socket's path has %d bytes, more than the %d that a socket can have: %s",
			len(path), maxSocketBytes, path)
	}
}

func (d *document) checkLink(c *Config) {
	if c.Link.IdleTimeout < Duration(time.Second) || c.Link.IdleTimeout > Duration(time.Hour) {
		d.problem("link.idle_timeout", "", "idle_timeout is %v, not within 1s to 1h", c.Link.IdleTimeout)
	}
	if c.Link.Keepalive <= 0 || c.Link.Keepalive >= c.Link.IdleTimeout {
		d.problem("link.keepalive", "", "keepalive is %v; it must be more than 0s and less than idle_timeout, %v",
			c.Link.Keepalive, c.Link.IdleTimeout)
	}
	if c.Role != RoleSource {
		if c.Link.MaxRate != 0 {
			d.problem("link.max_rate", "limit it at the source", "a target sends no data that could be limited")
		}
		if c.Link.ReturnAfter != 0 {
			d.problem("link.return_after", "", "return_after is for a source, and this appliance is a %s", c.Role)
		}
		if c.Link.Repair != "" {
			d.problem("link.repair", "set it at the source", "repair is for a source, and this appliance is a %s", c.Role)
		}
		return
	}
	if c.Link.ReturnAfter <= 0 {
		d.problem("link.return_after", "", "return_after must be more than 0s")
	}
	if c.Link.Repair != RepairAuto && c.Link.Repair != RepairOff {
		d.problem("link.repair", "", "repair is %q; it can be %q or %q", c.Link.Repair, RepairAuto, RepairOff)
	}
	d.checkRate("link.max_rate", c.Link.MaxRate)
	if c.Reattach.RedialEvery <= 0 {
		d.problem("reattach.redial_every", "", "redial_every must be more than 0s")
	}
	if c.Reattach.RedialFor < c.Reattach.RedialEvery {
		d.problem("reattach.redial_for", "", "redial_for is %v, less than redial_every, %v",
			c.Reattach.RedialFor, c.Reattach.RedialEvery)
	}
	d.names("uplink", len(c.Uplinks), func(i int) string { return c.Uplinks[i].Name })
	for i, u := range c.Uplinks {
		d.checkRate(element("uplink", i)+".max_rate", u.MaxRate)
	}
}

func (d *document) checkRate(at string, rate Rate) {
	if rate != 0 && rate < MinRate {
		d.problem(at, "", "max_rate is %v; below %v a block takes so long that the link would seem dead", rate, MinRate)
	}
}

func (d *document) checkPeers(c *Config) {
	d.names("peer", len(c.Peers), func(i int) string { return c.Peers[i].Name })
	for i, p := range c.Peers {
		at := element("peer", i)
		if c.Role == RoleSource && len(p.Addresses) == 0 {
			d.problem(at+".addresses", `write addresses = ["host:7443"]`, "%s has no addresses", d.tableName(at))
		}
		for j, address := range p.Addresses {
			d.checkAddress(element(at+".addresses", j), address, true)
		}
		d.checkPin(at+".pin", p.Pin)
	}
}

// checkAddress checks "host:port". Only a listening address may leave out the
// host.
func (d *document) checkAddress(at, address string, needsHost bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		hint := `write "host:7443"`
		switch _, notPort := strconv.ParseUint(address, 10, 16); {
		case notPort == nil && needsHost:
			hint = fmt.Sprintf("write %q", "host:"+address)
		case notPort == nil:
			hint = fmt.Sprintf("write %q", ":"+address)
		case !strings.Contains(address, ":") && address != "":
			hint = fmt.Sprintf("write %q", address+":7443")
		}
		d.problem(at, hint, "%q is not an address with a port", address)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || (n == 0 && needsHost) {
		d.problem(at, "", "%q has no port within 1 to 65535", address)
	}
	if host == "" && needsHost {
		d.problem(at, "", "%q has no host", address)
	}
}

// pinPrefix and pinBytes are the form of a pin: the prefix and a SHA-256 in
// base64url without padding.
const (
	pinPrefix = "sha256:"
	pinBytes  = 32
)

func (d *document) checkPin(at, pin string) {
	if pin == "" {
		return
	}
	text, found := strings.CutPrefix(pin, pinPrefix)
	sum, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !found || err != nil || len(sum) != pinBytes {
		d.problem(at, `"wanrep pair join" writes it`, "the pin is not %q and 43 letters, digits, - or _", pinPrefix)
	}
}

func (d *document) checkVMs(c *Config) {
	d.names("vm", len(c.VMs), func(i int) string { return c.VMs[i].Name })
	usedBy := map[string]string{}
	for i, vm := range c.VMs {
		at := element("vm", i)
		if len(vm.Disks) == 0 {
			d.problem(at, `write disks = [{ name = "os", path = "D:/VMs/os.vhdx" }]`, "%s has no disks", d.tableName(at))
		}
		d.names(at+".disks", len(vm.Disks), func(j int) string { return vm.Disks[j].Name })
		for j, disk := range vm.Disks {
			at := element(at+".disks", j) + ".path"
			if disk.Path == "" {
				d.problem(at, "", "disk %q has no path", disk.Name)
				continue
			}
			path := filepath.Clean(disk.Path)
			if other := usedBy[path]; other != "" {
				d.problem(at, "", "%s is the path of disk %s already", disk.Path, other)
			}
			usedBy[path] = fmt.Sprintf("%q of VM %q", disk.Name, vm.Name)
		}
	}
}

func (d *document) checkJobs(c *Config) {
	d.names("job", len(c.Jobs), func(i int) string { return c.Jobs[i].Name })
	var peers, vms []string
	for _, p := range c.Peers {
		peers = append(peers, p.Name)
	}
	for _, vm := range c.VMs {
		vms = append(vms, vm.Name)
	}
	for i, job := range c.Jobs {
		at := element("job", i)
		switch {
		case job.Peer == "":
			d.problem(at+".peer", "", "%s has no peer", d.tableName(at))
		case !slices.Contains(peers, job.Peer):
			// Not an error, so that jobs can be written down before pairing, which
			// reads this file as well.
			hint := didYouMean(job.Peer, peers)
			if hint == "" {
				hint = `"wanrep pair join" adds it`
			}
			d.warning(at+".peer", hint, "not paired with %q yet", job.Peer)
		}
		if len(job.VMs) == 0 {
			d.problem(at+".vms", "", "%s has no vms", d.tableName(at))
		}
		for j, vm := range job.VMs {
			at := element(at+".vms", j)
			if !slices.Contains(vms, vm) {
				d.problem(at, didYouMean(vm, vms), "there is no [[vm]] with the name %q", vm)
			} else if slices.Contains(job.VMs[:j], vm) {
				d.problem(at, "", "the job has %q twice", vm)
			}
		}
		d.checkSchedule(at+".schedule", job.Schedule)
		d.checkCount(at+".retries", job.Retries)
		if job.RPO != 0 && job.RPO < Duration(time.Minute) {
			d.problem(at+".rpo", "", "rpo is %v; a point that is seconds old cannot be promised, write 1m or more", job.RPO)
		}
	}
}

// checkSchedule checks the form only; package replicate gives it its meaning.
func (d *document) checkSchedule(at, schedule string) {
	word, rest, _ := strings.Cut(strings.TrimSpace(schedule), " ")
	rest = strings.TrimSpace(rest)
	ok := rest == "" && (word == "manual" || word == "continuous")
	switch word {
	case "every":
		every, err := time.ParseDuration(rest)
		ok = err == nil && every >= time.Minute
	case "daily":
		_, err := time.Parse("15:04", rest)
		ok = err == nil
	}
	if !ok {
		d.problem(at, `write "every 1h" (at least 1m), "daily 22:00", "continuous" or "manual"`,
			"%q is not a schedule", schedule)
	}
}

func (d *document) checkCount(at string, n int) {
	if n < 0 || n > maxCount {
		d.problem(at, "", "%s is %d, not within 0 to %d", lastKey(at), n, maxCount)
	}
}

func (d *document) checkTarget(c *Config) {
	d.checkAddress("listen.address", c.Listen.Address, false)
	if c.Store.Path == "" {
		d.problem("store.path", `write path = "/srv/wanrep" under [store]`, "a target needs a store")
	}
	r := c.Retention
	d.checkCount("retention.last", r.Last)
	d.checkCount("retention.daily", r.Daily)
	d.checkCount("retention.weekly", r.Weekly)
	d.checkCount("retention.monthly", r.Monthly)
	if c.Scrub.Every != 0 && c.Scrub.Every < Interval(time.Minute) {
		d.problem("scrub.every", `write "off" for never`, "every is %v; it must be at least 1m", c.Scrub.Every)
	}
	if c.Scrub.MaxRate != 0 && c.Scrub.MaxRate < minScrubRate {
		d.problem("scrub.max_rate", "", "max_rate is %v, less than %v", c.Scrub.MaxRate, minScrubRate)
	}
}
