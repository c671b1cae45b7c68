package quicx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/quic-go/quic-go"
)

// A Class says what an error means for the link, and so what to do about it.
type Class int

// The classes of errors. Only Dropped is worth a redial.
const (
	// Dropped: the line, or the peer's process, is gone.
	Dropped Class = iota + 1
	// Refused: the peer answers and is too busy, or ended the link for now.
	Refused
	// Auth: one side does not accept the other's key.
	Auth
	// Protocol: the two appliances do not speak the same version, or one has a bug.
	Protocol
	// Local: this side ended it.
	Local
	// Ended: the peer's engine ended the link, or one stream, for a reason of its
	// own, which Code tells.
	Ended
	// Spent: the redial window is over.
	Spent
)

// String returns the class in one word.
func (c Class) String() string {
	switch c {
	case Dropped:
		return "dropped"
	case Refused:
		return "refused"
	case Auth:
		return "auth"
	case Protocol:
		return "protocol"
	case Local:
		return "local"
	case Ended:
		return "ended"
	case Spent:
		return "spent"
	}
	return fmt.Sprintf("class %d", int(c))
}

// Codes that end a link. An engine may use its own from CodeEngine on.
const (
	CodeDone       = 0 // nothing is left to do
	CodeShutdown   = 1 // the process is going away, and may come back
	CodeBusy       = 2 // too many links
	CodeNotPaired  = 3 // the pairing was removed
	CodeSuperseded = 4 // a newer link of the same source took over
	CodeLaneLost   = 5 // one of the link's connections ended
	CodeEngine     = 0x100
)

// ErrRedialSpent is wrapped by the error that ends a redial window.
var ErrRedialSpent = errors.New("the redial window is spent")

// errEarlyRejected ends a link whose 0-RTT data the target did not take.
var errEarlyRejected = errors.New("the target did not take the 0-RTT data")

// errRestarted ends a link whose target has forgotten it.
var errRestarted = errors.New("the target was restarted")

// An Error ends a link, or one stream of it.
type Error struct {
	Class Class
	Op    string // what was being done: "dial", "read"
	Peer  string // the paired name, or the address
	Code  uint64 // what the peer's engine gave, if Class is Ended
	Err   error

	text, hint string
}

// Error returns one line for the operator.
func (e *Error) Error() string {
	what := e.Op
	if e.Peer != "" {
		what += " " + e.Peer
	}
	return what + ": " + e.text
}

// Hint says what the operator can do about it; it may be empty.
func (e *Error) Hint() string { return e.hint }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Dropped reports whether the line was lost, so that redialing may help.
func (e *Error) Dropped() bool { return e.Class == Dropped }

// done reports whether the peer ended the link because nothing was left to do.
func (e *Error) done() bool { return e.Class == Ended && e.Code == CodeDone }

// wrap turns the error of a link or stream into an [*Error], unless it is one.
func wrap(op, peer string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	e := classify(err)
	e.Op, e.Peer, e.Err = op, peer, err
	return &e
}

// endsLink reports whether err is one that a whole connection ends with.
func endsLink(err error) bool {
	var (
		idle      *quic.IdleTimeoutError
		handshake *quic.HandshakeTimeoutError
		reset     *quic.StatelessResetError
		transport *quic.TransportError
		app       *quic.ApplicationError
	)
	return errors.Is(err, quic.Err0RTTRejected) || errors.Is(err, quic.ErrTransportClosed) ||
		errors.As(err, &idle) || errors.As(err, &handshake) || errors.As(err, &reset) ||
		errors.As(err, &transport) || errors.As(err, &app)
}

// classify is the one place that decides what an error means. The order matters:
// every error of quic-go unwraps to net.ErrClosed.
func classify(err error) Error {
	var (
		idle      *quic.IdleTimeoutError
		handshake *quic.HandshakeTimeoutError
		reset     *quic.StatelessResetError
		versions  *quic.VersionNegotiationError
		transport *quic.TransportError
		app       *quic.ApplicationError
		stream    *quic.StreamError
	)
	switch {
	case errors.Is(err, errNoCertificate), errors.Is(err, errWrongPin):
		return Error{Class: Auth, text: "another appliance answers: its key is not the one that was paired",
			hint: "check the address; if the peer was set up anew, pair again"}
	case errors.Is(err, errEarlyRejected), errors.Is(err, quic.Err0RTTRejected):
		return Error{Class: Dropped, text: errEarlyRejected.Error()}
	case errors.Is(err, errRestarted), errors.As(err, &reset):
		return Error{Class: Dropped, text: errRestarted.Error()}
	case errors.Is(err, errLaneLost):
		return Error{Class: Dropped, text: errLaneLost.Error()}
	case errors.As(err, &idle), errors.As(err, &handshake):
		return Error{Class: Dropped, text: "no answer",
			hint: "is the peer running, and does UDP pass in both directions?"}
	case errors.As(err, &versions):
		return Error{Class: Protocol, text: "the peer speaks another version of QUIC", hint: "is this the right address?"}
	case errors.As(err, &app):
		return classifyClose(app)
	case errors.As(err, &stream):
		if !stream.Remote {
			return Error{Class: Local, text: "the stream was closed here"}
		}
		return Error{Class: Ended, Code: uint64(stream.ErrorCode), text: "the peer gave this stream up"}
	case errors.As(err, &transport):
		return classifyTransport(transport)
	}
	return classifyRest(err)
}

// classifyClose judges the code with which one of the two engines ended a link.
func classifyClose(e *quic.ApplicationError) Error {
	if !e.Remote {
		return Error{Class: Local, text: "the link was closed here"}
	}
	reason := ""
	if e.ErrorMessage != "" {
		reason = ": " + clip(e.ErrorMessage)
	}
	switch uint64(e.ErrorCode) {
	case CodeShutdown:
		return Error{Class: Dropped, text: "the peer is going down" + reason}
	case CodeLaneLost:
		return Error{Class: Dropped, text: errLaneLost.Error()}
	case CodeBusy:
		return Error{Class: Refused, text: "the peer is busy" + reason, hint: "try again later"}
	case CodeNotPaired:
		return Error{Class: Auth, text: "the peer removed the pairing" + reason,
			hint: "pair again: wanrep pair offer at the target, wanrep pair join here"}
	}
	return Error{Class: Ended, Code: uint64(e.ErrorCode), text: "the peer ended the link" + reason}
}

// alertNoProtocol is TLS's no_application_protocol (RFC 7301, section 3.2).
const alertNoProtocol = 120

func classifyTransport(e *quic.TransportError) Error {
	switch code := e.ErrorCode; {
	case code == quic.ConnectionRefused:
		return Error{Class: Refused, text: "the peer takes no more links now", hint: "try again later"}
	case code == quic.NoViablePathError:
		return Error{Class: Dropped, text: "no path is left"}
	case code == quic.InternalError && !e.Remote:
		// A send error during the handshake looks like this; the socket's own
		// error is not in it.
		return Error{Class: Dropped, text: "sending failed"}
	case code == quic.ApplicationErrorErrorCode && e.Remote:
		// The peer closed the link before the handshake was complete, where it
		// may not show its own code (RFC 9000, section 10.2.3).
		return Error{Class: Refused, text: "the peer ended the link during the handshake", hint: "try again later"}
	case code == 0x100+alertNoProtocol:
		return Error{Class: Protocol, text: "the peer does not speak " + protocolLink, hint: "are both appliances of the same major version?"}
	case code.IsCryptoError() && e.Remote:
		return Error{Class: Auth, text: "the peer does not accept this appliance: it is not paired there",
			hint: "pair again: wanrep pair offer at the target, wanrep pair join here"}
	case code.IsCryptoError():
		return Error{Class: Auth, text: "the peer's proof of identity is not valid: " + clip(e.Error()), hint: "pair again"}
	}
	return Error{Class: Protocol, text: "the peer broke the protocol: " + clip(e.Error()),
		hint: "are both appliances of the same version?"}
}

func classifyRest(err error) Error {
	var (
		op     *net.OpError
		sys    *os.SyscallError
		number syscall.Errno
		lookup *net.DNSError
	)
	switch {
	case errors.Is(err, errNoUplink), errors.Is(err, errNoAddress):
		return Error{Class: Local, text: err.Error(), hint: "check the peer's addresses, and bind in [[uplink]]"}
	case errors.Is(err, quic.ErrTransportClosed), errors.Is(err, quic.ErrServerClosed), errors.Is(err, context.Canceled):
		return Error{Class: Local, text: "closed here"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Error{Class: Dropped, text: "no answer in time", hint: "is the peer running, and does UDP pass in both directions?"}
	case errors.As(err, &lookup):
		return Error{Class: Dropped, text: "no address: " + clip(lookup.Error()), hint: "check the name, and the name server"}
	case errors.As(err, &op), errors.As(err, &sys), errors.As(err, &number):
		return Error{Class: Dropped, text: "the network cannot be used: " + clip(err.Error())}
	case errors.Is(err, quic.ErrStreamClosed), errors.Is(err, net.ErrClosed):
		return Error{Class: Local, text: "closed here"}
	}
	return Error{Class: Protocol, text: clip(strings.TrimSpace(err.Error()))}
}
