package quicx

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// identityFile holds the private key and the certificate, in the state directory.
const identityFile = "identity.pem"

// An Identity is what an appliance proves itself with: an Ed25519 key and a
// self-signed certificate around it.
type Identity struct {
	// Name is the appliance's own name, which pairing tells the other side.
	Name string

	cert tls.Certificate
	pin  Pin
}

// Pin returns the pin the other side must know.
func (id *Identity) Pin() string { return id.pin.String() }

// Signer signs in the appliance's name. The key stays in the identity. Whoever has
// something signed must begin it with words that say what it is, and not with the
// 64 spaces of a TLS handshake (RFC 8446, section 4.4.3).
func (id *Identity) Signer() crypto.Signer {
	return signer{id.cert.PrivateKey.(ed25519.PrivateKey)}
}

// A signer can sign and tell its public key, no more.
type signer struct{ key ed25519.PrivateKey }

func (s signer) Public() crypto.PublicKey { return s.key.Public() }

func (s signer) Sign(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(rand, message, opts)
}

// The certificate never expires: trust ends when the pin is removed, and a wrong
// clock at a branch must not keep its replicas from being made (RFC 5280,
// section 4.1.2.5, gives 9999-12-31 this meaning).
var (
	certNotBefore = time.Date(1970, time.January, 1, 0, 0, 0, 0, time.UTC)
	certNotAfter  = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// CertificateEnds is when the certificates of all identities end.
func CertificateEnds() time.Time { return certNotAfter }

// CreateIdentity makes a new identity and writes it to dir, readable by its owner
// only. It never replaces one: the error is then [fs.ErrExist].
func CreateIdentity(dir, name string) (*Identity, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	path := filepath.Join(dir, identityFile)
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("create identity: %s: %w", path, fs.ErrExist)
	}
	id, err := newIdentity(name)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(id.cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	var file bytes.Buffer
	for _, b := range []*pem.Block{
		{Type: "PRIVATE KEY", Bytes: key},
		{Type: "CERTIFICATE", Bytes: id.cert.Certificate[0]},
	} {
		if err := pem.Encode(&file, b); err != nil {
			return nil, fmt.Errorf("create identity: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	if err := writeSecret(path, file.Bytes()); err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	return id, nil
}

func newIdentity(name string) (*Identity, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             certNotBefore,
		NotAfter:              certNotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return identityFrom(key, der)
}

func identityFrom(key crypto.PrivateKey, der []byte) (*Identity, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T, not Ed25519", key)
	}
	if !private.Public().(ed25519.PublicKey).Equal(leaf.PublicKey) {
		return nil, errors.New("key and certificate do not belong together")
	}
	return &Identity{
		Name: leaf.Subject.CommonName,
		cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf},
		pin:  pinOf(leaf),
	}, nil
}

// LoadIdentity reads the identity that CreateIdentity wrote to dir. It refuses a
// file that others may read, since they could then replicate in this appliance's
// name.
func LoadIdentity(dir string) (*Identity, error) {
	path := filepath.Join(dir, identityFile)
	if err := checkPrivate(path); err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	var key crypto.PrivateKey
	var der []byte
	for len(data) > 0 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		switch block.Type {
		case "PRIVATE KEY":
			if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				return nil, fmt.Errorf("load identity: %s: %w", path, err)
			}
		case "CERTIFICATE":
			der = block.Bytes
		}
	}
	if key == nil || der == nil {
		return nil, fmt.Errorf("load identity: %s holds no key or no certificate", path)
	}
	id, err := identityFrom(key, der)
	if err != nil {
		return nil, fmt.Errorf("load identity: %s: %w", path, err)
	}
	return id, nil
}
