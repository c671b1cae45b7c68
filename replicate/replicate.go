// Package replicate is the engine: it sends the disks of a VM from a source
// appliance, receives them at a target appliance, and commits them there as one
// restore point. It decides what happens when the line drops.
//
// It sees neither sockets nor file formats. A source is given snapshots of disks
// and an Attacher that finds the target; a target is given a store (package
// resume) and the links that sources open. Who wires them is cmd/wanrep.
//
// The way of a block, at the source: a diskRun asks its Snapshot for the next
// extent with data (plan.go), reads it, drops zeros, digests and compresses in
// parallel (pipeline.go), and writes frames to the disk's stream in order
// (send.go). At the target: receive.go checks and writes frames, and every 64 MiB
// or second syncs, journals and acknowledges the durable offset. When all disks
// are done, the source asks for the commit.
//
// When a link is lost, run.go attaches again and every disk continues at the
// target's durable offset, in the same restore point. Start with source.go or
// target.go.
//
// Where a snapshot can tell what changed since the content that the target has (see
// changeLister), only that is read. The root of the new point then has, for all other
// blocks, the digests that the target keeps of its base: it proves the new point as far
// as those are what the source once proved. A target that lies about them, or about
// which content its base has, harms nobody but itself; one whose base rots is found by
// verifying the points, whose digests do not rot with it. What the source's disk was at
// that identity, and that it is so still below the children, is the word of the disk's
// files. Whenever one of these is in doubt, all of the disk is read.
//
// Neither end has to be the one it was: fence.go tells a source from a copy of it,
// and seen.go a target's store from one that lost points.
package replicate

import (
	"context"
	"io"

	"wanrep/replicate/progress"
)

// A Link is one connection to the peer. Its methods and those of its streams
// return at once when the link is lost. An error that ends a link says through a
// method Dropped() bool whether the network was the reason.
type Link interface {
	OpenStream(ctx context.Context) (Stream, error)
	AcceptStream(ctx context.Context) (Stream, error)
	// Peer is the name under which the peer was paired.
	Peer() string
	// Confirmed waits until the handshake is complete. What was read before may
	// have been recorded and played again by somebody else.
	Confirmed(ctx context.Context) error
	Close(code uint64, reason string) error
}

// A Stream carries one disk, or the control messages.
type Stream interface {
	io.Reader
	io.Writer
	// Close ends both directions: what was written is still delivered, input that
	// is not read yet is refused. It must not run beside Write.
	Close() error
	// Abort gives both directions up at once, from any goroutine. A Read or Write
	// that waits returns.
	Abort()
}

// Codes of Link.Close. Those below CloseProtocol have the meaning that the
// transport gives them.
const (
	CloseDone       = 0
	CloseShutdown   = 1 // the appliance stops; it will be back
	CloseBusy       = 2 // too many links
	CloseSuperseded = 4 // a newer link has taken over
	CloseProtocol   = 0x100
)

// A Snapshot is one disk held still while it is read. Its methods may be called
// from several goroutines at once.
type Snapshot interface {
	io.ReaderAt
	Size() int64
	// NextData returns the first extent at or after off that may hold anything
	// but zeros, or io.EOF.
	NextData(off int64) (start, length int64, err error)
	// Identity names the content.
	Identity() (string, error)
	// Check returns an error if the content changed since the snapshot was taken.
	Check() error
	Close() error
}

// A changeLister is a Snapshot that can tell what changed since a state of which the
// identity is known, as far as its files tell without being read: what checkpoints
// left in the children of that state. ok is false if it does not know that state.
type changeLister interface {
	ChangedSince(is func(identity string) bool) (next func(off int64) (start, length int64, err error), ok bool)
}

// Geometry is what a replica must have in common with its disk besides content.
type Geometry struct {
	ID                 [16]byte // all zero if the format has none
	LogicalSectorSize  int      // bytes, 512 or 4096
	PhysicalSectorSize int      // bytes, 512 or 4096
}

// An Attacher finds the way to one target, again and again over one run.
type Attacher interface {
	// Attach returns a new link: dialed at once, and if that fails every redial
	// interval until the redial window is spent, which is [ErrRedialSpent]. The
	// window restarts when progress tells that the last link moved a durable
	// offset. An error that is no dropped network ends it at once.
	Attach(ctx context.Context, progress bool) (Link, error)
	// Totals counts what happened so far.
	Totals() progress.LinkTotals
	Close() error
}
