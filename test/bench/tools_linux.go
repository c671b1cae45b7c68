package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wanrep/test/wanlink"
)

// A tool is something that carries disks.
type tool struct {
	name  string
	needs []string // programs
	// canWork reports whether it can do a workload.
	canWork func(work) bool
	setUp   func(context.Context, *stage) (carrier, error)
}

func anyWork(work) bool       { return true }
func wholeDisks(w work) bool  { return !w.changed }
func streamsOnly(w work) bool { return w.name == workWhole }

// bbr is the name of the tool that the goals compare with.
const bbr = "iperf3 bbr"

var tools = []tool{
	{"wanrep", nil, anyWork, setUpWanrep("auto")},
	{"wanrep off", nil, wholeDisks, setUpWanrep("off")},
	{bbr, []string{"iperf3"}, streamsOnly, setUpIperf(5202, "bbr")},
	{"iperf3 cubic", []string{"iperf3"}, streamsOnly, setUpIperf(5201, "cubic")},
	{"rsync", []string{"rsync", "ssh", "/usr/sbin/sshd", "ssh-keygen"}, anyWork, setUpSSH(2222, rsync)},
	{"scp", []string{"scp", "/usr/sbin/sshd", "ssh-keygen"}, wholeDisks, setUpSSH(2223, scp)},
	{"nbdcopy", []string{"nbdkit", "nbdcopy"}, wholeDisks, setUpNBD},
}

// absent says why a tool cannot be measured here; empty if it can.
func (t tool) absent() string {
	for _, program := range t.needs {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("%s is not measured: there is no %s", t.name, program)
		}
	}
	if t.name == bbr {
		available, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
		if !strings.Contains(string(available), "bbr") {
			return t.name + " is not measured: the kernel module tcp_bbr is not loaded"
		}
	}
	return ""
}

// A wanrepCarrier sends the disk as that of a VM. The target forgets it again, unless
// the disk changes.
type wanrepCarrier struct {
	*stage
	source, target *site
	serving        *process
}

func setUpWanrep(repair string) func(context.Context, *stage) (carrier, error) {
	return func(ctx context.Context, s *stage) (carrier, error) {
		c := &wanrepCarrier{stage: s}
		dir := filepath.Join(s.dir, "repair-"+repair)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		listen := wanlink.TargetAddress + ":7443"
		if repair == "off" { // both may run at a time
			listen = wanlink.TargetAddress + ":7444"
		}
		tables := fmt.Sprintf("[link]\nrepair = %q\n[[job]]\nname = \"now\"\npeer = \"paris\"\nvms = [\"sql01\"]\nschedule = \"manual\"\n"+
			"[[vm]]\nname = \"sql01\"\ndisks = [{ name = \"disk\", path = %q }]\n", repair, s.disk)
		var err error
		if c.source, err = newSite(ctx, s.wanrep, s.Source, dir, "source", "lyon", nil, tables); err != nil {
			return nil, err
		}
		if c.target, err = newSite(ctx, s.wanrep, s.Target, dir, "target", "paris", []string{"--listen", listen}, ""); err != nil {
			return nil, err
		}
		if c.serving, err = c.target.serve(ctx); err == nil {
			err = c.source.pair(ctx, c.target, listen)
		}
		if err == nil && s.changed {
			_, err = c.source.output(ctx, "", "run", "now", "--config", c.source.config, "--json")
		}
		if err != nil {
			c.close()
			return nil, err
		}
		return c, nil
	}
}

// replica is where the target keeps the VM.
func (c *wanrepCarrier) replica() string {
	return filepath.Join(c.target.dir, "store", "lyon", "sql01")
}

func (c *wanrepCarrier) next(ctx context.Context) (*exec.Cmd, error) {
	if !c.changed {
		if err := os.RemoveAll(c.replica()); err != nil {
			return nil, err
		}
	}
	return c.command(ctx, c.Source, c.wanrep, "run", "now", "--config", c.source.config, "--json"), nil
}

// check exports the new point and compares it.
func (c *wanrepCarrier) check(ctx context.Context, _ []byte) (float64, error) {
	out := filepath.Join(c.target.dir, "export")
	defer os.RemoveAll(out)
	_, err := c.target.output(ctx, "", "points", "export", "--store", filepath.Join(c.target.dir, "store"),
		"--source", "lyon", "--vm", "sql01", "--point", "latest", "--to", out, "--format", "raw")
	if err != nil {
		return 0, err
	}
	return 0, same(c.disk, filepath.Join(out, "disk.raw"))
}

func (c *wanrepCarrier) server() *exec.Cmd { return c.serving.cmd }

func (c *wanrepCarrier) close() {
	if c.serving != nil {
		c.serving.kill()
	}
}

// A daemon is the process of a tool at the target.
type daemon struct{ cmd *exec.Cmd }

// serve starts a server and waits until it can be reached, at a port of the target.
func (s *stage) serve(ctx context.Context, port int, line ...string) (daemon, error) {
	cmd := s.command(ctx, s.Target, line...)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return daemon{}, err
	}
	began := time.Now()
	for !s.listens(port) {
		if err := pause(ctx, 20*time.Millisecond); err != nil || time.Since(began) > patience {
			daemon{cmd}.close()
			return daemon{}, errors.Join(err, fmt.Errorf("%v does not listen on port %d: %s", line, port, &said))
		}
	}
	return daemon{cmd}, nil
}

// listens reports whether something at the target listens on a TCP port.
func (s *stage) listens(port int) bool {
	out, err := exec.Command("ip", "netns", "exec", s.Target, "cat", "/proc/net/tcp", "/proc/net/tcp6").Output()
	return err == nil && strings.Contains(string(out), fmt.Sprintf(":%04X 0", port))
}

func (d daemon) server() *exec.Cmd { return d.cmd }

func (d daemon) close() {
	_ = d.cmd.Cancel()
	_ = d.cmd.Wait()
}

// An iperfCarrier sends what has no content over one TCP connection, for as long as the
// disk would take, and counts what arrives without what it takes to connect.
type iperfCarrier struct {
	*stage
	daemon
	port       string
	congestion string
}

func setUpIperf(port int, congestion string) func(context.Context, *stage) (carrier, error) {
	return func(ctx context.Context, s *stage) (carrier, error) {
		running, err := s.serve(ctx, port, "iperf3", "-s", "-p", strconv.Itoa(port))
		return &iperfCarrier{s, running, strconv.Itoa(port), congestion}, err
	}
}

func (c *iperfCarrier) next(ctx context.Context) (*exec.Cmd, error) {
	return c.command(ctx, c.Source, "iperf3", "-c", wanlink.TargetAddress, "-p", c.port, "-C", c.congestion,
		"-t", fmt.Sprintf("%.0f", c.nominal().Seconds()), "-J"), nil
}

func (c *iperfCarrier) check(_ context.Context, stdout []byte) (float64, error) {
	var report struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal(stdout, &report); err != nil {
		return 0, fmt.Errorf("read what iperf3 reports: %w", err)
	}
	return report.End.Received.Rate / 8, nil
}
