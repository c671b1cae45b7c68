package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

const (
	// cutFor is how long the line is away in the workload that cuts it.
	cutFor = 5 * time.Second
	// settle is how long is waited after a transfer for what it leaves to end, such
	// as the session of an SSH server.
	settle = 300 * time.Millisecond
	// clockTick is the unit of the times in /proc (proc(5), sysconf(_SC_CLK_TCK)).
	clockTick = 10 * time.Millisecond
)

// A stage is where tools are measured in turn: a line, and a disk at its source.
type stage struct {
	route
	work
	*emulator
	wanrep, dir string
	runs        int
	disk        string // path
	size        int64
	content     int64 // bytes of it that have to be carried
}

// command makes a command in one of the namespaces, in a process group of its own that
// ends with the context.
func (s *stage) command(ctx context.Context, namespace string, line ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", namespace}, line...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// A carrier is a tool that is set up on a stage.
type carrier interface {
	// next returns the command for another transfer of the disk.
	next(ctx context.Context) (*exec.Cmd, error)
	// check proves that everything arrived, and returns the rate of the transfer
	// in bytes a second if the tool knows better than the clock.
	check(ctx context.Context, stdout []byte) (rate float64, err error)
	// server is the process at the target.
	server() *exec.Cmd
	close()
}

// A taken is what one transfer took.
type taken struct {
	seconds float64
	// rate is the goodput in bytes a second. Of a transfer that was ended because it
	// took too long it is what the line delivered, which is more than the goodput.
	rate       float64
	unfinished bool
	sent       float64 // bytes of IP packets that left the source, for each of content
	cpu        float64 // seconds at both ends, for each GB of content
	// The most memory in use, MiB.
	atSource, atTarget float64
}

// nominal is how long the line takes for the content at its rate, in whole seconds.
func (s *stage) nominal() time.Duration {
	seconds := float64(s.content*8) / float64(s.line.Forth.Rate)
	return time.Duration(math.Ceil(seconds)) * time.Second
}

// patience is when a transfer is ended: tools that send the empty half of a disk take
// longer, too.
func (s *stage) patience() time.Duration {
	return 4*s.nominal() + 20*s.roundTrip() + cutFor
}

// transfer measures one.
func (s *stage) transfer(ctx context.Context, c carrier) (m taken, err error) {
	limited, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	cmd, err := c.next(limited)
	if err != nil {
		return m, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	serverBefore, err := cpuOf(c.server().Process.Pid)
	if err != nil {
		return m, err
	}
	before, err := s.ask("counters")
	if err != nil {
		return m, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return m, err
	}
	broken := make(chan error, 1)
	go func() { broken <- s.cutHalfway(limited) }()
	failed := cmd.Wait()
	m.seconds = time.Since(began).Seconds()
	m.unfinished = limited.Err() != nil && ctx.Err() == nil
	cancel()
	if err := errors.Join(ctx.Err(), <-broken); err != nil {
		return m, err
	}
	if failed != nil && !m.unfinished {
		return m, fmt.Errorf("%v: %w\n%s%s", cmd.Args, failed, &stdout, &stderr)
	}
	if err := pause(ctx, settle); err != nil {
		return m, err
	}
	after, err := s.ask("counters")
	if err != nil {
		return m, err
	}
	serverAfter, err := cpuOf(c.server().Process.Pid)
	if err != nil {
		return m, err
	}
	carried := float64(s.content)
	m.rate = carried / m.seconds
	if m.unfinished {
		carried = float64(after.delivered() - before.delivered())
		m.rate = carried / m.seconds
		fmt.Fprintf(os.Stderr, "ended after %.0f s: %v\n%s%s", m.seconds, cmd.Args, &stdout, &stderr)
	} else if rate, err := c.check(ctx, stdout.Bytes()); err != nil {
		return m, err
	} else if rate > 0 {
		m.rate, carried = rate, rate*s.nominal().Seconds()
	}
	m.sent = float64(after.Forth.TakenBytes-before.Forth.TakenBytes) / carried
	state := cmd.ProcessState
	m.cpu = (state.UserTime() + state.SystemTime() + serverAfter - serverBefore).Seconds() / carried * 1e9
	m.atSource = float64(state.SysUsage().(*syscall.Rusage).Maxrss) / 1024
	m.atTarget, err = memoryOf(c.server().Process.Pid)
	return m, err
}

func (c counted) delivered() uint64 { return c.Forth.TCPBytes + c.Forth.UDPBytes }

// cutHalfway cuts the line for a while in the middle of a transfer, if the workload
// says so, and always leaves it whole.
func (s *stage) cutHalfway(ctx context.Context) error {
	if !s.cut || pause(ctx, s.nominal()/2) != nil {
		return nil
	}
	if _, err := s.ask("cut"); err != nil {
		return err
	}
	_ = pause(ctx, cutFor)
	_, err := s.ask("mend")
	return err
}

// cpuOf returns the processor time of a process and of those of its children that have
// ended (proc(5), stat).
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // after the name
	fields := bytes.Fields(rest)
	const first = 14 - 3 // utime, stime, cutime, cstime; the third field is the first here
	if len(fields) < first+4 {
		return 0, fmt.Errorf("read the times of process %d: %q", pid, text)
	}
	var sum int
	for _, field := range fields[first : first+4] {
		ticks, err := strconv.Atoi(string(field))
		if err != nil {
			return 0, err
		}
		sum += ticks
	}
	return time.Duration(sum) * clockTick, nil
}

// memoryOf returns the most memory that a process had in use, in MiB.
func memoryOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte("VmHWM:"))
	var kib float64
	_, err = fmt.Sscan(string(rest), &kib)
	return kib / 1024, err
}
