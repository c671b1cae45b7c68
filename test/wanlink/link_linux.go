package wanlink

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The addresses of the two ends.
const (
	SourceAddress = "10.77.0.1"
	TargetAddress = "10.77.0.2"
)

// A Link is a line between two namespaces.
type Link struct {
	// Source and Target are the names of the namespaces.
	Source, Target string

	devices     []int // descriptors
	forth, back *direction
	running     sync.WaitGroup
}

// Lay makes two namespaces, named after the link, and a line between them. Close has
// to be called, or they stay.
func Lay(name string, line Line) (l *Link, err error) {
	l = &Link{Source: name + "-s", Target: name + "-t"}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	ends := []struct{ namespace, address string }{{l.Source, SourceAddress}, {l.Target, TargetAddress}}
	for _, end := range ends {
		if err := IP("netns add "+end.namespace, "-n "+end.namespace+" link set lo up"); err != nil {
			return l, err
		}
		device, err := OpenTUN(end.namespace, "wan0", true)
		if err != nil {
			return l, err
		}
		l.devices = append(l.devices, device)
		in := "-n " + end.namespace
		err = IP(in+" link set wan0 txqueuelen 10000 addrgenmode none", in+" addr add "+end.address+"/30 dev wan0", in+" link set wan0 up")
		if err != nil {
			return l, err
		}
	}
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	roundTrip := line.Forth.Delay + line.Back.Delay
	direct := func(in, out int, s Shape) *direction {
		d := &direction{
			in: in, out: out, shape: s, limit: s.queueBytes(roundTrip), clock: clock, write: writeTo(out),
			random: rand.New(rand.NewPCG(rand.Uint64(), 0)), scratch: make([]byte, mostRead),
		}
		l.running.Go(d.run)
		return d
	}
	l.forth = direct(l.devices[0], l.devices[1], line.Forth)
	l.back = direct(l.devices[1], l.devices[0], line.Back)
	return l, nil
}

// Cut lets the line lose everything until Mend is called.
func (l *Link) Cut() {
	l.forth.setCut(true)
	l.back.setCut(true)
}

func (l *Link) Mend() {
	l.forth.setCut(false)
	l.back.setCut(false)
}

// Counters returns what was counted from the source to the target, and back.
func (l *Link) Counters() (forth, back Counters) { return l.forth.counters(), l.back.counters() }

// Close ends the line, kills what still runs in its namespaces and removes them.
func (l *Link) Close() error {
	for _, d := range []*direction{l.forth, l.back} {
		if d != nil {
			d.mu.Lock()
			d.ended = true
			d.mu.Unlock()
		}
	}
	l.running.Wait()
	for _, device := range l.devices {
		unix.Close(device)
	}
	var errs []error
	for _, namespace := range []string{l.Source, l.Target} {
		out, err := exec.Command("ip", "netns", "pids", namespace).Output()
		if err != nil {
			continue // it was never made
		}
		for word := range bytes.FieldsSeq(out) {
			if pid, err := strconv.Atoi(string(word)); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended by itself
			}
		}
		errs = append(errs, IP("netns del "+namespace))
	}
	return errors.Join(errs...)
}

// IP runs ip(8) with each line of arguments.
func IP(lines ...string) error {
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// OpenTUN makes a TUN device in a namespace, and returns its descriptor. The device is
// gone when that is closed. With offload the kernel hands over packets that are still
// to be cut, and takes such, each after a virtio header; else single ones.
func OpenTUN(namespace, name string, offload bool) (int, error) {
	type opened struct {
		fd  int
		err error
	}
	done := make(chan opened)
	go func() {
		// The thread enters the namespace, and ends with this goroutine because it
		// stays locked.
		runtime.LockOSThread()
		fd, err := openHere(namespace, name, offload)
		done <- opened{fd, err}
	}()
	o := <-done
	if o.err != nil {
		return 0, fmt.Errorf("make the device %s in %s: %w", name, namespace, o.err)
	}
	return o.fd, nil
}

func openHere(namespace, name string, offload bool) (fd int, err error) {
	ns, err := unix.Open("/run/netns/"+namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return 0, err
	}
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if offload {
		flags |= unix.IFF_VNET_HDR
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil || !offload {
		return fd, err
	}
	const checksum, tcp4, udp4, udp6 = 0x01, 0x02, 0x20, 0x40 // TUN_F_*; the last two need Linux 6.2
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, checksum|tcp4|udp4|udp6) == nil {
		return fd, nil
	}
	return fd, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, checksum|tcp4)
}
