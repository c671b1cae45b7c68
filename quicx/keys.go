package quicx

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	// ticketKeyLife is how long one key encrypts tickets.
	ticketKeyLife = 24 * time.Hour
	// ticketKeysKept lets tickets live for the seven days that TLS allows.
	ticketKeysKept = 7
)

// ticketKeys encrypt the session tickets that a target issues. Whoever has them
// can pose as any paired source without its private key, so they are in memory
// only; a restart of the target costs each source one round trip.
type ticketKeys struct {
	config *tls.Config

	mu   sync.Mutex
	keys [][32]byte // the first encrypts, all decrypt
	made time.Time
}

func newTicketKeys(config *tls.Config) *ticketKeys {
	k := &ticketKeys{config: config}
	k.replace()
	return k
}

// replace makes all tickets issued so far worthless.
func (k *ticketKeys) replace() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = nil
	k.add()
}

// renew starts to use a new key when the present one is a day old.
func (k *ticketKeys) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.made) >= ticketKeyLife {
		k.add()
	}
}

func (k *ticketKeys) add() {
	var key [32]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	kept := k.keys[:min(len(k.keys), ticketKeysKept-1)]
	k.keys = append([][32]byte{key}, kept...)
	k.made = time.Now()
	k.config.SetSessionTicketKeys(k.keys)
}

// resetKeyFile holds the key of stateless resets (RFC 9000, section 10.3). It is
// kept so that a restarted target can tell a source that its link is gone. It
// gives its holder the power to end links, no more.
const resetKeyFile = "reset.key"

func loadResetKey(dir string) (*quic.StatelessResetKey, error) {
	if dir == "" {
		return nil, nil
	}
	var key quic.StatelessResetKey
	path := filepath.Join(dir, resetKeyFile)
	data, err := os.ReadFile(path)
	switch {
	case err == nil && len(data) == len(key):
		copy(key[:], data)
		return &key, nil
	case err == nil:
		return nil, fmt.Errorf("%s is %d bytes long, not %d: remove it and a new one is made", path, len(data), len(key))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	rand.Read(key[:])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := writeSecret(path, key[:]); err != nil {
		return nil, err
	}
	return &key, nil
}
