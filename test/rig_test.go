package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a scenario waits for anything. It only ends a test that
// hangs.
const patience = 90 * time.Second

// binary is wanrep, built once.
var binary struct {
	sync.Once
	dir, path string
	err       error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binary.dir != "" {
		os.RemoveAll(binary.dir)
	}
	os.Exit(code)
}

// wanrepPath builds wanrep, without the race detector: its memory and its speed
// are measured here.
func wanrepPath(t *testing.T) string {
	t.Helper()
	binary.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "wanrep-test-"); binary.err != nil {
			return
		}
		binary.path = filepath.Join(binary.dir, "wanrep")
		if runtime.GOOS == "windows" {
			binary.path += ".exe"
		}
		var out []byte
		out, binary.err = exec.Command("go", "build", "-o", binary.path, "../cmd/wanrep").CombinedOutput()
		if binary.err != nil {
			binary.err = fmt.Errorf("build wanrep: %w\n%s", binary.err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

// A site is the place of one appliance: its directory, and the commands run
// there.
type site struct {
	t      *testing.T
	name   string
	dir    string
	config string
	// within runs every command inside of something, such as a network namespace.
	within []string
}

// newSite makes the directory of an appliance and lets wanrep fill it. The path is
// short, because it also holds a socket.
func newSite(t *testing.T, role, name string, within []string, flags ...string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "wr-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, name: name, dir: dir, config: filepath.Join(dir, "wanrep.toml"), within: within}
	s.must(append([]string{"init", role, "--dir", dir, "--name", name}, flags...)...)
	return s
}

// configure appends tables to the config.
func (s *site) configure(text string) {
	s.t.Helper()
	f, err := os.OpenFile(s.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\n" + text); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) command(args ...string) *exec.Cmd {
	line := append(append(append([]string{}, s.within...), wanrepPath(s.t)), args...)
	return exec.Command(line[0], line[1:]...)
}

// must runs a command that has to succeed and returns its stdout.
func (s *site) must(args ...string) []byte {
	s.t.Helper()
	return s.mustWith("", args...)
}

// mustWith gives the command something to read.
func (s *site) mustWith(stdin string, args ...string) []byte {
	s.t.Helper()
	cmd := s.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s: wanrep %s: %v\n%s%s", s.name, strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.Bytes()
}

// A process is a wanrep that runs until it ends or is ended.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr watchedBuffer
	ended  chan struct{}
}

func (s *site) start(args ...string) *process {
	s.t.Helper()
	p := &process{t: s.t, cmd: s.command(args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	s.t.Cleanup(p.kill)
	return p
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// stop asks the process to end and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%v still runs after %v:\n%s", p.cmd.Args, patience, p.stderr.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// A watchedBuffer takes what a process writes while others look at it.
type watchedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *watchedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *watchedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A target is a target appliance that can run.
type target struct {
	*site
	store   string
	address string
	serving *process
}

// newTarget makes a target that listens on the host and keeps its points in
// store, or in its own directory if store is empty.
func newTarget(t *testing.T, host, store string, within []string) *target {
	t.Helper()
	address := net.JoinHostPort(host, fmt.Sprint(freePort(t)))
	flags := []string{"--listen", address}
	if store != "" {
		flags = append(flags, "--store", store)
	}
	s := newSite(t, "target", "paris", within, flags...)
	if store == "" {
		store = filepath.Join(s.dir, "store")
	}
	tg := &target{site: s, store: store, address: address}
	tg.configure(shortLink)
	return tg
}

// shortLink makes a lost link show in seconds.
const shortLink = "[link]\nidle_timeout = \"3s\"\nkeepalive = \"500ms\"\n"

// serve starts the target and waits until it serves.
func (tg *target) serve() {
	tg.t.Helper()
	tg.serving = tg.start("serve", "--config", tg.config)
	eventually(tg.t, "the target to serve", func() bool {
		if !tg.serving.running() {
			tg.t.Fatalf("the target ended:\n%s", tg.serving.stderr.String())
		}
		return strings.Contains(tg.serving.stderr.String(), "ready\n")
	})
}

// points lists the store, as one can while the target runs and when it does not.
func (tg *target) points() []point {
	tg.t.Helper()
	var doc struct{ Points []point }
	decode(tg.t, tg.must("points", "list", "--store", tg.store, "--json"), &doc)
	return doc.Points
}

// A point is an entry of "wanrep points list --json".
type point struct {
	Source, VM, Point, State string
	Disks                    []struct {
		Disk        string
		VirtualSize int64 `json:"virtual_size"`
		Durable     int64
		Root        string
	}
}

func (p point) durable() (sum int64) {
	for _, d := range p.Disks {
		sum += d.Durable
	}
	return sum
}

// only returns the one point that must be in the store.
func (tg *target) only(state string) point {
	tg.t.Helper()
	points := tg.points()
	if len(points) != 1 || points[0].State != state {
		tg.t.Fatalf("the store has %+v, want one point that is %s", points, state)
	}
	return points[0]
}

// A source is a source appliance that can run its job.
type source struct {
	*site
	disks []disk
}

// A disk is one that a source sends.
type disk struct{ name, path string }

// newSource makes a source with one VM that is sent by hand to the target.
func newSource(t *testing.T, disks []disk, within []string, tables ...string) *source {
	t.Helper()
	s := &source{site: newSite(t, "source", "lyon", within), disks: disks}
	var list []string
	for _, d := range disks {
		list = append(list, fmt.Sprintf("{ name = %q, path = %q }", d.name, filepath.ToSlash(d.path)))
	}
	s.configure(shortLink +
		"[reattach]\nredial_every = \"1s\"\nredial_for = \"1m\"\n" +
		"[[job]]\nname = \"now\"\npeer = \"paris\"\nvms = [\"sql01\"]\n" +
		"[[vm]]\nname = \"sql01\"\ndisks = [" + strings.Join(list, ", ") + "]\n" +
		strings.Join(tables, "\n"))
	return s
}

// pair pairs the source with the target, which it reaches at an address. The
// target must serve.
func (s *source) pair(tg *target, address string) {
	s.t.Helper()
	var offer struct{ Code string }
	decode(s.t, tg.must("pair", "offer", "--config", tg.config, "--json"), &offer)
	s.mustWith(offer.Code+"\n", "pair", "join", address, "--config", s.config, "--code-file", "-")
}

// A report is what "wanrep run --json" prints.
type report struct {
	Schema, Outcome string
	Error           *string
	Link            struct {
		Migrations, Reattaches, Redials int
		LongestStall                    float64 `json:"longest_stall"`
	}
	VMs []struct {
		VM, Point, Outcome string
		Disks              []struct {
			Disk               string
			VirtualSize        int64 `json:"virtual_size"`
			Data, Wire, Resent int64
			Root               string
		}
	}
	Events []struct{ Text string }
}

// tells reports whether an event of the run begins with a text.
func (r report) tells(text string) bool {
	return slices.ContainsFunc(r.Events, func(e struct{ Text string }) bool { return strings.HasPrefix(e.Text, text) })
}

func (r report) point() string { return r.VMs[0].Point }

func (r report) data() (data, resent int64) {
	for _, d := range r.VMs[0].Disks {
		data += d.Data
		resent += d.Resent
	}
	return data, resent
}

// run starts a run of the source's job.
func (s *source) run() *process {
	return s.start("run", "now", "--config", s.config, "--json")
}

// finish waits for a run that must end with the exit code, and returns its report.
func finish(run *process, code int) report {
	run.t.Helper()
	if got := run.wait(); got != code {
		run.t.Fatalf("the run ended with exit code %d, want %d\n%s%s", got, code, run.stdout.String(), run.stderr.String())
	}
	var r report
	decode(run.t, run.stdout.Bytes(), &r)
	return r
}

// A status is what "wanrep status --json" prints of a source that runs.
type status struct {
	Links []struct{ State, Path string }
	VMs   []struct {
		State, Point string
		Disks        []struct {
			Disk                    string
			Stored, Offset, Durable int64
		}
	}
}

// status asks the running source. It is empty while nothing answers.
func (s *source) status() (st status) {
	s.t.Helper()
	out, err := s.command("status", "--config", s.config, "--json").Output()
	if err == nil {
		decode(s.t, out, &st)
	}
	return st
}

// durable is what the source knows to be durable.
func (st status) durable() (sum int64) {
	for _, vm := range st.VMs {
		for _, d := range vm.Disks {
			sum += d.Durable
		}
	}
	return sum
}

// stalled reports whether the run waits for a link.
func (st status) stalled() bool { return len(st.VMs) > 0 && st.VMs[0].State == "stalled" }

// path is the uplink of the link, or empty while there is none.
func (st status) path() string {
	for _, l := range st.Links {
		if l.State == "up" {
			return l.Path
		}
	}
	return ""
}

// moving waits until a run has made more bytes durable than before.
func (s *source) moving(run *process, before int64) {
	s.t.Helper()
	eventually(s.t, "the run to move on", func() bool {
		if !run.running() {
			s.t.Fatalf("the run ended too soon, with exit code %d\n%s%s", run.wait(), run.stdout.String(), run.stderr.String())
		}
		return s.status().durable() > before
	})
}

// decode reads a JSON document that stands alone.
func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}

// eventually waits for something that must happen.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !happened() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// freePort returns a UDP port that nobody has now.
func freePort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

// needs skips the test if a program is not installed.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); errors.Is(err, exec.ErrNotFound) {
			t.Skipf("needs the program %s", p)
		}
	}
}
