package wan

import (
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A device is a network device in memory: what the pipe reads comes from sends,
// and what it writes goes to got.
type device struct {
	sends chan []byte
	got   chan []byte
	close func()
}

func newDevice() *device {
	d := &device{sends: make(chan []byte, 16), got: make(chan []byte, 16)}
	d.close = sync.OnceFunc(func() { close(d.sends) })
	return d
}

func (d *device) Read(p []byte) (int, error) {
	packet, ok := <-d.sends
	if !ok {
		return 0, io.EOF
	}
	return copy(p, packet), nil
}

func (d *device) Write(p []byte) (int, error) {
	d.got <- append([]byte(nil), p...)
	return len(p), nil
}

func (d *device) Close() error {
	d.close()
	return nil
}

// datagram is a UDP datagram over IPv4 of 100 bytes.
func datagram(from, to uint16) []byte {
	ip := make([]byte, 100)
	ip[0], ip[9] = 0x45, 17
	binary.BigEndian.PutUint16(ip[20:], from)
	binary.BigEndian.PutUint16(ip[22:], to)
	binary.BigEndian.PutUint16(ip[26:], 0xbeef)
	return ip
}

func ports(ip []byte) (from, to uint16) {
	return binary.BigEndian.Uint16(ip[20:]), binary.BigEndian.Uint16(ip[22:])
}

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, target := newDevice(), newDevice()
		p := Carry(source, target, Shape{Delay: 20 * time.Millisecond}, Shape{Delay: 30 * time.Millisecond})
		defer p.Close()
		began := time.Now()
		source.sends <- datagram(4000, 7443)
		if from, to := ports(<-target.got); from != 4000 || to != 7443 {
			t.Errorf("a datagram from 4000 to 7443 arrived as one from %d to %d", from, to)
		}
		target.sends <- datagram(7443, 4000)
		<-source.got
		if took := time.Since(began); took != 50*time.Millisecond {
			t.Errorf("there and back took %v, want 50ms", took)
		}

		p.Cut()
		source.sends <- datagram(4000, 7443)
		time.Sleep(time.Second)
		p.Restore()
		if len(target.got) != 0 {
			t.Error("a packet went through a cut")
		}
	})
}

func TestPipeRebinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, target := newDevice(), newDevice()
		p := Carry(source, target, Shape{}, Shape{})
		defer p.Close()
		p.Rebind()
		source.sends <- datagram(4000, 7443)
		seen := <-target.got
		from, to := ports(seen)
		if from == 4000 || to != 7443 || binary.BigEndian.Uint16(seen[26:]) != 0 {
			t.Errorf("after a rebinding the target sees port %d to %d, and checksum %x", from, to, seen[26:28])
		}
		target.sends <- datagram(7443, from)
		if _, to := ports(<-source.got); to != 4000 {
			t.Errorf("the answer came to port %d, want 4000", to)
		}
		p.Rebind()
		target.sends <- datagram(7443, from)
		if _, to := ports(<-source.got); to == 4000 {
			t.Error("an answer to the old port arrived")
		}
	})
}
