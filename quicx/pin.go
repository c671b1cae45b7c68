package quicx

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Pin is the SHA-256 of an appliance's public key (the SubjectPublicKeyInfo of
// its certificate). Whoever can use that key is that appliance; nothing else in
// the certificate counts.
type Pin [sha256.Size]byte

const pinPrefix = "sha256:"

// ParsePin reads the form that String writes.
func ParsePin(s string) (Pin, error) {
	var p Pin
	text, ok := strings.CutPrefix(s, pinPrefix)
	if !ok {
		return p, fmt.Errorf("pin %q does not begin with %q", clip(s), pinPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(p) {
		return p, fmt.Errorf("pin %q is not %d bytes of base64url", clip(s), len(p))
	}
	copy(p[:], b)
	return p, nil
}

// String returns "sha256:" and 43 characters of base64url.
func (p Pin) String() string {
	return pinPrefix + base64.RawURLEncoding.EncodeToString(p[:])
}

// PinOf returns the pin of whoever can use an Ed25519 key.
func PinOf(key ed25519.PublicKey) (Pin, error) {
	info, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return Pin{}, err
	}
	return sha256.Sum256(info), nil
}

func pinOf(cert *x509.Certificate) Pin {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

var (
	errNoCertificate = errors.New("the peer showed no certificate")
	errWrongPin      = errors.New("the peer's key is not the pinned one")
	errNotPaired     = errors.New("the peer is not paired")
	errNoOffer       = errors.New("no pairing code is valid")
)

// peerPin returns the pin of the certificate the peer showed (or, on a resumed
// session, once showed).
func peerPin(cs tls.ConnectionState) (Pin, error) {
	if len(cs.PeerCertificates) == 0 {
		return Pin{}, errNoCertificate
	}
	leaf := cs.PeerCertificates[0]
	if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return Pin{}, fmt.Errorf("the peer's certificate is valid from %s to %s only",
			leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
	}
	return pinOf(leaf), nil
}
