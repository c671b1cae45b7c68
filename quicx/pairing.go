package quicx

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	// OfferTTL is how long a pairing code is valid unless told otherwise.
	OfferTTL = 10 * time.Minute
	// offerTries is how many wrong proofs end an offer.
	offerTries = 3
	// pairTimeout bounds one pairing conversation.
	pairTimeout = 10 * time.Second
)

// An offer is the one pairing code that is valid at a target.
type offer struct {
	code    pairCode
	expires time.Time
	tries   int
	busy    bool // somebody has proved the secret and is being stored
}

// valid reports whether somebody may still join; a nil offer is none.
func (o *offer) valid() bool {
	return o != nil && !o.busy && o.tries < offerTries && time.Now().Before(o.expires)
}

// Offer makes a pairing code: one use, three tries, valid for ttl (zero: 10
// minutes). It cancels the one before.
func (l *Listener) Offer(ttl time.Duration) (code string, expires time.Time) {
	c := newPairCode(l.cfg.Identity.pin)
	o := &offer{code: c, expires: time.Now().Add(orDefault(ttl, OfferTTL))}
	l.mu.Lock()
	l.offer = o
	l.mu.Unlock()
	return c.String(), o.expires
}

// CancelOffer makes the present pairing code worthless.
func (l *Listener) CancelOffer() {
	l.mu.Lock()
	l.offer = nil
	l.mu.Unlock()
}

// pairWith holds the conversation with a source that wants to pair. Its TLS key
// is proved; nothing else is.
func (l *Listener) pairWith(conn *quic.Conn, cs tls.ConnectionState) {
	ctx, cancel := context.WithTimeout(l.ctx, pairTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.CloseWithError(CodeDone, "") })
	defer stop()
	s, err := conn.AcceptStream(ctx)
	if err != nil {
		conn.CloseWithError(CodeDone, "")
		return
	}
	answer := l.judgeJoin(s, cs)
	if _, err := s.Write(answer); err == nil && s.Close() == nil {
		// The source closes once it has read the answer.
		<-conn.Context().Done()
	}
	conn.CloseWithError(CodeDone, "")
}

// judgeJoin reads a joinRequest and decides. Nothing is remembered of a source
// that does not prove the secret.
func (l *Listener) judgeJoin(r io.Reader, cs tls.ConnectionState) []byte {
	pin, err := peerPin(cs)
	if err != nil {
		return refuseJoin(joinBadRequest)
	}
	name, proof, err := readJoin(r)
	if err != nil {
		return refuseJoin(joinBadRequest)
	}
	l.mu.Lock()
	o := l.offer
	if !o.valid() {
		l.mu.Unlock()
		return refuseJoin(joinNoOffer)
	}
	t := transcript{code: o.code, source: pin, target: l.cfg.Identity.pin, sourceName: name, targetName: l.cfg.Identity.Name}
	if t.exporter, err = exportPairing(cs); err != nil {
		l.mu.Unlock()
		return refuseJoin(joinBadRequest)
	}
	if !hmac.Equal(proof, t.sourceProof()) {
		o.tries++
		left := offerTries - o.tries
		l.mu.Unlock()
		l.say(Event{Kind: EventRefused, Level: slog.LevelWarn,
			Text: fmt.Sprintf("somebody tried to pair with a wrong code, %d of %d tries left", left, offerTries)})
		return refuseJoin(joinWrongCode)
	}
	for p, have := range l.peers {
		if have.Name == name && p != pin {
			l.mu.Unlock()
			return refuseJoin(joinNameTaken)
		}
	}
	o.busy = true
	l.mu.Unlock()

	peer := Peer{Name: name, Pin: pin.String()}
	err = l.cfg.OnPaired(peer)
	l.mu.Lock()
	o.busy = false
	if err == nil {
		l.peers[pin] = peer
		if l.offer == o {
			l.offer = nil
		}
	}
	l.mu.Unlock()
	if err != nil {
		l.say(Event{Kind: EventRefused, Level: slog.LevelError, Peer: name, Text: "pairing could not be stored: " + clip(err.Error())})
		return refuseJoin(joinNotStored)
	}
	l.say(Event{Kind: EventPaired, Peer: name, Text: "paired with " + name})
	return acceptJoin(t)
}

// Join pairs this source with the target at addr ("host:port") that made code.
// Both sides prove that they know the secret in it, and remember each other's
// key. The caller stores the peer that is returned.
func (e *Endpoint) Join(ctx context.Context, addr, code string) (Peer, error) {
	c, err := parsePairCode(code)
	if err != nil {
		return Peer{}, &Error{Class: Local, Op: "pair with", Peer: clip(addr), Err: err, text: err.Error(),
			hint: `the target prints one with "wanrep pair offer"`}
	}
	peer, err := e.join(ctx, addr, c)
	if err != nil {
		return Peer{}, wrap("pair with", clip(addr), err)
	}
	e.say(Event{Kind: EventPaired, Peer: peer.Name, Text: "paired with " + peer.Name})
	return peer, nil
}

func (e *Endpoint) join(ctx context.Context, addr string, code pairCode) (Peer, error) {
	conn, pin, err := e.connectToPair(ctx, addr, code)
	if err != nil {
		return Peer{}, err
	}
	defer conn.CloseWithError(CodeDone, "")
	ctx, cancel := context.WithTimeout(ctx, pairTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.CloseWithError(CodeDone, "") })
	defer stop()
	t := transcript{code: code, source: e.cfg.Identity.pin, target: pin, sourceName: e.cfg.Identity.Name}
	if t.exporter, err = exportPairing(conn.ConnectionState().TLS); err != nil {
		return Peer{}, err
	}
	s, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return Peer{}, joinFailure(ctx, conn, err)
	}
	if _, err := s.Write(formatJoin(t)); err != nil {
		return Peer{}, joinFailure(ctx, conn, err)
	}
	if err := s.Close(); err != nil {
		return Peer{}, joinFailure(ctx, conn, err)
	}
	name, err := readAnswer(s, t)
	if err != nil {
		return Peer{}, joinFailure(ctx, conn, err)
	}
	return Peer{Name: name, Addresses: []string{addr}, Pin: pin.String()}, nil
}

// joinFailure finds the error that tells most: a target without an offer breaks
// the handshake off, which a stream shows only as closed.
func joinFailure(ctx context.Context, conn *quic.Conn, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if cause := context.Cause(conn.Context()); cause != nil {
		err = cause
	}
	var transport *quic.TransportError
	if errors.As(err, &transport) && transport.Remote && transport.ErrorCode.IsCryptoError() {
		return joinNoOffer.refusal(err)
	}
	return err
}

// A transcript is what both proofs cover: this very TLS connection, both keys and
// the names. So a proof is worth nothing on another connection, and nobody in the
// middle can put his own key or name in.
type transcript struct {
	code                   pairCode
	exporter               []byte
	source, target         Pin
	sourceName, targetName string
}

const pairingLabel = "EXPORTER-wanrep-pair-1"

func exportPairing(cs tls.ConnectionState) ([]byte, error) {
	return cs.ExportKeyingMaterial(pairingLabel, nil, sha256.Size)
}

func (t transcript) sourceProof() []byte { return t.proof("source", t.sourceName) }

func (t transcript) targetProof() []byte { return t.proof("target", t.sourceName, t.targetName) }

func (t transcript) proof(role string, names ...string) []byte {
	mac := hmac.New(sha256.New, t.code.secret[:])
	for _, part := range append([]string{role, string(t.exporter), string(t.source[:]), string(t.target[:])}, names...) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		mac.Write(n[:])
		io.WriteString(mac, part)
	}
	return mac.Sum(nil)
}
