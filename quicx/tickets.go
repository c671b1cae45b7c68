package quicx

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// maxTicketBytes bounds a ticket file. One holds the target's certificate and
// some keys, about 1 KiB.
const maxTicketBytes = 64 << 10

// A ticketStore keeps one TLS session ticket per peer in a directory, so that a
// restarted source too resumes its session. A ticket lets its holder pose as this
// source for up to seven days: the files are readable by their owner only, and
// nothing of them is ever logged.
type ticketStore struct {
	dir string // empty: nothing is kept

	mu sync.Mutex
}

func (s *ticketStore) path(pin Pin) string {
	return filepath.Join(s.dir, "ticket-"+hex.EncodeToString(pin[:8]))
}

// has reports whether there is a ticket for the peer, usable or not.
func (s *ticketStore) has(pin Pin) bool {
	if s.dir == "" {
		return false
	}
	_, err := os.Lstat(s.path(pin))
	return err == nil
}

// allowsEarly reports whether there is a ticket for the peer that allows 0-RTT.
func (s *ticketStore) allowsEarly(pin Pin) bool {
	if s.dir == "" {
		return false
	}
	session, ok := peerTickets{s, pin}.Get("")
	if !ok {
		return false
	}
	_, state, err := session.ResumptionState()
	return err == nil && state != nil && state.EarlyData
}

// drop forgets the peer's ticket.
func (s *ticketStore) drop(pin Pin) error {
	if s.dir == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.path(pin)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// of returns the view of the store that one peer's connections use; nil if
// nothing is kept.
func (s *ticketStore) of(pin Pin) tls.ClientSessionCache {
	if s.dir == "" {
		return nil
	}
	return peerTickets{s, pin}
}

// peerTickets is a tls.ClientSessionCache of one peer. The cache key is ignored:
// it is the server's name, which is the same for all.
type peerTickets struct {
	store *ticketStore
	pin   Pin
}

// Put stores a ticket. A nil ticket is ignored: crypto/tls removes the cached one
// after any failed handshake, also when the line was merely dead, so that during
// an outage the first redial would burn it. A target that cannot use a ticket
// falls back to a full handshake by itself; what is worse ends in drop.
func (t peerTickets) Put(_ string, session *tls.ClientSessionState) {
	if session == nil {
		return
	}
	ticket, state, err := session.ResumptionState()
	if err != nil || state == nil {
		return
	}
	rest, err := state.Bytes()
	if err != nil {
		return
	}
	data := binary.BigEndian.AppendUint32(nil, uint32(len(ticket)))
	data = append(append(data, ticket...), rest...)
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if err := os.MkdirAll(t.store.dir, 0o700); err != nil {
		return
	}
	// A ticket that cannot be stored costs the next attach a round trip, which
	// is no reason to fail this one; crypto/tls has no way to be told either.
	_ = writeSecret(t.store.path(t.pin), data)
}

// Get reads the ticket anew each time: quic-go edits the state it is handed, and
// after one dial without 0-RTT a state kept in memory would never offer it again.
func (t peerTickets) Get(string) (*tls.ClientSessionState, bool) {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	data, err := readSmall(t.store.path(t.pin), maxTicketBytes)
	if err != nil {
		return nil, false
	}
	return parseTicket(data)
}

// parseTicket reads what Put wrote: the ticket's length (4 bytes, big endian), the
// ticket, and crypto/tls's own form of the state, which another Go version may
// not read; the handshake is then a full one.
func parseTicket(data []byte) (*tls.ClientSessionState, bool) {
	if len(data) < 4 {
		return nil, false
	}
	n, data := binary.BigEndian.Uint32(data), data[4:]
	if uint64(n) > uint64(len(data)) {
		return nil, false
	}
	state, err := tls.ParseSessionState(data[n:])
	if err != nil {
		return nil, false
	}
	session, err := tls.NewResumptionState(data[:n:n], state)
	return session, err == nil
}
