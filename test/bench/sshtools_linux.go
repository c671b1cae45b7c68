package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wanrep/test/wanlink"
)

// A copier is a carrier that copies the disk to a file at the target.
type copier struct {
	*stage
	daemon
	copied string
	line   []string
}

func (c *copier) next(ctx context.Context) (*exec.Cmd, error) {
	if !c.changed {
		if err := os.Remove(c.copied); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return c.command(ctx, c.Source, c.line...), nil
}

func (c *copier) check(context.Context, []byte) (float64, error) { return 0, same(c.disk, c.copied) }

// rsync and scp are the commands that copy a disk over SSH. What rsync would skip
// because the second it was written in is the same has changed nevertheless.
func rsync(ssh, disk, copied string, port int) []string {
	return []string{"rsync", "--inplace", "--ignore-times", "-e", ssh + " -p " + strconv.Itoa(port), disk, "root@" + wanlink.TargetAddress + ":" + copied}
}

func scp(ssh, disk, copied string, port int) []string {
	options := strings.Fields(ssh)[1:]
	line := append([]string{"scp", "-q", "-P", strconv.Itoa(port)}, options...)
	return append(line, disk, "root@"+wanlink.TargetAddress+":"+copied)
}

// setUpSSH starts an SSH server with keys that are thrown away.
func setUpSSH(port int, copying func(ssh, disk, copied string, port int) []string) func(context.Context, *stage) (carrier, error) {
	return func(ctx context.Context, s *stage) (carrier, error) {
		dir, err := os.MkdirTemp(s.dir, "ssh-")
		if err != nil {
			return nil, err
		}
		host, user := filepath.Join(dir, "host"), filepath.Join(dir, "user")
		for _, key := range []string{host, user} {
			if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("make an SSH key: %w: %s", err, out)
			}
		}
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd wants an empty directory there
			return nil, err
		}
		line := []string{"/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null"}
		for _, option := range []string{
			"Port=" + strconv.Itoa(port), "ListenAddress=" + wanlink.TargetAddress, "HostKey=" + host, "AuthorizedKeysFile=" + user + ".pub",
			"PidFile=none", "StrictModes=no", "UsePAM=no", "PermitRootLogin=yes", "PasswordAuthentication=no", "Subsystem=sftp internal-sftp",
		} {
			line = append(line, "-o", option)
		}
		running, err := s.serve(ctx, port, line...)
		if err != nil {
			return nil, err
		}
		const options = " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o IdentitiesOnly=yes"
		copied := filepath.Join(dir, "copy.raw")
		c := &copier{stage: s, daemon: running, copied: copied, line: copying("ssh -F none -i "+user+options, s.disk, copied, port)}
		if s.changed {
			err = copyFile(s.disk, copied)
		}
		return c, err
	}
}

// setUpNBD starts an NBD server that wants TLS.
func setUpNBD(ctx context.Context, s *stage) (carrier, error) {
	dir, err := os.MkdirTemp(s.dir, "nbd-")
	if err != nil {
		return nil, err
	}
	if err := makeCertificates(dir); err != nil {
		return nil, err
	}
	const port = 10809
	c := &nbdCarrier{copier{stage: s, copied: filepath.Join(dir, "copy.raw")}}
	if err := c.empty(); err != nil {
		return nil, err
	}
	c.line = []string{"nbdcopy", s.disk, fmt.Sprintf("nbds://%s:%d/?tls-certificates=%s", wanlink.TargetAddress, port, dir)}
	c.daemon, err = s.serve(ctx, port, "nbdkit", "-f", "-i", wanlink.TargetAddress, "-p", strconv.Itoa(port),
		"--tls=require", "--tls-certificates="+dir, "file", c.copied)
	return c, err
}

// An nbdCarrier copies to a file that is there with its size.
type nbdCarrier struct{ copier }

func (c *nbdCarrier) next(ctx context.Context) (*exec.Cmd, error) {
	if err := c.empty(); err != nil {
		return nil, err
	}
	return c.command(ctx, c.Source, c.line...), nil
}

func (c *nbdCarrier) empty() error {
	f, err := os.OpenFile(c.copied, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(c.size), f.Close())
}

// makeCertificates writes an authority and a certificate for the target that it signs,
// under the names that NBD programs look for.
func makeCertificates(dir string) error {
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.ParseIP(wanlink.TargetAddress)},
	}
	template.Subject.CommonName = wanlink.TargetAddress
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]pem.Block{
		"ca-cert.pem":     {Type: "CERTIFICATE", Bytes: certificate},
		"server-cert.pem": {Type: "CERTIFICATE", Bytes: certificate},
		"server-key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
