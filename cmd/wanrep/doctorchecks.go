package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"wanrep/configs"
	"wanrep/diskio/durable"
	"wanrep/quicx"
	"wanrep/replicate/control"
	"wanrep/tui"
)

const (
	// wantedBuffer is the size of both socket buffers with which a fast line loses nothing
	// while the process is not scheduled; quic-go asks for as much.
	wantedBuffer = 7 << 20
	// littleSpace is where a store's free space is worth a warning.
	littleSpace = 10 << 30
	// noSpace is where the next point does not fit any more.
	noSpace = 1 << 30
	// littleState is where the state directory's is: journals and digests go there.
	littleState = 64 << 20
)

// A doctor examines the appliance of one config.
type doctor struct {
	cfg  *configs.Config
	tell func(finding)
	// serves tells that the appliance runs.
	serves bool
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
	d.serves = !down || u.Forbidden()
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

// buffers checks that the kernel lets a process have large enough socket buffers.
func (d *doctor) buffers() {
	if receive, send, ok := maxSocketBuffer(); ok {
		d.tell(bufferFinding(receive, send))
	}
}

// bufferFinding judges the largest buffers that a process may ask for.
func bufferFinding(receive, send int64) finding {
	text := fmt.Sprintf("%s to receive and %s to send at most", tui.Bytes(receive), tui.Bytes(send))
	if min(receive, send) < wantedBuffer {
		return odd("socket buffer", fmt.Sprintf(setBuffers, wantedBuffer), "%s, %s wanted for a fast line", text, tui.Bytes(wantedBuffer))
	}
	return good("socket buffer", "%s", text)
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
				d.tell(bad("disk", diskHint(err, disk.Path), fmt.Errorf("%s: %w", name, err)))
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

// diskHint says what helps where a disk, or one that it builds on, can't be opened.
func diskHint(err error, path string) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return grant(path, false)
	case errors.Is(err, fs.ErrNotExist):
		return "set the disk's path in [[vm]], or bring back the file"
	}
	return ""
}

// state checks that the state directory takes a file, and that it is the account's
// own: what root started once belongs to root afterwards.
func (d *doctor) state() {
	const check = "state"
	path := d.cfg.StateDir
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return // the identity tells so
	}
	if err != nil {
		d.tell(bad(check, "", err))
		return
	}
	free, err := tryDirectory(path)
	switch owner := strangeOwner(info); {
	case errors.Is(err, fs.ErrPermission):
		d.tell(bad(check, grant(path, true), err))
	case errors.Is(err, durable.ErrFull):
		d.tell(bad(check, "free some space: df -h "+quoted(path)+" shows how much there is", err))
	case err != nil:
		d.tell(bad(check, "look at the disk below it", err))
	case owner != "":
		d.tell(odd(check, "run wanrep as "+owner+", or make the files the account's own: "+ownCommand(path), "%s belongs to %s, and this is another account", path, owner))
	case free < littleState:
		d.tell(odd(check, "free some space: df -h "+quoted(path)+" shows how much there is", "%s, only %s free", path, tui.Bytes(free)))
	default:
		d.tell(good(check, "%s", path))
	}
}

// tryDirectory writes a file and removes it again, and returns how much room there
// is. The name is its own: nothing takes notice of it, should it stay behind.
func tryDirectory(path string) (free int64, err error) {
	dir, err := durable.OS(path)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	probe := fmt.Sprintf(".doctor-%d", os.Getpid())
	f, err := dir.OpenFile(probe, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = f.WriteAt([]byte{0}, 0)
	if err = errors.Join(err, f.Sync(), f.Close(), dir.Remove(probe)); err != nil {
		return 0, err
	}
	return dir.Free()
}

// store checks that a target can write and has room.
func (d *doctor) store() {
	path := d.cfg.Store.Path
	free, err := tryDirectory(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, parent := os.Stat(filepath.Dir(path)); parent != nil {
			d.tell(bad("store", "make the directory, mount its file system, or set [store] path", parent))
			return
		}
		d.tell(odd("store", "wanrep serve makes it", "%s is not there yet", path))
	case errors.Is(err, fs.ErrPermission):
		d.tell(bad("store", grant(path, true), err))
	case errors.Is(err, durable.ErrFull):
		d.tell(bad("store", spaceHint(path), err))
	case err != nil:
		d.tell(bad("store", "look at the disk below it", err))
	default:
		d.tell(roomFinding(path, free))
	}
}

// roomFinding judges how much room a store has.
func roomFinding(path string, free int64) finding {
	switch {
	case free < noSpace:
		return bad("store", spaceHint(path), fmt.Errorf("%s: only %s free, and a point needs some", path, tui.Bytes(free)))
	case free < littleSpace:
		return odd("store", spaceHint(path), "%s, only %s free", path, tui.Bytes(free))
	}
	return good("store", "%s, %s free", path, tui.Bytes(free))
}

func spaceHint(path string) string {
	return "df -h " + quoted(path) + " shows how full it is; give it more room, or keep fewer points"
}

// listens checks that the address can be had, or that the appliance has it.
func (d *doctor) listens() {
	address := d.cfg.Listen.Address
	pc, err := net.ListenPacket("udp", address)
	switch {
	case err == nil:
		pc.Close()
		d.tell(odd("listen", "start it with wanrep serve; a firewall here must let UDP in: "+letIn(address), "nobody listens on UDP %s", address))
	case isAddrInUse(err) && !d.serves:
		d.tell(bad("listen", showListeners+" shows which; stop it, or set [listen] address", fmt.Errorf("another process has UDP %s", address)))
	case isAddrInUse(err):
		d.tell(good("listen", "UDP %s is taken, which the running appliance does", address))
	default:
		d.tell(bad("listen", "set [listen] address", err))
	}
}

// letIn is the command that opens a firewall for a listening address.
func letIn(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		port = "7443"
	}
	return fmt.Sprintf(openPort, port)
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
