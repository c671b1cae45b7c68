// Package control is how a command talks to a running appliance on the same
// machine: HTTP with JSON over a unix socket.
//
// Who may open the socket may do everything the appliance can; the file's mode
// and its directory decide that, and nothing here asks for a password. A second
// socket can be made that only tells. It never listens on a network. The package moves documents and knows nothing of
// replication: what the appliance does is a [Handler], and the documents of runs
// and points pass through as they are.
//
// [Listen] makes the socket, [Serve] or [ServeReadOnly] answers on it, [Client] asks.
// The requests, of which a read-only socket answers the first three:
//
//	GET    /v1/status        a progress.Status
//	GET    /v1/points        the points document
//	GET    /v1/events        {"event":…} for each of the last events, then {"end":true}; with
//	                         ?follow=true those that come instead of the end
//	GET    /v1/peers/{name}/status   how this source's VMs are at that target
//	GET    /v1/peers/{name}/points?vm=NAME   the points of one of them, a points document
//	GET    /v1/logs          the same with {"log":…} for the lines of the log
//	GET    /v1/goroutines    {"text":…}, how many goroutines are where in the code
//	POST   /v1/runs          {"job":"…"}; a line a second {"status":…}, then {"report":…,"error":…}
//	DELETE /v1/runs/{job}    interrupt that run
//	POST   /v1/prune         a prune request; {"report":…,"error":…}
//	POST   /v1/tested        which failover was tested; what is known of the point then
//	POST   /v1/scrub         a scrub request; {"report":…,"error":…}
//	POST   /v1/pause         {"job":"…","because":"…"}; without a job all are held
//	POST   /v1/resume        {"job":"…"}
//	PUT    /v1/limit         {"rate":bytes a second}; 0 is no limit
//	PUT    /v1/log-level     {"level":"debug"}
//	POST   /v1/pair/offer    {"wait":true}; {"offer":…}, and with wait {"joined":…} or {"error":…}
//	GET    /v1/pair          {"peers":[…]}
//	DELETE /v1/pair/{name}   forget a peer
//
// A request that cannot be done is answered {"error":{"code","text","hint"}}. A
// stream that is followed has an empty line now and then, so that its reader knows
// that the appliance lives; a reader that does not keep up is told so and cut off.
package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"wanrep/replicate/progress"
)

// A Handler is what the socket reaches: an appliance and the log of its process.
type Handler interface {
	Appliance
	Logging
}

// An Appliance is the one behind the socket. Its methods are called from
// several goroutines at once. An error may be, or wrap, an [Error], which then
// reaches the client as it is; any other error arrives with the code Failed.
type Appliance interface {
	// Status returns the newest snapshot, at once. It is not changed by anybody.
	Status() progress.Status
	// Run runs a job once. The context ends when the one who asked goes away,
	// interrupts the run, or the appliance ends. A run that began returns a
	// report, even beside an error.
	Run(ctx context.Context, job string) (report json.RawMessage, err error)
	// Points returns the document of all points of the store.
	Points(ctx context.Context) (json.RawMessage, error)
	// PeerStatus asks a target how this source's VMs are there.
	PeerStatus(ctx context.Context, peer string) (progress.Status, error)
	// PeerPoints asks a target for the document of the points of one of this source's
	// VMs.
	PeerPoints(ctx context.Context, peer, vm string) (json.RawMessage, error)
	// Prune removes points of the store that its rules do not keep, or tells which.
	// What the request says is the appliance's to read. A report may come even beside
	// an error. It ends early when ctx does.
	Prune(ctx context.Context, request json.RawMessage) (report json.RawMessage, err error)
	// NoteTested notes that a failover was tested, or takes that back. What the request
	// says is the appliance's to read.
	NoteTested(ctx context.Context, request json.RawMessage) (report json.RawMessage, err error)
	// Scrub reads parts of a point again that are said to be damaged, and notes what is.
	// What the request says is the appliance's to read, and the report is empty.
	Scrub(ctx context.Context, request json.RawMessage) (report json.RawMessage, err error)
	// Events are what happens.
	Events() *progress.Feed[progress.Event]
	Operation
	Pairing
}

// Operation is what the operator may change while the appliance runs. None of it
// survives the process.
type Operation interface {
	// Pause holds a job, or all of them if job is empty, until Resume.
	Pause(ctx context.Context, job, because string) error
	Resume(ctx context.Context, job string) error
	// Limit sets how much is sent in all, in bytes a second; 0 is no limit.
	Limit(ctx context.Context, bytesPerSecond int64) error
}

// Logging is the log of the appliance's process.
type Logging interface {
	Logs() *progress.Feed[LogLine]
	// SetLogLevel sets how much is logged from now on.
	SetLogLevel(level slog.Level)
}

// A LogLine is one record of the log.
type LogLine struct {
	Time  time.Time         `json:"time"`
	Level string            `json:"level"` // "DEBUG", "INFO", "WARN" or "ERROR"
	Text  string            `json:"text"`
	Attrs map[string]string `json:"attrs,omitempty"`
}

// Pairing is how an appliance comes to know its peers.
type Pairing interface {
	// Offer makes a one-time code.
	Offer(ctx context.Context) (Offer, error)
	// Joined waits until somebody used the code, which is void when ctx ends.
	Joined(ctx context.Context, o Offer) (Peer, error)
	Peers(ctx context.Context) ([]Peer, error)
	// Remove forgets a peer. It may attach no more.
	Remove(ctx context.Context, name string) error
}

// An Offer is a code that pairs one peer, once, until it expires. The code is a
// secret: it is never logged.
type Offer struct {
	Code    string    `json:"code"`
	Expires time.Time `json:"expires"`
}

// A Peer is an appliance that this one is paired with.
type Peer struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Pin       string   `json:"pin"`
}

// Limits of the socket. A client on the same machine is quick and brief, so
// what goes beyond them is a mistake or an attack.
const (
	maxConnections  = 64
	maxHeaderBytes  = 16 << 10
	maxRequestBytes = 64 << 10
	// maxLineBytes bounds what a client keeps of one answer; a status of a
	// thousand VMs has about 1 MiB.
	maxLineBytes  = 64 << 20
	headerTimeout = 5 * time.Second
	// answerTimeout is for one request and its answer, or for one line of a
	// stream.
	answerTimeout = 15 * time.Second
	// idleTimeout closes a connection that nobody uses.
	idleTimeout = 10 * time.Second
	// statusEvery is the pace of a run's status lines.
	statusEvery = time.Second
	// quietEvery is how long a stream that is followed may be without a line.
	quietEvery = 5 * time.Second
	// endTimeout is how long requests may finish when the appliance ends: a
	// run needs it to park and to tell so.
	endTimeout = 15 * time.Second
)

// runRequest is the body of POST /v1/runs.
type runRequest struct {
	Job string `json:"job"`
}

// pauseRequest is the body of POST /v1/pause and /v1/resume.
type pauseRequest struct {
	Job     string `json:"job"`
	Because string `json:"because,omitempty"`
}

// limitRequest is the body of PUT /v1/limit.
type limitRequest struct {
	Rate int64 `json:"rate"`
}

// levelRequest is the body of PUT /v1/log-level.
type levelRequest struct {
	Level slog.Level `json:"level"`
}

// offerRequest is the body of POST /v1/pair/offer.
type offerRequest struct {
	Wait bool `json:"wait"`
}

// line is one line of a stream. The last line of a run has a report, an error
// or both; no other line has either. An empty line only shows that there is life.
type line struct {
	Event  *progress.Event  `json:"event,omitempty"`
	Log    *LogLine         `json:"log,omitempty"`
	End    bool             `json:"end,omitempty"`
	Status *progress.Status `json:"status,omitempty"`
	Report json.RawMessage  `json:"report,omitempty"`
	Offer  *Offer           `json:"offer,omitempty"`
	Joined *Peer            `json:"joined,omitempty"`
	Error  *Error           `json:"error,omitempty"`
}

// goroutinesAnswer is the answer to GET /v1/goroutines.
type goroutinesAnswer struct {
	Text string `json:"text"`
}

// peersAnswer is the answer to GET /v1/pair.
type peersAnswer struct {
	Peers []Peer `json:"peers"`
}

// errorAnswer is the answer to a request that cannot be done.
type errorAnswer struct {
	Error *Error `json:"error"`
}
