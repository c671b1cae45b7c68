package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"wanrep/configs"
	"wanrep/diskio/durable"
	"wanrep/quicx"
	"wanrep/replicate/control"
	"wanrep/tui"
)

const (
	// wantedBuffer is the socket buffer with which a fast line loses nothing
	// while the process is not scheduled; quic-go asks for as much.
	wantedBuffer = 7 << 20
	// littleSpace is where a store's free space is worth a warning.
	littleSpace = 10 << 30
	// noSpace is where the next point does not fit any more.
	noSpace = 1 << 30
	// lookupTimeout, probeTimeout and portTimeout bound the questions to the network.
	lookupTimeout = 5 * time.Second
	probeTimeout  = 12 * time.Second
	portTimeout   = time.Second
)

// A doctor examines the appliance of one config.
type doctor struct {
	cfg  *configs.Config
	tell func(finding)
}

func (d *doctor) isSource() bool { return d.cfg.Role == configs.RoleSource }

// identity checks the key, which must be there and be nobody else's to read.
func (d *doctor) identity() *quicx.Identity {
	identity, err := loadIdentity(d.cfg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.tell(bad("identity", "wanrep init makes one; a new one has to be paired again", err))
	case err != nil:
		d.tell(bad("identity", "", err))
	default:
		d.tell(good("identity", "%s", identity.Pin()))
	}
	return identity
}

// running asks the appliance how it is, if it runs.
func (d *doctor) running(ctx context.Context) {
	status, err := (&control.Client{Socket: d.cfg.Control.Socket}).Status(ctx)
	u, down := errors.AsType[*control.UnreachableError](err)
	switch {
	case down && u.Forbidden():
		d.tell(bad("appliance", "", err))
	case down:
		hint := "start it with wanrep serve"
		if d.isSource() {
			hint += "; wanrep run works without it"
		}
		d.tell(odd("appliance", hint, "%v", err))
	case err != nil:
		d.tell(bad("appliance", "", err))
	case status.Name != d.cfg.Name || status.Role != d.cfg.Role:
		d.tell(bad("appliance", "restart it, or name the config of the one that runs",
			fmt.Errorf("%s answers on the socket, a %s", status.Name, status.Role)))
	case status.Version != readVersion().Version:
		d.tell(odd("appliance", "restart it", "runs version %s, and this is %s", status.Version, readVersion().Version))
	default:
		d.tell(good("appliance", "has run for %s", tui.Duration(time.Since(status.Started))))
	}
}

func (d *doctor) buffers() {
	size, set, ok := maxSocketBuffer()
	switch {
	case !ok:
	case size < wantedBuffer:
		d.tell(odd("socket buffer", fmt.Sprintf(set, wantedBuffer), "%s at most, %s wanted for a fast line", tui.Bytes(size), tui.Bytes(wantedBuffer)))
	default:
		d.tell(good("socket buffer", "%s at most", tui.Bytes(size)))
	}
}

// disks opens every disk and reads its first bytes.
func (d *doctor) disks(ctx context.Context) {
	if len(d.cfg.VMs) == 0 {
		d.tell(odd("disk", "add a [[vm]] with its disks, and a [[job]]", "no VM is configured"))
	}
	for _, vm := range d.cfg.VMs {
		for _, disk := range vm.Disks {
			name := vm.Name + "/" + disk.Name
			snapshot, _, err := openDisk(ctx, disk.Path)
			if err != nil {
				d.tell(bad("disk", "the appliance's account must be able to read the disk and its parents", fmt.Errorf("%s: %w", name, err)))
				continue
			}
			_, err = snapshot.ReadAt(make([]byte, 512), 0)
			if err != nil {
				d.tell(bad("disk", "", fmt.Errorf("%s: read: %w", name, err)))
			} else {
				d.tell(good("disk", "%s: %s, %s", name, disk.Path, tui.Bytes(snapshot.Size())))
			}
			snapshot.Close()
		}
	}
}

// uplinks checks that what they are bound to is there.
func (d *doctor) uplinks() {
	for _, u := range d.cfg.Uplinks {
		if u.Bind == "" {
			continue
		}
		if err := bound(u.Bind); err != nil {
			d.tell(odd("uplink", "links use the other uplinks until it is there", "%s: %v", u.Name, err))
			continue
		}
		d.tell(good("uplink", "%s on %s", u.Name, u.Bind))
	}
}

// bound reports whether bind names an interface that is up or an address of one.
func bound(bind string) error {
	want, err := netip.ParseAddr(bind)
	if err != nil {
		ifc, err := net.InterfaceByName(bind)
		if err != nil {
			return fmt.Errorf("there is no interface %s", bind)
		}
		if ifc.Flags&net.FlagUp == 0 {
			return fmt.Errorf("the interface %s is down", bind)
		}
		return nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	has := func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		// All of 127.0.0.0/8 is there when 127.0.0.1 is.
		return err == nil && (p.Addr().WithZone("") == want.WithZone("") || want.IsLoopback() && p.Contains(want))
	}
	if !slices.ContainsFunc(addrs, has) {
		return fmt.Errorf("no interface has the address %s", bind)
	}
	return nil
}

// peers looks for the way to the targets, or to the one that is named.
func (d *doctor) peers(ctx context.Context, identity *quicx.Identity, only string) {
	found := false
	for _, p := range d.cfg.Peers {
		if only != "" && p.Name != only {
			continue
		}
		found = true
		if p.Pin == "" {
			d.tell(bad("pairing", "", notPaired(p.Name)))
			continue
		}
		if d.resolves(ctx, p) && identity != nil {
			d.answers(ctx, identity, p)
		}
	}
	switch {
	case only != "" && !found:
		d.tell(bad("pairing", "", notPaired(only)))
	case !found:
		d.tell(odd("pairing", "run wanrep pair offer at the target, then wanrep pair join ADDRESS here", "not paired with any target"))
	}
}

// resolves reports whether a peer has at least one address.
func (d *doctor) resolves(ctx context.Context, p configs.Peer) bool {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	any := false
	for _, address := range p.Addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			d.tell(bad("name", "write it as host:port", fmt.Errorf("%s: %w", p.Name, err)))
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			d.tell(bad("name", "check the name in [[peer]] and the name server", fmt.Errorf("%s: %w", p.Name, err)))
			continue
		}
		any = true
		if _, err := netip.ParseAddr(host); err == nil {
			continue // nothing was looked up
		}
		var texts []string
		for _, ip := range ips {
			texts = append(texts, ip.Unmap().String())
		}
		d.tell(good("name", "%s is %s", host, strings.Join(texts, ", ")))
	}
	return any
}

// answers makes a link to a peer, which proves the way there and both keys.
func (d *doctor) answers(ctx context.Context, identity *quicx.Identity, p configs.Peer) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	// Without the appliance's tickets, so that all of the handshake is tried.
	endpoint, err := quicx.NewEndpoint(quicx.Config{Identity: identity, Uplinks: uplinksOf(d.cfg), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.tell(bad("link", "", err))
		return
	}
	defer endpoint.Close()
	got, err := endpoint.Dial(ctx, quicx.Peer{Name: p.Name, Addresses: p.Addresses, Pin: p.Pin})
	if err == nil {
		defer got.Close(quicx.CodeDone, "the doctor has seen enough")
		err = got.Confirmed(ctx)
	}
	if err != nil {
		d.tell(bad("link", linkHint(err, p), err))
		return
	}
	s := got.Stats()
	d.tell(good("link", "%s answers at %s over %s, round trip %s", p.Name, s.Remote, s.Path, tui.Seconds(s.RTT.Seconds())))
}

// linkHint tells silence, which firewalls make, from an answer.
func linkHint(err error, p configs.Peer) string {
	e, ok := errors.AsType[*quicx.Error](err)
	if !ok || !e.Dropped() {
		return ""
	}
	if slices.ContainsFunc(p.Addresses, portClosed) {
		return "the machine answers, but no appliance listens there: is wanrep serve running at the target?"
	}
	return fmt.Sprintf("is wanrep serve running at the target? If so, a firewall on the way drops UDP: ask for UDP to %s, out and back", strings.Join(p.Addresses, ", "))
}

// portClosed reports whether the machine at a UDP address says that nobody listens
// there. A link's own sockets are not connected, and so never hear it (udp(7)).
func portClosed(address string) bool {
	conn, err := net.DialTimeout("udp", address, lookupTimeout)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(portTimeout))
	// What is sent is no QUIC packet, so an appliance does not answer it.
	if _, err = conn.Write([]byte{0}); err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// store checks that a target can write and has room.
func (d *doctor) store() {
	path := d.cfg.Store.Path
	dir, err := durable.OS(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, parent := os.Stat(filepath.Dir(path)); parent != nil {
			d.tell(bad("store", "make the directory, mount its file system, or set [store] path", parent))
			return
		}
		d.tell(odd("store", "wanrep serve makes it", "%s is not there yet", path))
		return
	}
	if err != nil {
		d.tell(bad("store", "the appliance's account must own the store", err))
		return
	}
	defer dir.Close()
	// A name of its own: the store takes no notice of it, should it stay behind.
	probe := fmt.Sprintf(".doctor-%d", os.Getpid())
	f, err := dir.OpenFile(probe, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		d.tell(bad("store", "the appliance's account must be able to write there", err))
		return
	}
	err = errors.Join(f.Sync(), f.Close(), dir.Remove(probe))
	free, freeErr := dir.Free()
	switch {
	case errors.Join(err, freeErr) != nil:
		d.tell(bad("store", "look at the disk below it", errors.Join(err, freeErr)))
	case free < littleSpace:
		d.tell(odd("store", "free some space before the next run", "%s, only %s free", path, tui.Bytes(free)))
	default:
		d.tell(good("store", "%s, %s free", path, tui.Bytes(free)))
	}
}

// listens checks that the address can be had, or that the appliance has it.
func (d *doctor) listens() {
	address := d.cfg.Listen.Address
	pc, err := net.ListenPacket("udp", address)
	switch {
	case err == nil:
		pc.Close()
		d.tell(odd("listen", "start the appliance with wanrep serve; a firewall here must let UDP in", "nobody listens on UDP %s", address))
	case isAddrInUse(err):
		d.tell(good("listen", "UDP %s is taken, which the running appliance does", address))
	default:
		d.tell(bad("listen", "set [listen] address", err))
	}
}

// sources tells who may attach to a target.
func (d *doctor) sources(only string) {
	peers := linkPeers(d.cfg.Peers)
	if only != "" && !slices.ContainsFunc(peers, func(p quicx.Peer) bool { return p.Name == only }) {
		d.tell(bad("pairing", "", notPaired(only)))
		return
	}
	if len(peers) == 0 {
		d.tell(odd("pairing", "wanrep pair offer prints a code for one", "not paired with any source"))
		return
	}
	for _, p := range peers {
		if only == "" || p.Name == only {
			d.tell(good("pairing", "%s may attach", p.Name))
		}
	}
}
