package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"wanrep/test/wanlink"
)

// layLine is the emulator: it lays one of the lines, says as JSON where, and obeys what
// is written to its stdin until that ends.
func layLine(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("line", flag.ContinueOnError)
	queue := flags.Float64("queue", 0, "queue, in what the rate carries in a round trip; default: 1, at least 50 ms")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	chosen, err := chooseRoutes(flags.Arg(0))
	if err != nil || len(chosen) != 1 || flags.NArg() != 1 {
		return usageError{errors.Join(errors.New(`usage: bench line [-queue N] NAME; then "cut", "mend" or "counters" on stdin`), err)}
	}
	if err := canMeasure("line"); err != nil {
		return err
	}
	wanlink.Prompt()
	line := chosen[0].line
	line.Forth.Queue, line.Back.Queue = *queue, *queue
	link, err := wanlink.Lay(fmt.Sprintf("wanrep-line-%d", os.Getpid()), line)
	if err != nil {
		return err
	}
	return errors.Join(obey(ctx, link, os.Stdin, json.NewEncoder(out)), link.Close())
}

// counted is what both directions of a line counted.
type counted struct{ Forth, Back wanlink.Counters }

func obey(ctx context.Context, link *wanlink.Link, in io.Reader, answer *json.Encoder) error {
	if err := answer.Encode(lineEnds{link.Source, link.Target}); err != nil {
		return err
	}
	commands := make(chan string)
	go func() {
		defer close(commands)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			commands <- lines.Text()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case command, more := <-commands:
			switch command {
			case "cut":
				link.Cut()
			case "mend":
				link.Mend()
			case "counters":
			default:
				if !more {
					return nil
				}
				fmt.Fprintf(os.Stderr, "bench: line: there is no command %q\n", command)
			}
			var c counted
			c.Forth, c.Back = link.Counters()
			if err := answer.Encode(c); err != nil {
				return err
			}
		}
	}
}

// lineEnds are the namespaces of a line.
type lineEnds struct{ Source, Target string }

// An emulator is a process that carries a line. Whatever ends this process ends it
// too, and it then removes all it made.
type emulator struct {
	lineEnds
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

func startEmulator(r route, queue float64) (*emulator, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &emulator{cmd: exec.Command(self, "line", "-queue", strconv.FormatFloat(queue, 'g', -1, 64), r.name)}
	// In a process group of its own it does not see the interrupt from a terminal,
	// and outlives what uses the line.
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	e.cmd.Stderr = os.Stderr
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	e.answers = json.NewDecoder(out)
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	if err := e.answers.Decode(&e.lineEnds); err != nil {
		return nil, fmt.Errorf("start the line: %w", errors.Join(err, e.close()))
	}
	return e, nil
}

// ask gives the emulator a command and returns what it has counted.
func (e *emulator) ask(command string) (c counted, err error) {
	if _, err = io.WriteString(e.in, command+"\n"); err == nil {
		err = e.answers.Decode(&c)
	}
	if err != nil {
		err = fmt.Errorf("%s, to the line: %w", command, err)
	}
	return c, err
}

func (e *emulator) close() error {
	e.in.Close()
	return e.cmd.Wait()
}
