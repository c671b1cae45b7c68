package quicx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/quic-go/quic-go"
)

func TestClasses(t *testing.T) {
	tests := []struct {
		err  error
		want Class
	}{
		{&quic.IdleTimeoutError{}, Dropped},
		{&quic.HandshakeTimeoutError{}, Dropped},
		{&quic.StatelessResetError{}, Dropped},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("sendmsg", syscall.ENETUNREACH)}, Dropped},
		{&net.DNSError{Err: "no such host", Name: "dr.example.net"}, Dropped},
		{context.DeadlineExceeded, Dropped},
		{os.ErrDeadlineExceeded, Dropped},
		{context.Canceled, Local},
		{quic.Err0RTTRejected, Dropped},
		{&quic.TransportError{ErrorCode: quic.InternalError}, Dropped},
		{&quic.TransportError{ErrorCode: quic.NoViablePathError, Remote: true}, Dropped},
		{&quic.TransportError{ErrorCode: quic.ConnectionRefused, Remote: true}, Refused},
		{&quic.TransportError{ErrorCode: quic.ApplicationErrorErrorCode, Remote: true}, Refused},
		{&quic.TransportError{ErrorCode: 0x100 + 42, Remote: true}, Auth},
		{&quic.TransportError{ErrorCode: 0x100 + 42}, Auth},
		{&quic.TransportError{ErrorCode: 0x100 + alertNoProtocol, Remote: true}, Protocol},
		{&quic.TransportError{ErrorCode: quic.ProtocolViolation, Remote: true}, Protocol},
		{&quic.VersionNegotiationError{}, Protocol},
		{&quic.ApplicationError{}, Local},
		{&quic.ApplicationError{ErrorCode: CodeShutdown, Remote: true}, Dropped},
		{&quic.ApplicationError{ErrorCode: CodeBusy, Remote: true}, Refused},
		{&quic.ApplicationError{ErrorCode: CodeNotPaired, Remote: true}, Auth},
		{&quic.ApplicationError{ErrorCode: CodeSuperseded, Remote: true}, Ended},
		{&quic.ApplicationError{ErrorCode: CodeEngine + 5, Remote: true}, Ended},
		{&quic.StreamError{ErrorCode: 7, Remote: true}, Ended},
		{&quic.StreamError{ErrorCode: 7}, Local},
		{quic.ErrTransportClosed, Local},
		{quic.ErrServerClosed, Local},
		{errNoAddress, Local},
		{errors.New("something new"), Protocol},
	}
	for _, test := range tests {
		for _, err := range []error{test.err, fmt.Errorf("while at it: %w", test.err)} {
			wrapped := wrap("dial", "dr-paris", err)
			var e *Error
			if !errors.As(wrapped, &e) || e.Class != test.want || e.Dropped() != (test.want == Dropped) {
				t.Errorf("%T %v: got %v, want %v", test.err, test.err, classOf(wrapped), test.want)
			}
			if !errors.Is(wrapped, test.err) {
				t.Errorf("%v does not unwrap to %T", wrapped, test.err)
			}
			if again := wrap("read", "", wrapped); again != wrapped {
				t.Errorf("%v was wrapped twice", wrapped)
			}
		}
	}
}

// What a peer says must not reach a terminal as it is.
func TestErrorsArePrintable(t *testing.T) {
	err := wrap("read from", "dr-paris", &quic.ApplicationError{Remote: true, ErrorCode: 9,
		ErrorMessage: "\x1b[2Jgone\r\n\u202e" + strings.Repeat("x", 10000)})
	if s := err.Error(); len(s) > 2*maxText || strings.ContainsAny(s, "\x1b\r\n\u202e") {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}
