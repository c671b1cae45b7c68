package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"wanrep/test/wan"
)

// targetAddress is the target's one address, reached over all uplinks: a link
// cannot change the address it was dialed to.
const targetAddress = "10.99.0.1"

// A world is two sites, each a network namespace, and the uplinks between them.
// An uplink is a TUN device of its name in each namespace, whose packets this
// process carries with a rate and a delay.
type world struct {
	source, target string // names of the namespaces
	uplinks        []*uplink
}

// An uplink is one of the source's ways out.
type uplink struct {
	*wan.Pipe
	world *world
	name  string
	// network is the third number of the uplink's addresses, of which the source
	// has .2 and the target .1.
	network, metric int
}

// newWorld makes the namespaces and the uplinks, the first one preferred.
func newWorld(ctx context.Context, shape wan.Shape, names ...string) (w *world, err error) {
	w = &world{source: fmt.Sprintf("wanrep-s-%d", os.Getpid()), target: fmt.Sprintf("wanrep-t-%d", os.Getpid())}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	err = ip(
		"netns add "+w.source, "netns add "+w.target,
		"-n "+w.source+" link set lo up", "-n "+w.target+" link set lo up",
		"-n "+w.target+" addr add "+targetAddress+"/32 dev lo")
	if err != nil {
		return w, err
	}
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return w, err
		}
		near, err := openTUN(w.source, name)
		if err != nil {
			return w, err
		}
		far, err := openTUN(w.target, name)
		if err != nil {
			near.Close()
			return w, err
		}
		u := &uplink{Pipe: wan.Carry(near, far, shape, shape), world: w, name: name, network: i + 1, metric: i + 1}
		w.uplinks = append(w.uplinks, u)
		if err := ip(fmt.Sprintf("-n %s link set %s up", w.target, name), u.inTarget(u.network)); err != nil {
			return w, err
		}
		if err := u.plug(); err != nil {
			return w, err
		}
	}
	return w, nil
}

// close removes what newWorld made.
func (w *world) close() error {
	for _, u := range w.uplinks {
		u.Close()
	}
	return errors.Join(ip("netns del "+w.source), ip("netns del "+w.target))
}

// unplug takes the uplink's device down, which the source's system announces.
func (u *uplink) unplug() error {
	return ip(fmt.Sprintf("-n %s link set %s down", u.world.source, u.name))
}

// plug brings the device up, with its address and its route.
func (u *uplink) plug() error {
	source := "-n " + u.world.source
	return ip(fmt.Sprintf("%s link set %s up", source, u.name), u.inSource("replace", u.network), u.route())
}

// renumber gives the uplink another address, as a new lease does.
func (u *uplink) renumber() error {
	before := u.network
	u.network += 100
	return ip(u.inTarget(u.network), u.inSource("del", before), u.inSource("add", u.network), u.route())
}

func (u *uplink) inTarget(network int) string {
	return fmt.Sprintf("-n %s addr add 10.99.%d.1/24 dev %s", u.world.target, network, u.name)
}

func (u *uplink) inSource(verb string, network int) string {
	return fmt.Sprintf("-n %s addr %s 10.99.%d.2/24 dev %s", u.world.source, verb, network, u.name)
}

func (u *uplink) route() string {
	return fmt.Sprintf("-n %s route replace %s/32 dev %s metric %d", u.world.source, targetAddress, u.name, u.metric)
}

// ip runs ip(8) with each line of arguments.
func ip(lines ...string) error {
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// openTUN makes a TUN device in a namespace. It is gone when it is closed.
func openTUN(namespace, name string) (io.ReadWriteCloser, error) {
	type opened struct {
		fd  int
		err error
	}
	done := make(chan opened)
	go func() {
		// The thread enters the namespace, and ends with this goroutine because it
		// stays locked.
		runtime.LockOSThread()
		fd, err := openTUNHere(namespace, name)
		done <- opened{fd, err}
	}()
	o := <-done
	if o.err != nil {
		return nil, fmt.Errorf("make the device %s in %s: %w", name, namespace, o.err)
	}
	return os.NewFile(uintptr(o.fd), name), nil
}

func openTUNHere(namespace, name string) (int, error) {
	ns, err := unix.Open("/run/netns/"+namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return 0, err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		// Without IFF_VNET_HDR the kernel hands over single packets, segmented and
		// with their checksums.
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}
