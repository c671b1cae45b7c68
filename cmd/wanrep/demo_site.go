package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"wanrep/configs"
	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/test/wan"
)

// Names in the demo.
const (
	demoSource = "demo-source"
	demoTarget = "demo-target"
	demoVM     = "demo-vm"
	demoJob    = "demo"
)

// demoPaths are the uplinks of the demo's source and the paths of its line.
var demoPaths = []string{"path1", "path2"}

// The line of the demo, each way of each path. The times of the link are shorter
// than a real one's, so that a blackout need not last minutes.
const (
	demoRate        = 50_000_000 // bits a second
	demoDelay       = 10 * time.Millisecond
	demoLoss        = 0.001
	demoIdleTimeout = 4 * time.Second
	demoKeepalive   = time.Second
	demoRedialEvery = 3 * time.Second
)

func demoLineFacts() demoLine {
	return demoLine{
		Paths: demoPaths, Rate: demoRate, RTT: 2 * demoDelay.Seconds(), Loss: demoLoss,
		IdleTimeout: demoIdleTimeout.Seconds(), RedialEvery: demoRedialEvery.Seconds(), Blackout: demoBlackout.Seconds(),
	}
}

// A demoSite is two appliances, as serve and run build them, and the line between
// them.
type demoSite struct {
	source *sourceAppliance
	target *targetAppliance
	line   *wan.Line
	stop   context.CancelFunc
	work   sync.WaitGroup
}

// openDemoSite starts everything below dir and pairs the appliances.
func openDemoSite(ctx context.Context, dir string, disks []configs.Disk) (_ *demoSite, err error) {
	ctx, stop := context.WithCancel(ctx)
	d := &demoSite{stop: stop}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.openTarget(ctx, filepath.Join(dir, "target")); err != nil {
		return nil, fmt.Errorf("start the target: %w", err)
	}
	if err := d.openLine(); err != nil {
		return nil, err
	}
	if err := d.openSource(ctx, filepath.Join(dir, "source"), disks); err != nil {
		return nil, fmt.Errorf("start the source: %w", err)
	}
	offer, err := d.target.Offer(ctx)
	if err != nil {
		return nil, err
	}
	peer, err := d.source.endpoint.Join(ctx, d.line.Addr().String(), offer.Code)
	if err != nil {
		return nil, err
	}
	return d, d.source.peers.add(configs.Peer{Name: peer.Name, Addresses: peer.Addresses, Pin: peer.Pin})
}

func (d *demoSite) openTarget(ctx context.Context, dir string) error {
	cfg, err := demoConfig(dir, configs.RoleTarget, demoTarget, "[listen]\naddress = \"127.0.0.1:0\"\n[store]\npath = \"store\"\n")
	if err != nil {
		return err
	}
	if d.target, err = openTarget(cfg, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	d.work.Go(func() { d.target.Serve(ctx) })
	return nil
}

// openLine puts the line before the target.
func (d *demoSite) openLine() (err error) {
	shape := wan.Shape{Rate: demoRate, Delay: demoDelay, Loss: demoLoss}
	cfg := wan.Config{Target: d.target.listener.Addr().(*net.UDPAddr).AddrPort(), Seed: uint64(time.Now().UnixNano())}
	for _, name := range demoPaths {
		cfg.Paths = append(cfg.Paths, wan.Path{Name: name, Up: shape, Down: shape})
	}
	d.line, err = wan.New(cfg)
	return err
}

func (d *demoSite) openSource(ctx context.Context, dir string, disks []configs.Disk) error {
	var text strings.Builder
	fmt.Fprintf(&text, "[reattach]\nredial_every = %q\nredial_for = \"2m\"\n", demoRedialEvery)
	for _, name := range demoPaths {
		fmt.Fprintf(&text, "[[uplink]]\nname = %q\n", name)
	}
	fmt.Fprintf(&text, "[[job]]\nname = %q\npeer = %q\nvms = [%q]\n[[vm]]\nname = %q\ndisks = [", demoJob, demoTarget, demoVM, demoVM)
	for _, disk := range disks {
		fmt.Fprintf(&text, "{ name = %q, path = %q },", disk.Name, disk.Path)
	}
	text.WriteString("]\n")
	cfg, err := demoConfig(dir, configs.RoleSource, demoSource, text.String())
	if err != nil {
		return err
	}
	sockets := func(u quicx.Uplink) (net.PacketConn, error) { return d.line.Socket(u.Name) }
	if d.source, err = openSource(cfg, slog.New(slog.DiscardHandler), sockets); err != nil {
		return err
	}
	d.work.Go(func() { d.source.Serve(ctx) })
	return nil
}

// demoConfig makes the directory of an appliance with an identity, and its config.
func demoConfig(dir, role, name, tables string) (*configs.Config, error) {
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	if _, err := quicx.CreateIdentity(state, name); err != nil {
		return nil, err
	}
	if role == configs.RoleSource {
		if err := initState(state); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf("role = %q\nname = %q\nstate_dir = \"state\"\n[control]\nsocket = \"sock\"\n"+
		"[link]\nidle_timeout = %q\nkeepalive = %q\n%s", role, name, demoIdleTimeout, demoKeepalive, tables)
	file := filepath.Join(dir, "wanrep.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return configs.Load(file)
}

// run runs the job.
func (d *demoSite) run(ctx context.Context) (replicate.Report, error) {
	return d.source.engine.Run(ctx, demoJob)
}

// view is what the source tells of itself.
func (d *demoSite) view() demoView { return demoView{d.source.board.Status()} }

// carried is how many bytes a path brought to the target so far.
func (d *demoSite) carried(path string) uint64 {
	for _, s := range d.line.Stats() {
		if s.Path == path {
			return s.Up.Bytes
		}
	}
	return 0
}

// migrate moves the link off a path that still works, as when an uplink announces
// that it goes down.
func (d *demoSite) migrate(ctx context.Context, from string) error {
	if err := d.source.endpoint.NetworkChanged(from, false); err != nil {
		return err
	}
	err := pauseDemo(ctx, time.Second)
	return errors.Join(err, d.source.endpoint.NetworkChanged(from, true))
}

// Close ends everything.
func (d *demoSite) Close() error {
	d.stop()
	d.work.Wait()
	var errs []error
	if d.source != nil {
		errs = append(errs, d.source.Close())
	}
	if d.target != nil {
		errs = append(errs, d.target.Close())
	}
	if d.line != nil {
		errs = append(errs, d.line.Close())
	}
	return errors.Join(errs...)
}
