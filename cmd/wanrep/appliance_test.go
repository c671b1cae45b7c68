package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wanrep/configs"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
	"wanrep/test/wan"
)

// TestAppliances runs scripts in which real processes replicate over loopback.
func TestAppliances(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "appliance"),
		Setup: func(env *testscript.Env) error {
			a := &actors{processes: map[string]*actor{}, lines: map[string]*wan.Line{}}
			env.Values[actorsKey] = a
			env.Defer(a.end)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePort, "disk": makeDisk, "line": openLine, "cut": cutLine, "restore": restoreLine,
			"start": startActor, "serves": awaitServing, "durable": awaitDurable, "term": stopActor, "kill9": killActor,
			"exits": exits, "field": checkField, "extract": extract, "await": awaitText, "fetch": fetch, "unpack": unpack, "nosecrets": noSecrets, "ends": awaitEnd,
			"corrupt": scriptCorrupt,
		},
	})
}

// patience only ends a script that hangs.
const patience = 60 * time.Second

type actorsKeyType struct{}

var actorsKey actorsKeyType

// actors are what a script keeps going.
type actors struct {
	processes map[string]*actor
	lines     map[string]*wan.Line
}

type actor struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func actorsOf(ts *testscript.TestScript) *actors { return ts.Value(actorsKey).(*actors) }

func (a *actors) end() {
	for _, p := range a.processes {
		p.cmd.Process.Kill()
		<-p.ended
	}
	for _, l := range a.lines {
		l.Close()
	}
}

// freeport VAR sets VAR to a UDP port of 127.0.0.1 that nobody has.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	defer pc.Close()
	ts.Setenv(args[0], strconv.Itoa(pc.LocalAddr().(*net.UDPAddr).Port))
}

// disk FILE SIZE-MIB DATA-MIB SEED makes a raw disk that begins with data and
// ends with a hole.
func makeDisk(ts *testscript.TestScript, _ bool, args []string) {
	size, data, seed := number(ts, args[1])<<20, number(ts, args[2])<<20, number(ts, args[3])
	content := make([]byte, data)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(content)
	path := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(path, content, 0o600))
	ts.Check(os.Truncate(path, size))
}

// line VAR PORT MBIT puts a line of a rate before a target and sets VAR to the
// address of its near end.
func openLine(ts *testscript.TestScript, _ bool, args []string) {
	target := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(number(ts, args[1])))
	shape := wan.Shape{Rate: number(ts, args[2]) * 1e6, Delay: 2 * time.Millisecond}
	l, err := wan.New(wan.Config{Target: target, Paths: []wan.Path{
		{Name: "only", From: target.Addr(), Up: shape, Down: shape},
	}})
	ts.Check(err)
	actorsOf(ts).lines[args[0]] = l
	ts.Setenv(args[0], l.Addr().String())
}

func cutLine(ts *testscript.TestScript, _ bool, args []string) { actorsOf(ts).lines[args[0]].CutAll() }

func restoreLine(ts *testscript.TestScript, _ bool, args []string) {
	actorsOf(ts).lines[args[0]].RestoreAll()
}

// start NAME COMMAND… runs a command beside the script, with its output in
// NAME.out and NAME.err.
func startActor(ts *testscript.TestScript, _ bool, args []string) {
	path, err := lookPath(ts, args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	out, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer out.Close()
	logs, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer logs.Close()
	cmd.Stdout, cmd.Stderr = out, logs
	ts.Check(cmd.Start())
	p := &actor{cmd: cmd, ended: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.ended)
	}()
	actorsOf(ts).processes[args[0]] = p
}

func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// serves CONFIG waits until the appliance answers on its socket.
func awaitServing(ts *testscript.TestScript, _ bool, args []string) {
	awaitStatus(ts, args[0], func(progress.Status) bool { return true })
}

// durable CONFIG MIB waits until as much is durable at the target.
func awaitDurable(ts *testscript.TestScript, _ bool, args []string) {
	want := number(ts, args[1]) << 20
	awaitStatus(ts, args[0], func(s progress.Status) bool {
		sum := int64(0)
		for _, v := range s.VMs {
			for _, d := range v.Disks {
				sum += d.Durable
			}
		}
		return sum >= want
	})
}

func awaitStatus(ts *testscript.TestScript, config string, happened func(progress.Status) bool) {
	cfg, err := configs.Load(ts.MkAbs(config))
	ts.Check(err)
	client := control.Client{Socket: cfg.Control.Socket}
	var last any
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		s, err := client.Status(context.Background())
		if err == nil && happened(s) {
			return
		}
		if last = s; err != nil {
			last = err
		}
	}
	ts.Fatalf("%s: nothing happened within %v; last: %+v", config, patience, last)
}

// term NAME CODE asks a process to end, and expects its exit code.
func stopActor(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(actorsOf(ts).processes[args[0]].cmd.Process.Signal(syscall.SIGTERM))
	awaitEnd(ts, neg, args)
}

// ends NAME CODE waits for a process to end, and expects its exit code.
func awaitEnd(ts *testscript.TestScript, _ bool, args []string) {
	p := actorsOf(ts).processes[args[0]]
	select {
	case <-p.ended:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	if got := p.cmd.ProcessState.ExitCode(); got != int(number(ts, args[1])) {
		ts.Fatalf("%s ended with %d, want %s\n%s", args[0], got, args[1], ts.ReadFile(args[0]+".err"))
	}
}

// kill9 NAME ends a process as a power cut would.
func killActor(ts *testscript.TestScript, _ bool, args []string) {
	p := actorsOf(ts).processes[args[0]]
	p.cmd.Process.Kill()
	<-p.ended
}

// exits CODE COMMAND… runs a command and expects its exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		code = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != int(number(ts, args[0])) {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// field FILE PATH WANT looks into a JSON document: the path is keys and indexes
// with dots between, and WANT what stands there; ! field expects another value.
// With FILE "stdout" it is the last command's.
func checkField(ts *testscript.TestScript, neg bool, args []string) {
	got := lookUp(ts, args[0], args[1])
	if (got == args[2]) == neg {
		ts.Fatalf("%s is %s, want %s (negated: %v)", args[1], got, args[2], neg)
	}
}

// extract FILE PATH OUT writes what stands at a path of a JSON document to a file.
func extract(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(lookUp(ts, args[0], args[1])+"\n"), 0o600))
}

func lookUp(ts *testscript.TestScript, file, path string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(file)))
	d.UseNumber()
	ts.Check(d.Decode(&v))
	for key := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i := int(number(ts, key))
			if v = nil; i < len(in) {
				v = in[i]
			}
		default:
			v = nil
		}
	}
	return fmt.Sprint(v)
}

// fetch URL FILE writes what an HTTP server answers to a file.
func fetch(ts *testscript.TestScript, _ bool, args []string) {
	client := http.Client{Timeout: patience}
	resp, err := client.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("%s: %s\n%s", args[0], resp.Status, body)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), body, 0o600))
}

// await FILE TEXT waits until a file has a text.
func awaitText(ts *testscript.TestScript, _ bool, args []string) {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(text), args[1]) {
			return
		}
	}
	ts.Fatalf("%s has no %q within %v:\n%s", args[0], args[1], patience, ts.ReadFile(args[0]))
}

func number(ts *testscript.TestScript, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	ts.Check(err)
	return n
}
