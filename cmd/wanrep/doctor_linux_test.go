package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A clinic is a source and a target in network namespaces of their own, with one
// cable between them: what keeps the two from talking can be done to it.
type clinic struct {
	t              *testing.T
	source, target string // names of the namespaces
	dir            string
	serve          *exec.Cmd // the target
}

const (
	clinicTarget = "10.98.0.1"
	clinicSource = "10.98.0.2"
)

func newClinic(t *testing.T, number int) *clinic {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the program ip: ", err)
	}
	c := &clinic{t: t, source: fmt.Sprintf("wr-s%d-%d", number, os.Getpid()), target: fmt.Sprintf("wr-t%d-%d", number, os.Getpid()), dir: t.TempDir()}
	for _, ns := range []string{c.source, c.target} {
		c.do("ip netns add " + ns)
		t.Cleanup(func() { c.do("ip netns del " + ns) })
	}
	c.do("ip -n " + c.source + " link add here type veth peer name there netns " + c.target)
	c.do("ip -n " + c.source + " addr add " + clinicSource + "/24 dev here")
	c.do("ip -n " + c.target + " addr add " + clinicTarget + "/24 dev there")
	c.do("ip -n " + c.source + " link set here up")
	c.do("ip -n " + c.target + " link set there up")
	return c
}

func (c *clinic) do(line string) {
	c.t.Helper()
	args := strings.Fields(line)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// wanrep returns a command in a namespace.
func (c *clinic) wanrep(namespace string, args ...string) *exec.Cmd {
	cmd := exec.Command("ip", append([]string{"netns", "exec", namespace, "wanrep"}, args...)...)
	cmd.Dir = c.dir
	return cmd
}

func (c *clinic) run(namespace string, args ...string) []byte {
	c.t.Helper()
	out, err := c.wanrep(namespace, args...).Output()
	if err != nil {
		c.t.Fatalf("wanrep %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// admit makes both appliances, starts the target, and pairs them.
func (c *clinic) admit() {
	c.t.Helper()
	c.run(c.target, "init", "target", "--dir", "dr", "--name", "paris", "--listen", clinicTarget+":7443")
	c.run(c.source, "init", "source", "--dir", "branch", "--name", "lyon")
	c.serve = c.wanrep(c.target, "serve", "--config", "dr/wanrep.toml")
	if err := c.serve.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.end)
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(c.dir, "dr", "wanrep.sock")); err == nil {
			break
		} else if time.Since(start) > patience {
			c.t.Fatal("the target does not serve: ", err)
		}
	}
	c.pair()
}

// end stops the target.
func (c *clinic) end() {
	if c.serve != nil {
		c.serve.Process.Signal(syscall.SIGTERM)
		c.serve.Wait()
	}
	c.serve = nil
}

// pair lets the source join the target.
func (c *clinic) pair() {
	c.t.Helper()
	var offer struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(c.run(c.target, "pair", "offer", "--config", "dr/wanrep.toml", "--json"), &offer); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "code"), []byte(offer.Code), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.run(c.source, "pair", "join", clinicTarget+":7443", "--config", "branch/wanrep.toml", "--code-file", "code")
}

// pairAnew pairs as the doctor says where one knows the other, and the other does not.
func (c *clinic) pairAnew() {
	c.t.Helper()
	c.run(c.source, "pair", "remove", "paris", "--config", "branch/wanrep.toml")
	c.pair()
}

// behindRouter makes the target's namespace a router on the way to other networks, of
// which it knows none.
func (c *clinic) behindRouter() {
	c.t.Helper()
	c.do("ip netns exec " + c.target + " sysctl -q -w net.ipv4.ip_forward=1")
	c.do("ip -n " + c.source + " route add default via " + clinicTarget)
}

// examine lets the source's doctor look, and returns its findings by their check.
func (c *clinic) examine() map[string]finding {
	c.t.Helper()
	out, _ := c.wanrep(c.source, "doctor", "--config", "branch/wanrep.toml", "--json").Output()
	return findings(c.t, out)
}

func findings(t *testing.T, out []byte) map[string]finding {
	t.Helper()
	var doc doctorDocument
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	all := map[string]finding{}
	for _, f := range doc.Findings {
		all[f.Check] = f
	}
	return all
}

// expectFinding checks what was found and what it says to do.
func expectFinding(t *testing.T, all map[string]finding, check, state, text, hint string) {
	t.Helper()
	f := all[check]
	if f.State != state || !strings.Contains(f.Text, text) || !strings.Contains(f.Hint, hint) {
		t.Errorf("%s: got %+v; want %s, with %q and the hint %q", check, f, state, text, hint)
	}
}

// rewrite changes the source's config.
func (c *clinic) rewrite(change func(string) string) {
	c.t.Helper()
	file := filepath.Join(c.dir, "branch", "wanrep.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	changed := change(string(text))
	if changed == string(text) {
		c.t.Fatalf("nothing to change in\n%s", text)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func replaced(old, new string) func(string) string {
	return func(config string) string { return strings.ReplaceAll(config, old, new) }
}

// aPin finds the first characters of a pin.
var aPin = regexp.MustCompile(`(pin = "sha256:)....`)

// TestDoctorOnTheNetwork does to a pair what networks and people do.
func TestDoctorOnTheNetwork(t *testing.T) {
	tests := []struct {
		name   string
		harm   func(c *clinic)
		change func(config string) string
		check  string
		state  string
		text   string
		hint   string
		cure   func(c *clinic) // what the hint says; nil if that is not for the test to do
	}{
		{name: "all is well", check: "clock", state: findingOK, text: "agrees with paris"},
		{name: "no name", change: replaced(clinicTarget, "nowhere.invalid"),
			check: "name", state: findingFailed, text: "nowhere.invalid", hint: "getent ahosts nowhere.invalid"},
		{name: "no route", change: replaced(clinicTarget, "203.0.113.9"),
			check: "route", state: findingFailed, text: "203.0.113.9: connect: network is unreachable", hint: "ip route get 203.0.113.9"},
		{name: "another key", change: func(config string) string { return aPin.ReplaceAllString(config, "${1}AAAA") },
			check: "link", state: findingFailed, text: "another appliance answers", hint: "here: wanrep pair remove paris, wanrep pair join " + clinicTarget + ":7443", cure: (*clinic).pairAnew},
		{name: "no pairing here", harm: func(c *clinic) { c.run(c.source, "pair", "remove", "paris", "--config", "branch/wanrep.toml") },
			check: "pairing", state: findingWarning, text: "not paired with any target", hint: "run wanrep pair offer at the target, then wanrep pair join ADDRESS here", cure: (*clinic).pair},
		{name: "no pairing there", harm: func(c *clinic) { c.run(c.target, "pair", "remove", "lyon", "--config", "dr/wanrep.toml") },
			check: "link", state: findingFailed, text: "does not accept", hint: "there: wanrep pair offer; here: wanrep pair remove paris, wanrep pair join " + clinicTarget + ":7443", cure: (*clinic).pairAnew},
		{name: "a closed port", harm: (*clinic).end,
			check: "link", state: findingFailed, text: "no answer", hint: "the machine answers, but no appliance listens there, or a firewall there rejects UDP: is wanrep serve running at the target? There: wanrep doctor"},
		{name: "a router that knows no way", harm: (*clinic).behindRouter, change: replaced(clinicTarget, "203.0.113.9"),
			check: "link", state: findingFailed, text: "no answer", hint: "a router or firewall on the way says that UDP to 203.0.113.9:7443 does not get there (network is unreachable)"},
		{name: "a firewall that refuses UDP", harm: func(c *clinic) {
			c.behindRouter()
			c.do("ip -n " + c.target + " rule add ipproto udp prohibit")
		}, change: replaced(clinicTarget, "203.0.113.9"),
			check: "link", state: findingFailed, text: "no answer", hint: "a router or firewall on the way says that UDP to 203.0.113.9:7443 does not get there (no route to host)"},
		{name: "a firewall that drops UDP", harm: func(c *clinic) { c.do("ip -n " + c.target + " rule add ipproto udp blackhole") },
			check: "link", state: findingFailed, text: "no answer", hint: "at the target: sudo nft insert rule inet filter input udp dport 7443 accept",
			cure: func(c *clinic) { c.do("ip -n " + c.target + " rule del ipproto udp blackhole") }},
		{name: "nothing comes back", harm: func(c *clinic) { c.do("ip -n " + c.target + " route add blackhole " + clinicSource + "/32") },
			check: "link", state: findingFailed, text: "no answer", hint: "a firewall on the way drops UDP: ask for UDP to " + clinicTarget + ":7443"},
		{name: "a narrow tunnel", harm: func(c *clinic) { c.do("ip -n " + c.source + " link set here mtu 1100") },
			check: "mtu", state: findingFailed, text: "1100 bytes to " + clinicTarget + ", QUIC needs 1228", hint: "ip link set dev DEVICE mtu 1228",
			cure: func(c *clinic) {
				c.do("ip -n " + c.source + " link set dev here mtu 1228")
				c.do("ip -n " + c.target + " link set dev there mtu 1228")
			}},
		{name: "a narrow tunnel that nobody knows of", harm: func(c *clinic) { c.do("ip -n " + c.target + " link set there mtu 1100") },
			check: "link", state: findingFailed, text: "no answer", hint: "datagrams of 1 byte get there and those of 1200 do not"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, i)
			c.admit()
			if tt.change != nil {
				c.rewrite(tt.change)
			}
			if tt.harm != nil {
				tt.harm(c)
			}
			expectFinding(t, c.examine(), tt.check, tt.state, tt.text, tt.hint)
			if tt.cure != nil {
				tt.cure(c)
				expectFinding(t, c.examine(), "clock", findingOK, "agrees with paris", "")
			}
		})
	}
}

// TestDoctorOfAnotherAccount examines with an account that may not do what the
// appliance has to.
func TestDoctorOfAnotherAccount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to be another account")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "wr")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(uid uint32, args ...string) []byte {
		cmd := exec.Command("wanrep", args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		// The program is found below a directory of root's alone.
		if self, err := os.Executable(); err == nil && uid != 0 {
			copied := filepath.Join(dir, "wanrep")
			data, err := os.ReadFile(self)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(copied, data, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd.Path, cmd.Err = copied, nil
		}
		out, _ := cmd.Output()
		return out
	}
	run(0, "init", "source", "--dir", "branch", "--name", "lyon")
	config := filepath.Join(dir, "branch", "wanrep.toml")
	f, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(dir, "os.img")
	fmt.Fprintf(f, "\n[[job]]\nname = \"n\"\npeer = \"p\"\nvms = [\"sql01\"]\n[[peer]]\nname = \"p\"\naddresses = [\"h:1\"]\n[[vm]]\nname = \"sql01\"\ndisks = [{ name = \"os\", path = %q }]\n", disk)
	f.Close()
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(config, 0o644); err != nil {
		t.Fatal(err)
	}

	all := findings(t, run(nobody, "doctor", "--config", config, "--json"))
	expectFinding(t, all, "identity", findingFailed, "permission denied", "")
	expectFinding(t, all, "state", findingFailed, "permission denied", "sudo chown -R nobody "+filepath.Join(dir, "branch", "state"))
	expectFinding(t, all, "disk", findingFailed, "permission denied", "sudo setfacl -m u:nobody:r "+disk)

	// What another account started once is not the appliance's own.
	if err := os.Chown(filepath.Join(dir, "branch", "state"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	all = findings(t, run(0, "doctor", "--config", config, "--json"))
	expectFinding(t, all, "state", findingWarning, "belongs to nobody", "sudo chown -R root ")
	if err := os.Chmod(filepath.Join(dir, "branch", "state", "identity.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	all = findings(t, run(0, "doctor", "--config", config, "--json"))
	expectFinding(t, all, "identity", findingFailed, "can be read by others (mode 0644): run chmod 600 ", "")
}

// TestDoctorOfAFullStore examines a target whose file system has little room, and
// then none.
func TestDoctorOfAFullStore(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", store, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("needs root to mount a file system: ", err)
	}
	defer unix.Unmount(store, 0)
	examine := func() map[string]finding {
		cmd := exec.Command("wanrep", "doctor", "--config", "dr/wanrep.toml", "--json")
		cmd.Dir = dir
		out, _ := cmd.Output()
		return findings(t, out)
	}
	cmd := exec.Command("wanrep", "init", "target", "--dir", "dr", "--name", "paris", "--listen", "127.0.0.1:0", "--store", store)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	expectFinding(t, examine(), "store", findingFailed, "only 64.0 KiB free", "df -h "+store)
	if err := os.WriteFile(filepath.Join(store, "fill"), make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	expectFinding(t, examine(), "store", findingFailed, "", "df -h "+store)
}

// TestDoctorOfSmallBuffers examines a machine that allows processes little.
func TestDoctorOfSmallBuffers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount over a file of the kernel")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("needs the program unshare: ", err)
	}
	dir := t.TempDir()
	cmd := exec.Command("wanrep", "init", "source", "--dir", "branch", "--name", "lyon")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, tt := range []struct{ receive, send, state, text, hint string }{
		{"212992", "7340032", findingWarning, "208.0 KiB to receive and 7.0 MiB to send at most, 7.0 MiB wanted", "sudo sysctl -w net.core.rmem_max=7340032 net.core.wmem_max=7340032"},
		{"7340032", "212992", findingWarning, "7.0 MiB to receive and 208.0 KiB to send at most, 7.0 MiB wanted", "sudo sysctl -w net.core.rmem_max=7340032 net.core.wmem_max=7340032"},
		{"7340032", "7340032", findingOK, "7.0 MiB to receive", ""},
	} {
		script := `for name in rmem_max wmem_max; do mount --bind "$name" "/proc/sys/net/core/$name" || exit; done; wanrep doctor --config branch/wanrep.toml --json`
		for name, text := range map[string]string{"rmem_max": tt.receive, "wmem_max": tt.send} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("unshare", "-m", "sh", "-c", script)
		cmd.Dir = dir
		out, _ := cmd.Output()
		expectFinding(t, findings(t, out), "socket buffer", tt.state, tt.text, tt.hint)
	}
}
