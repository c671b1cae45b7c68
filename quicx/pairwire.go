package quicx

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Pairing is one request and one answer on one stream:
//
//	request: version (1), length of name, name, proof (32 bytes)
//	answer:  status; if it is joinOK: length of name, name, proof (32 bytes)
const joinVersion = 1

// A joinStatus is a target's answer to a request to pair.
type joinStatus byte

const (
	joinOK joinStatus = iota
	joinBadRequest
	joinNoOffer
	joinWrongCode
	joinNameTaken
	joinNotStored
)

// refusal turns a status into the error that Join returns.
func (s joinStatus) refusal(cause error) error {
	e := &Error{Op: "pair", Class: Refused, Err: cause}
	const offer = `ask for a new code: wanrep pair offer`
	switch s {
	case joinNoOffer:
		e.text, e.hint = "no pairing code is valid at the target", offer
	case joinWrongCode:
		e.Class, e.text, e.hint = Auth, "the target did not make this code, or has made a newer one", offer
	case joinNameTaken:
		e.text, e.hint = "the target already has another source of this name",
			"remove it there first (wanrep pair remove NAME), or give this appliance another name"
	case joinNotStored:
		e.text, e.hint = "the target could not store the pairing", "its log says why"
	case joinBadRequest:
		e.Class, e.text, e.hint = Protocol, "the target did not understand the request", "are both appliances of the same version?"
	default:
		e.Class, e.text, e.hint = Protocol, fmt.Sprintf("the target gave an unknown answer (%d)", s), "are both appliances of the same version?"
	}
	return e
}

func refuseJoin(s joinStatus) []byte { return []byte{byte(s)} }

func formatJoin(t transcript) []byte {
	return appendNamed([]byte{joinVersion}, t.sourceName, t.sourceProof())
}

func acceptJoin(t transcript) []byte {
	return appendNamed([]byte{byte(joinOK)}, t.targetName, t.targetProof())
}

func appendNamed(b []byte, name string, proof []byte) []byte {
	b = append(b, byte(len(name)))
	b = append(b, name...)
	return append(b, proof...)
}

var errJoin = errors.New("malformed pairing message")

func readJoin(r io.Reader) (name string, proof []byte, err error) {
	var version [1]byte
	if _, err := io.ReadFull(r, version[:]); err != nil {
		return "", nil, err
	}
	if version[0] != joinVersion {
		return "", nil, errJoin
	}
	return readNamed(r)
}

// readAnswer returns the target's name if the target proved the secret.
func readAnswer(r io.Reader, t transcript) (string, error) {
	var status [1]byte
	if _, err := io.ReadFull(r, status[:]); err != nil {
		return "", err
	}
	if joinStatus(status[0]) != joinOK {
		return "", joinStatus(status[0]).refusal(nil)
	}
	name, proof, err := readNamed(r)
	if err != nil {
		return "", err
	}
	t.targetName = name
	if !hmac.Equal(proof, t.targetProof()) {
		return "", joinWrongCode.refusal(nil)
	}
	return name, nil
}

func readNamed(r io.Reader) (name string, proof []byte, err error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", nil, err
	}
	if n[0] > MaxNameBytes {
		return "", nil, errJoin
	}
	b := make([]byte, int(n[0])+sha256.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", nil, err
	}
	name, proof = string(b[:n[0]]), b[n[0]:]
	if err := checkName(name); err != nil {
		return "", nil, err
	}
	return name, proof, nil
}
