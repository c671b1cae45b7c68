// Package progress is what an appliance tells of itself: one [Status], which
// the control socket serves, `wanrep status` prints and the terminal UI draws.
//
// The engine writes to a [Board]; readers get a copy once a second and never
// reach into replication. Sizes are bytes, durations seconds, rates bytes a
// second, times UTC.
package progress

import "time"

// Schema names the form of Status in JSON.
const Schema = "wanrep.status/1"

// A Status is an appliance at one moment.
type Status struct {
	Schema  string    `json:"schema"`
	Role    string    `json:"role"` // "source" or "target"
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`
	Links   []Link    `json:"links"`
	Jobs    []Job     `json:"jobs"`
	VMs     []VM      `json:"vms"`
	Events  []Event   `json:"events"`
	// Samples are the rates of the last five minutes, oldest first.
	Samples []Sample `json:"samples"`
}

// States of a Link.
const (
	LinkIdle    = "idle"    // no run needs it
	LinkDialing = "dialing" // the first attempt, or the one at once after a loss
	LinkUp      = "up"
	LinkRedial  = "redial" // lost; dialing on the timer
	LinkDown    = "down"   // given up
)

// A Link is the relation to one peer: the QUIC connection, or the way to one.
type Link struct {
	Peer    string    `json:"peer"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Because string    `json:"because"` // why it is in this state; empty when up
	// Path is the name of the uplink in use; Remote the peer's address.
	Path   string  `json:"path"`
	Remote string  `json:"remote"`
	RTT    float64 `json:"rtt"`  // seconds
	Loss   float64 `json:"loss"` // share of packets lost, 0 to 1
	// Attempt of Attempts in this redial window, and when the next one is made.
	Attempt  int       `json:"attempt"`
	Attempts int       `json:"attempts"`
	NextDial time.Time `json:"next_dial"`
	LinkTotals
}

// LinkTotals count what happened to a link over a run.
type LinkTotals struct {
	Migrations     int     `json:"migrations"`
	Reattaches     int     `json:"reattaches"`
	Redials        int     `json:"redials"` // dial attempts after the one at once
	ResumedTLS     int     `json:"resumed_tls"`
	Used0RTT       int     `json:"used_0rtt"`
	LongestStall   float64 `json:"longest_stall"` // seconds without a byte while some were owed
	RepairOverhead float64 `json:"repair_overhead"`
}

// A Job is what runs and when.
type Job struct {
	Job      string    `json:"job"`
	Peer     string    `json:"peer"`
	VMs      []string  `json:"vms"`
	Schedule string    `json:"schedule"`
	State    string    `json:"state"` // "idle", "running", "waiting to retry"
	Next     time.Time `json:"next"`  // zero if only started by hand
	Try      int       `json:"try"`
	LastRun  time.Time `json:"last_run"`
	Outcome  string    `json:"outcome"` // of the last run: "", "committed", "parked", "failed"
	Because  string    `json:"because"`
}

// States of a VM and of a Disk.
const (
	Waiting    = "waiting"
	Verifying  = "verifying" // the source reads again what an earlier run sent
	Sending    = "sending"   // at the source
	Receiving  = "receiving" // at the target
	Stalled    = "stalled"   // the link is lost; continues at the durable offset
	Complete   = "complete"  // a disk: all durable; a VM waits for its commit
	Committed  = "committed"
	Parked     = "parked"
	Failed     = "failed"
	NotStarted = "not started"
)

// A VM is one VM of this appliance, as a source sends it or a target keeps it.
type VM struct {
	Source  string    `json:"source"` // at a target: whose VM it is
	VM      string    `json:"vm"`
	Job     string    `json:"job"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Because string    `json:"because"`
	// Point is the restore point being sent or received; empty when idle.
	Point string `json:"point"`
	// Newest is when the newest committed point was taken; zero if there is none.
	Newest time.Time `json:"newest"`
	Points int       `json:"points"`
	Disks  []Disk    `json:"disks"`
}

// A Disk is one disk of the point that is under way.
type Disk struct {
	Disk        string    `json:"disk"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`
	Because     string    `json:"because"`
	VirtualSize int64     `json:"virtual_size"`
	// Stored is how many bytes of the disk must be read, holes left out; 0 if
	// not known.
	Stored int64 `json:"stored"`
	// Left is how many of the Stored bytes still have to be sent; negative if not
	// known, as at a target.
	Left int64 `json:"left"`
	// Offset is how far it is sent or received, Durable how far it is safe at
	// the target.
	Offset  int64 `json:"offset"`
	Durable int64 `json:"durable"`
	DiskTotals
	ReadRate float64 `json:"read_rate"` // content that moved on, holes left out
	WireRate float64 `json:"wire_rate"`
	// ETA is in seconds; negative if not known.
	ETA float64 `json:"eta"`
}

// DiskTotals count one disk's bytes over a run.
type DiskTotals struct {
	Read        int64 `json:"read"`
	SkippedZero int64 `json:"skipped_zero"`
	SkippedSame int64 `json:"skipped_same"`
	Data        int64 `json:"data"`   // had to go over, before compression
	Wire        int64 `json:"wire"`   // bytes on the stream
	Resent      int64 `json:"resent"` // the part of Data sent more than once
}

// Levels of an Event.
const (
	Info    = "info"
	Warning = "warning"
	Error   = "error"
)

// An Event is something worth reading a week later.
type Event struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Text  string    `json:"text"`
	Peer  string    `json:"peer,omitempty"`
	VM    string    `json:"vm,omitempty"`
	Disk  string    `json:"disk,omitempty"`
}

// A Sample is the appliance's rates over one second.
type Sample struct {
	Wire float64 `json:"wire"`
	Data float64 `json:"data"`
}
