package resume

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"wanrep/diskio/durable"
)

// Who has a manifest with the target's signature can tell, without any appliance,
// that the target committed this point with these roots, after the point that
// Previous names. Signed is all of the manifest but the signature, in the form of
// manifestFile without spaces, behind the domain.

// signatureDomain tells the signature of a manifest apart from whatever else the
// same key signs.
const signatureDomain = "wanrep manifest 2\x00"

// A Signature is that of a target's key.
type Signature struct {
	Key   ed25519.PublicKey `json:"key"`
	Value []byte            `json:"value"`
}

var errSignature = errors.New("its signature does not match")

// signedBytes returns what a signature is over.
func (m Manifest) signedBytes() ([]byte, error) {
	m.Signature = nil
	b, err := json.Marshal(m.file())
	return append([]byte(signatureDomain), b...), err
}

// checkSignature says whether the signature, if there is one, is that of its key.
func (m Manifest) checkSignature() error {
	if m.Signature == nil {
		return nil
	}
	b, err := m.signedBytes()
	if err != nil {
		return err
	}
	if len(m.Signature.Key) != ed25519.PublicKeySize || !ed25519.Verify(m.Signature.Key, b, m.Signature.Value) {
		return errSignature
	}
	return nil
}

// publicKey returns the key of the store's signer; nil without one.
func (c Config) publicKey() (ed25519.PublicKey, error) {
	if c.Signer == nil {
		return nil, nil
	}
	key, ok := c.Signer.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the signer has a %T, not one of Ed25519", c.Signer.Public())
	}
	return key, nil
}

// sign signs the manifest with the store's signer, or leaves it unsigned.
func (s *Store) sign(m *Manifest) error {
	m.Schema, m.Signature = manifestSchema, nil
	if s.cfg.Signer == nil {
		return nil
	}
	key, err := s.cfg.publicKey()
	if err != nil {
		return err
	}
	b, err := m.signedBytes()
	if err != nil {
		return err
	}
	value, err := s.cfg.Signer.Sign(nil, b, crypto.Hash(0))
	if err != nil {
		return fmt.Errorf("sign the manifest: %w", err)
	}
	m.Signature = &Signature{Key: key, Value: value}
	return nil
}

// writeManifest signs a manifest and makes it durable in dir, the only way in which
// one is written. One that is there is replaced only if it is what was signed and
// claims the same, and never by one without a signature if it has one. If it has none,
// nobody vouches for it now either.
func (s *Store) writeManifest(dir string, m *Manifest) error {
	old, err := s.mayReplace(dir, *m)
	if err != nil {
		return err
	}
	if old != nil && old.Signature == nil {
		m.Schema, m.Signature = manifestSchema, nil
	} else if err := s.sign(m); err != nil {
		return err
	}
	b, err := m.encode()
	if err != nil {
		return err
	}
	return durable.WriteFile(s.fsys, path.Join(dir, manifestName), b, readOnlyPerm)
}

// mayReplace returns the manifest that m is to replace, nil without one, or why it must
// not.
func (s *Store) mayReplace(dir string, m Manifest) (*Manifest, error) {
	name := path.Join(dir, manifestName)
	old, err := readManifest(s.fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := old.checkSignature(); err != nil {
		return nil, &damagedError{name, err.Error()}
	}
	if old.Signature != nil && s.cfg.Signer == nil {
		return nil, fmt.Errorf("%s is signed, and there is no identity here to sign it again", name)
	}
	was, err := json.Marshal(old.claims())
	if err != nil {
		return nil, err
	}
	is, err := json.Marshal(m.claims())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(was, is) {
		return nil, fmt.Errorf("%s: what a point claims can't be changed", name)
	}
	return &old, nil
}

// previous returns what ties a point to the newest one of the VM before it: of those
// whose manifest can be read, since nothing can be said of another.
func (s *Store) previous(vmDir, point string) (*Previous, error) {
	names, err := s.pointDirs(path.Join(vmDir, pointsName))
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(names) {
		if name >= point {
			continue
		}
		m, err := readManifest(s.fsys, path.Join(vmDir, pointsName, name))
		if isDamaged(err) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		claims, err := m.claimsDigest()
		if err != nil {
			return nil, err
		}
		return &Previous{Point: name, Claims: claims}, nil
	}
	return nil, nil
}
