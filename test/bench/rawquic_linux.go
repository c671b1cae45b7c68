package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
)

// A raw stream is what a link is compared with: one QUIC stream between two
// processes with the windows and the size of writes of a link, which carries bytes
// that nobody reads from a disk, digests, compresses or keeps.
const (
	rawStreamWindow = 8 << 20
	rawConnWindow   = 12 << 20
	rawWriteBytes   = 16 << 10
	rawProtocol     = "wanrep-bench"
)

// rawReport is what the receiving process writes when it has everything.
type rawReport struct {
	// Seconds from the first byte that arrived to the last.
	Seconds float64
	// CPU seconds since the first byte arrived.
	CPU float64
}

func rawConfig() *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow:     rawStreamWindow,
		MaxStreamReceiveWindow:         rawStreamWindow,
		InitialConnectionReceiveWindow: rawConnWindow,
		MaxConnectionReceiveWindow:     rawConnWindow,
		MaxIdleTimeout:                 patience,
	}
}

// rawReceive is the process that receives: it writes its port, and then its report.
func rawReceive(ctx context.Context, _ []string, out io.Writer) error {
	certificate, err := rawCertificate()
	if err != nil {
		return err
	}
	listener, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{rawProtocol},
	}, rawConfig())
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Fprintln(out, listener.Addr().(*net.UDPAddr).Port)
	conn, err := listener.Accept(ctx)
	if err != nil {
		return err
	}
	defer conn.CloseWithError(0, "") // which the sender waits for
	stream, err := conn.AcceptUniStream(ctx)
	if err != nil {
		return err
	}
	buffer := make([]byte, 256<<10) // as a frame
	if _, err := io.ReadFull(stream, buffer[:1]); err != nil {
		return err
	}
	began := time.Now()
	spent, err := cpuOf(os.Getpid())
	for err == nil {
		_, err = stream.Read(buffer)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	report := rawReport{Seconds: time.Since(began).Seconds()}
	after, err := cpuOf(os.Getpid())
	if err != nil {
		return err
	}
	report.CPU = (after - spent).Seconds()
	return json.NewEncoder(out).Encode(report)
}

// rawSend is the process that sends: to a port, so many bytes.
func rawSend(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) != 2 {
		return usageError{errors.New("raw-send needs a port and a number of bytes")}
	}
	left, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return usageError{err}
	}
	// The other process is a child of this one's parent, on this machine.
	conn, err := quic.DialAddr(ctx, "127.0.0.1:"+args[0], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{rawProtocol}}, rawConfig())
	if err != nil {
		return err
	}
	stream, err := conn.OpenUniStream()
	if err != nil {
		return err
	}
	buffer := make([]byte, rawWriteBytes)
	for ; left > 0; left -= int64(len(buffer)) {
		if _, err := stream.Write(buffer[:min(left, int64(len(buffer)))]); err != nil {
			return err
		}
	}
	if err := stream.Close(); err != nil {
		return err
	}
	<-conn.Context().Done() // the receiver has everything
	return nil
}

func rawCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// usedBy returns the CPU seconds of a process that has ended.
func usedBy(state *os.ProcessState) float64 {
	return (state.UserTime() + state.SystemTime()).Seconds()
}
