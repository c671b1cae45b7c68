package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"wanrep/test/wan"
	"wanrep/test/wanlink"
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
	err = wanlink.IP(
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
		if err := wanlink.IP(fmt.Sprintf("-n %s link set %s up", w.target, name), u.inTarget(u.network)); err != nil {
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
	return errors.Join(wanlink.IP("netns del "+w.source), wanlink.IP("netns del "+w.target))
}

// unplug takes the uplink's device down, which the source's system announces.
func (u *uplink) unplug() error {
	return wanlink.IP(fmt.Sprintf("-n %s link set %s down", u.world.source, u.name))
}

// plug brings the device up, with its address and its route.
func (u *uplink) plug() error {
	source := "-n " + u.world.source
	return wanlink.IP(fmt.Sprintf("%s link set %s up", source, u.name), u.inSource("replace", u.network), u.route())
}

// renumber gives the uplink another address, as a new lease does.
func (u *uplink) renumber() error {
	before := u.network
	u.network += 100
	return wanlink.IP(u.inTarget(u.network), u.inSource("del", before), u.inSource("add", u.network), u.route())
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

// openTUN makes a TUN device in a namespace. It is gone when it is closed.
func openTUN(namespace, name string) (io.ReadWriteCloser, error) {
	// Without offload the kernel hands over single packets, segmented and with
	// their checksums.
	fd, err := wanlink.OpenTUN(namespace, name, false)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
