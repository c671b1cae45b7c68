package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// MaxMessageBytes is the largest control message. The largest that the limits of
// messages.go allow, an Open of 260 disks, stays below it.
const MaxMessageBytes = 1 << 20

// Types of messages on the wire. They are never reused.
const (
	typeHello     = 1
	typeWelcome   = 2
	typeOpen      = 3
	typeOpened    = 4
	typeBegin     = 5
	typeDurable   = 6
	typeDone      = 7
	typeCommit    = 8
	typeCommitted = 9
	typeRefused   = 10

	typeDigests    = 11
	typeDigestList = 12
	typeClock      = 13

	typeStatusRequest = 14
	typeStatusReply   = 15
)

// A message is length (4 bytes, of what follows), type (4 bytes) and body (CBOR).
const messageHeaderBytes = 8

var decoder = strictDecoder()

// strictDecoder refuses what no honest peer sends: indefinite lengths, repeated
// keys, deep nesting, arrays beyond what a message can hold.
func strictDecoder() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  8,
		MaxArrayElements: 1024,
		MaxMapPairs:      64,
	}.DecMode()
	if err != nil {
		panic(err) // the options above are constants
	}
	return mode
}

// Write sends one message, which is a pointer to one of the types of messages.go.
func Write(w io.Writer, message any) error {
	kind, ok := typeOf(message)
	if !ok {
		return fmt.Errorf("write message: %T is not a message", message)
	}
	body, err := cbor.Marshal(message)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	if len(body) > MaxMessageBytes-4 {
		return badf(name(message), "%d bytes, more than the limit of %d", len(body), MaxMessageBytes)
	}
	b := make([]byte, 0, messageHeaderBytes+len(body))
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(body)))
	b = binary.BigEndian.AppendUint32(b, kind)
	_, err = w.Write(append(b, body...))
	return err
}

// Read receives one message. It returns io.EOF when the stream ends between two
// messages and a [ProtocolError] for one that is broken.
func Read(r io.Reader) (any, error) {
	var header [messageHeaderBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, badf("message", "the stream ends within its header")
		}
		return nil, err
	}
	length := binary.BigEndian.Uint32(header[:])
	kind := binary.BigEndian.Uint32(header[4:])
	if length < 4 || length > MaxMessageBytes {
		return nil, badf("message", "length %d is not within 4 to %d", length, MaxMessageBytes)
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, badf("message", "the stream ends within a message of type %d", kind)
		}
		return nil, err
	}
	message := blank(kind)
	if unknown, ok := message.(*Unknown); ok {
		return unknown, nil
	}
	if err := decoder.Unmarshal(body, message); err != nil {
		return nil, badf(name(message), "%v", err)
	}
	if err := check(message); err != nil {
		return nil, err
	}
	return message, nil
}

func typeOf(message any) (uint32, bool) {
	switch message.(type) {
	case *Hello:
		return typeHello, true
	case *Welcome:
		return typeWelcome, true
	case *Open:
		return typeOpen, true
	case *Opened:
		return typeOpened, true
	case *Begin:
		return typeBegin, true
	case *Durable:
		return typeDurable, true
	case *Done:
		return typeDone, true
	case *Commit:
		return typeCommit, true
	case *Committed:
		return typeCommitted, true
	case *Refused:
		return typeRefused, true
	case *Digests:
		return typeDigests, true
	case *DigestList:
		return typeDigestList, true
	case *Clock:
		return typeClock, true
	case *StatusRequest:
		return typeStatusRequest, true
	case *StatusReply:
		return typeStatusReply, true
	}
	return 0, false
}

func blank(kind uint32) any {
	switch kind {
	case typeHello:
		return &Hello{}
	case typeWelcome:
		return &Welcome{}
	case typeOpen:
		return &Open{}
	case typeOpened:
		return &Opened{}
	case typeBegin:
		return &Begin{}
	case typeDurable:
		return &Durable{}
	case typeDone:
		return &Done{}
	case typeCommit:
		return &Commit{}
	case typeCommitted:
		return &Committed{}
	case typeRefused:
		return &Refused{}
	case typeDigests:
		return &Digests{}
	case typeDigestList:
		return &DigestList{}
	case typeClock:
		return &Clock{}
	case typeStatusRequest:
		return &StatusRequest{}
	case typeStatusReply:
		return &StatusReply{}
	}
	return &Unknown{Type: uint64(kind)}
}

func name(message any) string { return fmt.Sprintf("message %T", message) }
