// Package wire is what two appliances say to each other inside a link: control
// messages and disk frames.
//
// A control message is a length, a type and a CBOR body; it opens restore points,
// names positions and commits. It travels on the control stream, which the source
// opens first, and on the way back of each disk's stream. A frame carries a run
// of a disk's blocks from source to target under a fixed binary header with its
// own checksum. Everything here is untrusted when read: lengths are checked
// before anything is allocated, and a broken message or frame is a
// [ProtocolError].
//
// Start with messages.go for the conversation and frame.go for the data.
package wire

import "fmt"

// Version is the version of the protocol that this package speaks. A target
// answers a Hello with the highest version that both know.
const Version = 1

// Features are the optional parts of the protocol that this package knows. There
// are none yet; a peer ignores names it does not know.
var Features = []string{}

// A ProtocolError says what in a message or frame is against the protocol. It is
// never worth a redial: the same bytes would come again.
type ProtocolError struct {
	What   string // "frame", "message hello"
	Reason string
}

func (e *ProtocolError) Error() string { return e.What + ": " + e.Reason }

// Hint tells the operator what usually is behind it.
func (e *ProtocolError) Hint() string {
	return "compare `wanrep version` on both appliances"
}

func badf(what, format string, args ...any) error {
	return &ProtocolError{What: what, Reason: fmt.Sprintf(format, args...)}
}
