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
	Samples  []Sample `json:"samples"`
	History  History  `json:"history"`
	Pipeline Pipeline `json:"pipeline"`
	// Pause holds every job of a source.
	Pause
	// MaxRate is the most that is sent a second, in bytes; 0 is no limit.
	MaxRate int64 `json:"max_rate"`
	// Store is where a target keeps its points; it is zero at a source.
	Store Store `json:"store,omitzero"`
}

// A Pause is the operator's wish that nothing is sent. It ends with the appliance.
type Pause struct {
	Paused        bool      `json:"paused"`
	PausedSince   time.Time `json:"paused_since"`
	PausedBecause string    `json:"paused_because"` // in the operator's words; may be empty
}

// Limits of a Pipeline: what the transfer would need more of to be faster.
const (
	LimitNone     = ""         // nothing is sent
	LimitRead     = "read"     // the source's disk
	LimitDigest   = "digest"   // the source's processor
	LimitCompress = "compress" // the source's processor
	LimitNetwork  = "network"  // the line
	LimitReceiver = "receiver" // the target, which is busy writing
	LimitThrottle = "throttle" // the configured rate
	LimitLoss     = "loss"     // the line, which loses packets
	LimitWrite    = "write"    // the target's disk
)

// A Pipeline tells which share of the last seconds each stage of the way of a
// block was busy, from 0 to 1: a disk or the network when anything waited for it,
// Digest and Compress in relation to all processors. At a source, Write is what the
// target tells of itself; a target knows only that one.
type Pipeline struct {
	Read     float64 `json:"read"`
	Digest   float64 `json:"digest"`
	Compress float64 `json:"compress"`
	Network  float64 `json:"network"`
	Write    float64 `json:"write"`
	// Limit is the stage that the others wait for, one of the Limit constants.
	Limit string `json:"limit"`
}

// A Store is where a target keeps its points.
type Store struct {
	Path  string `json:"path"`
	Free  int64  `json:"free"`  // bytes of the file system that are free
	Total int64  `json:"total"` // bytes of the file system
	// Points counts the committed points of all sources; Oldest is when the oldest
	// of them was taken.
	Points int       `json:"points"`
	Oldest time.Time `json:"oldest"`
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
	RTT    float64 `json:"rtt"` // seconds
	// Queue is how many seconds longer round trips take now than the shortest of
	// this path: about what waits on the way. Window is how many bytes may be under
	// way without an answer; 0 at a target.
	Queue  float64 `json:"queue"`
	Window int64   `json:"window"`
	Loss   float64 `json:"loss"` // share of packets lost, 0 to 1
	// PacketsSent and PacketsLost count over the QUIC connection that there is, or
	// the last one.
	PacketsSent int64 `json:"packets_sent"`
	PacketsLost int64 `json:"packets_lost"`
	// Lanes is how many QUIC connections the link has: more than a few where the
	// line loses packets at random. LineRate is what the line was seen to carry when
	// it was full, in bytes a second; 0 if that is not known.
	Lanes    int     `json:"lanes"`
	LineRate float64 `json:"line_rate"`
	// Attempt of Attempts in this redial window, and when the next one is made.
	Attempt  int       `json:"attempt"`
	Attempts int       `json:"attempts"`
	NextDial time.Time `json:"next_dial"`
	// DialError is why the last attempt failed, empty after one that did not, and
	// Class its kind: whether waiting helps or somebody has to do something.
	DialError string `json:"dial_error"`
	Class     string `json:"class"`
	// Uplinks are the ways out of a source's site, the preferred one first.
	Uplinks []Uplink `json:"uplinks"`
	LinkTotals
}

// States of an Uplink.
const (
	UplinkActive  = "active"  // the link runs over it
	UplinkStandby = "standby" // probed and ready to take over
	UplinkUp      = "up"      // has an address, and is not probed
	UplinkDown    = "down"
)

// An Uplink is one way out of a source's site, as one link sees it.
type Uplink struct {
	Name  string  `json:"name"`
	State string  `json:"state"`
	RTT   float64 `json:"rtt"` // seconds; 0 if not measured
}

// LinkTotals count what happened to a link over a run.
type LinkTotals struct {
	Migrations   int     `json:"migrations"`
	Reattaches   int     `json:"reattaches"`
	Redials      int     `json:"redials"` // dial attempts after the one at once
	ResumedTLS   int     `json:"resumed_tls"`
	Used0RTT     int     `json:"used_0rtt"`
	LongestStall float64 `json:"longest_stall"` // seconds without a byte while some were owed
	// RepairOverhead is the share of the packets that the line lost, 0 to 1: so
	// much was sent beside what had to be.
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
	RPO      float64   `json:"rpo"` // seconds; 0 is none
	// Pause holds this job alone.
	Pause
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
	// FirstSeen is since when this appliance knows the VM.
	FirstSeen time.Time `json:"first_seen"`
	// Point is the restore point being sent or received; empty when idle.
	Point string `json:"point"`
	// Newest is when the newest committed point was taken; zero if there is none.
	Newest time.Time `json:"newest"`
	// Lag is the age of the newest point in seconds, at the time of the status; 0
	// if there is none.
	Lag float64 `json:"lag"`
	// RPO is the lag that the operator allows, in seconds; 0 if nothing was said.
	RPO    float64 `json:"rpo"`
	Points int     `json:"points"`
	// Verified is when a target's scrub last came to the end of the VM's points and knew
	// of no damage, Tested when somebody last said that a failover was tested and worked;
	// zero is never, and at a source.
	Verified time.Time `json:"verified"`
	Tested   time.Time `json:"tested"`
	// Damage says what is wrong with the VM's points at a target; empty if nothing
	// is known to be.
	Damage string `json:"damage"`
	// Held says why points that the keep rules let go stay at a target; empty if
	// none do.
	Held  string `json:"held"`
	Disks []Disk `json:"disks"`
}

// Late tells that the VM is not as recoverable as its RPO demands: the newest
// point is older, or there is none.
func (v VM) Late() bool {
	return v.RPO > 0 && (v.Newest.IsZero() || v.Lag > v.RPO)
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
