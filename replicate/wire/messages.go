package wire

import (
	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// The conversation on a link:
//
//	source                        target
//	Hello (may be 0-RTT)    →
//	                        ←     Welcome      positions of the VMs asked for
//	after the handshake, for one VM after the other:
//	Open                    →
//	                        ←     Opened       generation and offset of each disk
//	one stream a disk: Begin, frames →
//	                        ←     Durable …, Done, on the same stream
//	for a disk with a base, on a stream of its own: Digests →
//	                        ←     DigestList …
//	Commit                  →
//	                        ←     Committed
//
// Before Hello, or in place of it, the source may ask for the target's Clock. In
// place of it, or on a stream of its own, it may send StatusRequest, which is answered
// with StatusReply after the handshake.
//
// In place of any answer the target may say Refused. Hello changes nothing at the
// target, because an attacker can play a recorded one again.

// Limits on what a message may hold. They are far above what a Hyper-V host can
// run, and keep a message below MaxMessageBytes.
const (
	MaxVMs   = 256 // in one Hello
	MaxDisks = 260 // of one VM: 4 IDE and 256 SCSI disks
	MaxName  = 256 // bytes of a VM's or a disk's name
	// MaxIdentity is the most bytes of a snapshot's identity.
	MaxIdentity = 1024
	// MaxRPO is ten years in seconds. Nobody watches for longer.
	MaxRPO = 10 * 365 * 24 * 3600
	// MaxNote is the most bytes of a note.
	MaxNote = 1024
	// MaxBefore is the most earlier processes in a Hello. A source that starts more
	// often before it learns that a target has let one of them in looks like a copy.
	MaxBefore = 64
)

// MaxStatusBytes is the most that a StatusReply holds.
const MaxStatusBytes = 512 << 10

// StatusRequest asks a target how the source's VMs are there, or for the points of
// one.
type StatusRequest struct {
	// PointsOf is the VM whose points are asked for; empty asks for the status.
	PointsOf string `cbor:"0,keyasint,omitempty"`
}

// StatusReply answers it.
type StatusReply struct {
	// JSON is a progress.Status or a list of points, so that either end may know
	// more of it than the other.
	JSON []byte `cbor:"0,keyasint"`
}

// MaxTime is the last millisecond of the year 9999.
const MaxTime = 253402300799999

// Clock asks a target for the time it has, and is its answer. It changes nothing at
// either end, so that the state of the source has no part in it.
type Clock struct {
	// Time is in milliseconds of Unix time; 0 in the question.
	Time int64 `cbor:"0,keyasint"`
}

// Hello opens a link. The target answers Welcome.
type Hello struct {
	MinVersion uint32   `cbor:"0,keyasint"`
	MaxVersion uint32   `cbor:"1,keyasint"`
	Features   []string `cbor:"2,keyasint"`
	Software   string   `cbor:"3,keyasint"`
	// VMs are the VMs whose positions the source wants to know.
	VMs []string `cbor:"4,keyasint"`
	// Starts counts the processes of the source, Process is the random number of
	// this one, and Before those of processes that it goes on from. A target that
	// has let in one that is not among them refuses with CodeCopy.
	Starts  uint64     `cbor:"5,keyasint"`
	Process [16]byte   `cbor:"6,keyasint"`
	Before  [][16]byte `cbor:"7,keyasint"`
}

// Welcome tells the source where it can continue.
type Welcome struct {
	Version  uint32   `cbor:"0,keyasint"`
	Features []string `cbor:"1,keyasint"`
	Software string   `cbor:"2,keyasint"`
	// Positions are those of the VMs asked for that the target knows.
	Positions []Position `cbor:"3,keyasint"`
	// Store names the target's store for life.
	Store string `cbor:"4,keyasint"`
}

// A Position is what the target holds of one VM.
type Position struct {
	VM string `cbor:"0,keyasint"`
	// Point is the part under way, and Disks how far it is; empty without one.
	Point string         `cbor:"1,keyasint"`
	Disks []DiskPosition `cbor:"2,keyasint"`
	// Points is how many points are committed, Newest when the newest was, in Unix
	// seconds.
	Points int   `cbor:"3,keyasint"`
	Newest int64 `cbor:"4,keyasint"`
	// Last is the name of the newest committed point; empty without one.
	Last string `cbor:"5,keyasint"`
}

// A DiskPosition is how far one disk of a part is durable.
type DiskPosition struct {
	Disk    string `cbor:"0,keyasint"`
	Durable int64  `cbor:"1,keyasint"`
}

// Open asks for a restore point of a VM: the part there is, or a new one. Older
// links lose the VM to this one.
type Open struct {
	VM    string `cbor:"0,keyasint"`
	Disks []Disk `cbor:"1,keyasint"`
	// Point is the point that this run has under way; empty before the first
	// Opened. If the target has committed it meanwhile, because the answer to
	// Commit got lost with the link, it says so instead of beginning another.
	Point string `cbor:"2,keyasint"`
	// RPO is how old the newest point of the VM may become, in seconds; 0 is any
	// age. The target watches it too, since it is there when the source is not.
	RPO int64 `cbor:"3,keyasint,omitempty"`
}

// A Disk describes a disk of the point to open.
type Disk struct {
	Name               string   `cbor:"0,keyasint"`
	ID                 [16]byte `cbor:"1,keyasint"`
	Size               int64    `cbor:"2,keyasint"`
	LogicalSectorSize  int      `cbor:"3,keyasint"`
	PhysicalSectorSize int      `cbor:"4,keyasint"`
	// Identity names the snapshot's content. A disk of the part that was begun
	// from another content starts again.
	Identity string `cbor:"5,keyasint"`
}

// Opened answers Open.
type Opened struct {
	Point string `cbor:"0,keyasint"`
	Base  string `cbor:"1,keyasint"`
	// Generation goes into each Begin; a later Open ends it.
	Generation uint64 `cbor:"2,keyasint"`
	// Disks are in the order of Open.
	Disks []Offset `cbor:"3,keyasint"`
	// Committed tells that the point is committed already, with these Roots.
	Committed bool         `cbor:"4,keyasint"`
	Roots     []digest.Sum `cbor:"5,keyasint"`
	// Notes say in what the VM differs from the point before, for people.
	Notes []string `cbor:"6,keyasint,omitempty"`
}

// An Offset is where the source continues with a disk.
type Offset struct {
	Durable int64 `cbor:"0,keyasint"`
	// Complete tells that nothing more of the disk has to be sent.
	Complete bool `cbor:"1,keyasint"`
	// Based tells that the disk has content already, that of an older point or of
	// an earlier snapshot. The source asks for its Digests and sends what differs;
	// what no frame describes stays as it is.
	Based bool `cbor:"2,keyasint"`
	// BaseIdentity is the Identity that the source gave that content, if it is that
	// of an older point and known. A source that can tell what changed since reads
	// only that.
	BaseIdentity string `cbor:"3,keyasint,omitempty"`
	// Note says in what the disk differs from that of the point before, for people;
	// empty for one that is what it was.
	Note string `cbor:"4,keyasint,omitempty"`
}

// Begin is the first message on a disk's stream.
type Begin struct {
	Generation uint64 `cbor:"0,keyasint"`
	// Disk is the disk's place in Open.
	Disk   int   `cbor:"1,keyasint"`
	Offset int64 `cbor:"2,keyasint"`
}

// Digests asks for the digests of what a based disk holds, from a block on. It is
// the first message on a stream, which then carries DigestLists until the target
// closes it.
type Digests struct {
	Generation uint64 `cbor:"0,keyasint"`
	Disk       int    `cbor:"1,keyasint"`
	Offset     int64  `cbor:"2,keyasint"`
}

// A DigestList is a run of the digests that were asked for, in ascending order:
// DigestRecordBytes for each block that is not zeros.
type DigestList struct {
	Records []byte `cbor:"0,keyasint"`
	// Last tells that nothing follows.
	Last bool `cbor:"1,keyasint"`
}

// Durable tells that everything below Offset survives a crash of the target.
type Durable struct {
	Offset int64 `cbor:"0,keyasint"`
	// Busy is the share of the last seconds in which the target wrote, in percent.
	Busy int `cbor:"1,keyasint,omitempty"`
}

// Done tells that a disk is complete, durable and has the source's root.
type Done struct{}

// Commit asks to make the open point visible. Roots are in the order of Open.
type Commit struct {
	Roots []digest.Sum `cbor:"0,keyasint"`
}

// Committed answers Commit.
type Committed struct{}

// Codes of Refused.
const (
	CodeFull     = "full"     // the target's disk is full, or nearly
	CodeDenied   = "denied"   // the peer may not do this
	CodeVersion  = "version"  // no common version of the protocol
	CodeBusy     = "busy"     // the store is in use
	CodeDigest   = "digest"   // the content that arrived is not the source's
	CodeProtocol = "protocol" // the message is not allowed now, or is malformed
	CodeStore    = "store"    // the store failed: an I/O error
	CodeCopy     = "copy"     // the source is a copy, or an old state of itself
)

// Refused is the target's no. The link stays up unless the code is CodeProtocol.
type Refused struct {
	Code string `cbor:"0,keyasint"`
	Text string `cbor:"1,keyasint"`
}

// Error makes a Refused what a reader returns in place of what it waited for.
func (r *Refused) Error() string { return "refused: " + diskio.Printable(r.Text) }

// Unknown is a message of a type that this version does not know. Receivers skip
// it.
type Unknown struct {
	Type uint64
}
