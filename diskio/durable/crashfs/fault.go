package crashfs

import (
	"errors"
	"syscall"

	"wanrep/diskio/durable"
)

// An Op is one operation on the file system.
type Op struct {
	N        int    // its place, counting from 1
	Kind     string // "create", "open", "write", "read", "truncate", "sync", "syncdir", ...
	Name, To string
	Length   int // of a read or write, in bytes
	// Changes tells operations that change something or make it durable from
	// those that only look.
	Changes bool
}

// A Kind says how a [Fault] strikes.
type Kind int

const (
	// Fail makes the operation do nothing and return the error. A failed sync
	// drops what was not durable.
	Fail Kind = iota
	// Short makes a write store half of its bytes and return the error; it is
	// Fail for other operations.
	Short
	// Late makes the operation succeed and return the error nevertheless.
	Late
	// Crash cuts the power during the operation. Every later one returns
	// [ErrCrashed], and Crash tells what is left.
	Crash
)

// A Fault strikes one operation.
type Fault struct {
	At   int // the operation's place, counting from 1; 0 is never
	Kind Kind
	Err  error // default: [ErrIO]
	// Sticky lets every operation from At on fail that changes something.
	Sticky bool
}

var (
	// ErrCrashed is what operations return once the power is cut.
	ErrCrashed = errors.New("the power is cut")
	// ErrIO is a disk's error.
	ErrIO error = syscall.EIO
	// ErrFull is a full disk's error.
	ErrFull = durable.ErrFull
)

// Inject sets the fault that strikes, in place of an earlier one.
func (f *FS) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault.Err == nil {
		fault.Err = ErrIO
	}
	f.fault = fault
}

// Trace calls fn with each operation from now on, before it is done. fn must not
// use the file system.
func (f *FS) Trace(fn func(Op)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trace = fn
}

// Ops returns how many operations there were.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Crashed reports whether a fault has cut the power.
func (f *FS) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// A verdict is what becomes of an operation.
type verdict int

const (
	done    verdict = iota // it takes effect
	refused                // it does not
	halved                 // a write stores half
	cut                    // the power went during it
)

// step counts an operation and says what becomes of it and what it returns.
func (f *FS) step(op Op) (verdict, error) {
	if f.dead {
		return refused, ErrCrashed
	}
	f.ops++
	op.N = f.ops
	if f.trace != nil {
		f.trace(op)
	}
	later := f.fault.Sticky && op.Changes && f.ops > f.fault.At
	if f.fault.At == 0 || f.ops != f.fault.At && !later {
		return done, nil
	}
	switch f.fault.Kind {
	case Crash:
		f.dead = true
		return cut, ErrCrashed
	case Late:
		return done, f.fault.Err
	case Short:
		return halved, f.fault.Err
	}
	return refused, f.fault.Err
}

// do takes an operation whose effect is not durable at once: it has all of it or
// none, and a power cut during it leaves that open.
func (f *FS) do(op Op, effect func()) error {
	v, err := f.step(op)
	if v == done || v == cut {
		effect()
	}
	return err
}
