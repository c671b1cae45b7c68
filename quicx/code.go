package quicx

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"strings"
)

// A pairing code is "wr1-", half of the target's pin, "-", and a one-time secret
// with two check bytes, in base32 without padding:
//
//	wr1-2e32mejpeftv2cspescr6cgq3w-sswt76c5zu3vwpiakd5q
//
// The pin tells the source whom to talk to before anything is said; 16 bytes of
// it leave no room for another key to fit. The check bytes catch typing mistakes
// on the spot, so that they do not use up tries.
const (
	codePrefix    = "wr1-"
	codePinBytes  = 16
	secretBytes   = 10 // 80 bits: guessing is hopeless in three tries
	codeSumBytes  = 2
	maxCodeLength = 200 // characters looked at, separators included
)

// codeText is RFC 4648's base32, in lower case.
var codeText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// errCode is all that is said of a bad code: it must not end up in a log.
var errCode = errors.New("this is not a pairing code, or it has a typing mistake")

// A pairCode is a pairing code, taken apart.
type pairCode struct {
	pin    [codePinBytes]byte
	secret [secretBytes]byte
}

func newPairCode(pin Pin) pairCode {
	var c pairCode
	copy(c.pin[:], pin[:])
	rand.Read(c.secret[:]) // never fails (crypto/rand)
	return c
}

func (c pairCode) sum() []byte {
	h := sha256.New()
	h.Write([]byte(codePrefix))
	h.Write(c.pin[:])
	h.Write(c.secret[:])
	return h.Sum(nil)[:codeSumBytes]
}

// String returns the code as the operator sees it.
func (c pairCode) String() string {
	return codePrefix + codeText.EncodeToString(c.pin[:]) + "-" +
		codeText.EncodeToString(append(c.secret[:], c.sum()...))
}

// accepts takes the pin that the code was made for.
func (c pairCode) accepts(pin Pin) error {
	if !bytes.Equal(c.pin[:], pin[:codePinBytes]) {
		return errWrongPin
	}
	return nil
}

// parsePairCode reads a code as people paste and type it: in any case, with
// spaces and line breaks, and with the digits that look like letters.
func parsePairCode(s string) (pairCode, error) {
	var c pairCode
	if len(s) > maxCodeLength {
		return c, errCode
	}
	s = strings.ToLower(strings.Join(strings.Fields(s), ""))
	s, ok := strings.CutPrefix(s, codePrefix)
	if !ok {
		return c, errCode
	}
	s = strings.NewReplacer("-", "", "0", "o", "1", "l", "8", "b").Replace(s)
	half := codeText.EncodedLen(codePinBytes)
	if len(s) != half+codeText.EncodedLen(secretBytes+codeSumBytes) {
		return c, errCode
	}
	pin, err := codeText.DecodeString(s[:half])
	if err != nil {
		return c, errCode
	}
	rest, err := codeText.DecodeString(s[half:])
	if err != nil {
		return c, errCode
	}
	copy(c.pin[:], pin)
	copy(c.secret[:], rest)
	// Encoding it again also refuses codes whose unused last bits are set.
	if subtle.ConstantTimeCompare(c.sum(), rest[secretBytes:]) != 1 || c.String() != codePrefix+s[:half]+"-"+s[half:] {
		return pairCode{}, errCode
	}
	return c, nil
}
