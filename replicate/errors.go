package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"wanrep/diskio"
	"wanrep/replicate/wire"
)

var (
	// ErrRedialSpent means that the line stayed down for the whole redial window.
	ErrRedialSpent = errors.New("the line stayed down for the whole redial window")
	// ErrInterrupted means that the run was told to stop.
	ErrInterrupted = errors.New("interrupted")
	// ErrUnknownJob means that no job has this name.
	ErrUnknownJob = errors.New("no such job")
	// ErrRunning means that the job, or a VM of it, is under way already.
	ErrRunning = errors.New("already running")
	// ErrNoLink means that a peer can't be asked: a run dials it already.
	ErrNoLink = errors.New("the line is lost, and the run under way dials it")
	// ErrPaused means that the operator holds the job.
	ErrPaused = errors.New("paused")
)

// A RefusedError is the target's no. It is not worth a redial.
type RefusedError struct {
	Code string // one of the codes of package wire
	Text string
}

func (e *RefusedError) Error() string { return "the target refused: " + e.Text }

// Hint tells what to do about it.
func (e *RefusedError) Hint() string {
	switch e.Code {
	case wire.CodeFull:
		return "free space at the target, then run the job again; it continues where it stopped"
	case wire.CodeVersion:
		return "bring both appliances to the same version, the target first"
	case wire.CodeDigest:
		return "run the job again; the disk is sent anew. If it comes back, test the memory of both machines"
	case wire.CodeCopy:
		return "stop the other one; to go on with this one, run wanrep pair remove with its name and wanrep pair offer at the target, and wanrep pair join here: its points stay"
	case wire.CodeStore:
		return "look at the target's log and its disk"
	}
	return ""
}

// refused turns an answer from the peer into an error that is fit to print.
func refused(m *wire.Refused) *RefusedError {
	return &RefusedError{Code: diskio.Printable(m.Code), Text: diskio.Printable(m.Text)}
}

// A DiskError is trouble with one disk at the source.
type DiskError struct {
	VM, Disk string
	Err      error
}

func (e *DiskError) Error() string { return fmt.Sprintf("disk %s of %s: %v", e.Disk, e.VM, e.Err) }
func (e *DiskError) Unwrap() error { return e.Err }

// retryable reports whether an error means that the network dropped, and so
// whether attaching again and continuing is the answer. Everything else makes
// the job retry in the regular manner. It is the only place that decides this.
func retryable(err error) bool {
	var refused *RefusedError
	var disk *DiskError
	var protocol *wire.ProtocolError
	switch {
	case err == nil:
		return false
	case errors.As(err, &refused), errors.As(err, &disk), errors.As(err, &protocol):
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, ErrRedialSpent):
		return false
	case errors.Is(err, io.EOF):
		// The target ended a stream without a word: it is going away.
		return true
	}
	var link interface{ Dropped() bool }
	return errors.As(err, &link) && link.Dropped()
}

// errStreamEnded is a stream that the target ended without a word, as an appliance
// does that is going away.
var errStreamEnded = fmt.Errorf("the target ended the stream: %w", io.EOF)
