package control

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
)

// Codes of an Error that this package gives. A Handler may use others.
const (
	Failed      = "failed"
	BadRequest  = "bad request"
	NotFound    = "not found"
	Busy        = "busy"
	WrongRole   = "wrong role" // a source has no points, a target no jobs
	Interrupted = "interrupted"
	ReadOnly    = "read-only" // the socket only tells
)

// An Error is what the appliance answers when it cannot do a request.
type Error struct {
	Code string `json:"code"` // for programs
	Text string `json:"text"`
	Tip  string `json:"hint,omitempty"` // what to do
}

func (e *Error) Error() string { return e.Text }

// Hint says what to do; empty if there is nothing to say.
func (e *Error) Hint() string { return e.Tip }

// asError makes an error fit for the wire.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Code: e.Code, Text: err.Error(), Tip: e.Tip}
	}
	out := &Error{Code: Failed, Text: err.Error()}
	if errors.Is(err, context.Canceled) {
		out.Code = Interrupted
	}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		out.Tip = h.Hint()
	}
	return out
}

// httpStatus is the status line for an error; programs read the code instead.
func httpStatus(code string) int {
	switch code {
	case BadRequest:
		return http.StatusBadRequest
	case NotFound:
		return http.StatusNotFound
	case Busy:
		return http.StatusConflict
	case WrongRole:
		return http.StatusNotImplemented
	case ReadOnly:
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// An UnreachableError says that no appliance answers on a socket.
type UnreachableError struct {
	Socket string
	Err    error
	tip    string
}

func (e *UnreachableError) Error() string {
	return "no appliance answers on " + e.Socket + ": " + e.Err.Error()
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Forbidden tells that the socket is there, and this account may not open it.
func (e *UnreachableError) Forbidden() bool { return errors.Is(e.Err, fs.ErrPermission) }

// Hint says why it may be so and what to do.
func (e *UnreachableError) Hint() string { return e.tip }

// An InUseError says that a running appliance has the socket.
type InUseError struct {
	Socket string
	Name   string // of the appliance; empty if it does not tell
	Role   string
}

func (e *InUseError) Error() string {
	who := "a running process"
	if e.Name != "" {
		who = "the running " + e.Role + " " + e.Name
	}
	return "control socket " + e.Socket + " is in use by " + who
}

// Hint says what to do.
func (e *InUseError) Hint() string {
	return "stop the other appliance, or give this one another state_dir and another [control] socket"
}
