// Command bench measures what the README states.
//
//	go run ./test/bench disks
//	go run ./test/bench kills [-n 200] [-seed S]
//	go run ./test/bench loopback [-pairs N] [-only CONTENT]
//	go run ./test/bench reattach [-runs N] [-only NAME]
//	go run ./test/bench store
//	go run ./test/bench wan [--lines LIST] [--tools LIST] [--work LIST] [--runs N] [--size MiB]
//	go run ./test/bench wan --fair
//	go run ./test/bench line NAME
//
// The last one lays one of the lines of wan and leaves it to you.
//
// Where it measures rates it compares two things side by side in one run, in turn,
// because a rate by itself says more about the machine and the minute than about
// the code. Where it measures what happens to a line, the line is slow enough that
// the machine is not what limits. It exits with 1 if what it measured is not as it
// should be, and with 2 if it cannot measure here.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	if _, usage := errors.AsType[usageError](err); usage {
		os.Exit(2)
	}
	os.Exit(1)
}

// A usageError says that nothing was measured: the arguments are wrong, or this is
// not the machine for it.
type usageError struct{ error }

func run(ctx context.Context, args []string, out io.Writer) error {
	commands := map[string]func(context.Context, []string, io.Writer) error{
		"disks": disks, "kills": kills, "loopback": loopback, "reattach": reattach, "store": store, "wan": wideArea, "line": layLine,
		"raw-receive": rawReceive, "raw-send": rawSend, // the processes of loopback
	}
	if len(args) > 0 && commands[args[0]] != nil {
		return commands[args[0]](ctx, args[1:], out)
	}
	return usageError{errors.New("usage: bench disks|kills|loopback|reattach|store|wan|line [flags]; -h after the name lists them")}
}

// A spread is the median of some measurements and their extremes.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	return spread{v[len(v)/2], v[0], v[len(v)-1]}
}

func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", s.median, s.least, s.most) }

// seconds measures one call.
func seconds(do func() error) (float64, error) {
	began := time.Now()
	err := do()
	return time.Since(began).Seconds(), err
}
