package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long anything may take that must happen. It only ends a run that
// hangs.
const patience = 90 * time.Second

// A site is the place of one appliance: its directory, and the namespace that its
// commands run in; none is this process's own.
type site struct {
	wanrep, namespace string
	dir, config       string
}

// newSite lets wanrep fill the directory of an appliance, which is made in dir. The
// tables are added to its config.
func newSite(ctx context.Context, wanrep, namespace, dir, role, name string, flags []string, tables string) (*site, error) {
	s := &site{wanrep: wanrep, namespace: namespace, dir: filepath.Join(dir, name)}
	s.config = filepath.Join(s.dir, "wanrep.toml")
	if _, err := s.output(ctx, "", append([]string{"init", role, "--dir", s.dir, "--name", name}, flags...)...); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("\n" + tables)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return s, err
}

func (s *site) socket() string { return filepath.Join(s.dir, "wanrep.sock") }

func (s *site) command(ctx context.Context, args ...string) *exec.Cmd {
	line := append([]string{s.wanrep}, args...)
	if s.namespace != "" {
		line = append([]string{"ip", "netns", "exec", s.namespace}, line...)
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	// ip becomes wanrep, so this also ends wanrep if the benchmark is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// output runs a command that has to succeed and returns its stdout.
func (s *site) output(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := s.command(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("wanrep %s: %w\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.Bytes(), nil
}

// A process is a wanrep that runs until it ends or is killed.
type process struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer // complete once the process has ended
	ended  chan struct{}

	mu     sync.Mutex
	stderr bytes.Buffer
	ready  chan struct{} // closed when it says so
}

func (s *site) start(ctx context.Context, args ...string) (*process, error) {
	p := &process{cmd: s.command(ctx, args...), ended: make(chan struct{}), ready: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, p
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// serve starts the appliance and waits until it serves. The process is one to end
// even if there is an error too.
func (s *site) serve(ctx context.Context) (*process, error) {
	p, err := s.start(ctx, "serve", "--config", s.config)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.ready:
		return p, nil
	case <-p.ended:
		return p, fmt.Errorf("the appliance ended: %s", p.said())
	case <-time.After(patience):
		return p, fmt.Errorf("the appliance is not ready after %v: %s", patience, p.said())
	case <-ctx.Done():
		return p, ctx.Err()
	}
}

// pair lets a source know a target, which serves at an address.
func (s *site) pair(ctx context.Context, target *site, address string) error {
	out, err := target.output(ctx, "", "pair", "offer", "--config", target.config, "--json")
	if err != nil {
		return err
	}
	var offer struct{ Code string }
	if err := json.Unmarshal(out, &offer); err != nil {
		return fmt.Errorf("read the offer: %w", err)
	}
	_, err = s.output(ctx, offer.Code+"\n", "pair", "join", address, "--config", s.config, "--code-file", "-")
	return err
}

// Write takes what the process says on stderr.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := bytes.Contains(p.stderr.Bytes(), []byte("ready\n"))
	n, err := p.stderr.Write(b)
	if !was && bytes.Contains(p.stderr.Bytes(), []byte("ready\n")) {
		close(p.ready)
	}
	return n, err
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// wait waits for a process that has to succeed, and returns its stdout.
func (p *process) wait(ctx context.Context) ([]byte, error) {
	select {
	case <-p.ended:
	case <-time.After(patience):
		return nil, fmt.Errorf("%v still runs after %v\n%s", p.cmd.Args, patience, p.said())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return nil, fmt.Errorf("%v ended with exit code %d\n%s%s", p.cmd.Args, code, &p.stdout, p.said())
	}
	return p.stdout.Bytes(), nil
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
