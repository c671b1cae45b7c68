package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"wanrep/configs"
	"wanrep/diskio/durable"
	"wanrep/diskio/image"
	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

// ticketDir is where a source keeps its session tickets, below its state
// directory.
const ticketDir = "tickets"

// A sourceAppliance is the one next to the VMs.
type sourceAppliance struct {
	cfg      *configs.Config
	board    *progress.Board
	endpoint *quicx.Endpoint
	engine   *replicate.Source
	state    *replicate.State
	peers    *peerBook
}

var _ appliance = (*sourceAppliance)(nil)

// openSource builds the source that the config describes. sockets opens the
// uplinks in place of the system, for a line that is simulated; nil is the usual.
func openSource(cfg *configs.Config, log *slog.Logger, sockets func(quicx.Uplink) (net.PacketConn, error)) (_ *sourceAppliance, err error) {
	jobs, err := jobsOf(cfg)
	if err != nil {
		return nil, err
	}
	identity, err := loadIdentity(cfg)
	if err != nil {
		return nil, err
	}
	s := &sourceAppliance{cfg: cfg, board: progress.NewBoard(cfg.Role, cfg.Name, readVersion().Version), peers: &peerBook{file: cfg.File}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.state, err = openState(cfg); err != nil {
		return nil, err
	}
	s.endpoint, err = quicx.NewEndpoint(quicx.Config{
		Identity:    identity,
		Uplinks:     uplinksOf(cfg),
		TicketDir:   filepath.Join(cfg.StateDir, ticketDir),
		IdleTimeout: time.Duration(cfg.Link.IdleTimeout),
		KeepAlive:   time.Duration(cfg.Link.Keepalive),
		ReturnAfter: time.Duration(cfg.Link.ReturnAfter),
		MaxRate:     int64(cfg.Link.MaxRate),
		MaxLanes:    maxLanes(cfg),
		OnEvent:     tellEvents(s.board),
		Log:         log,
		Sockets:     sockets,
	})
	if err != nil {
		return nil, err
	}
	s.engine, err = replicate.NewSource(replicate.SourceConfig{
		Name: cfg.Name, Software: softwareVersion(),
		VMs: vmsOf(cfg), Jobs: jobs,
		Open: openDisk, Attach: s.attach, Dial: s.dial, State: s.state,
		Board: s.board, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.board.SetMaxRate(int64(cfg.Link.MaxRate))
	for _, p := range cfg.Peers {
		s.board.Link(p.Name, func(*progress.Link) {})
	}
	return s, nil
}

// openState begins a process of the source in its state directory.
func openState(cfg *configs.Config) (*replicate.State, error) {
	dir, err := durable.OS(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	state, err := replicate.OpenState(dir)
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("%s: %w", cfg.StateDir, err)
	}
	return state, nil
}

// initState makes the state of a source, unless a good one is there.
func initState(stateDir string) error {
	dir, err := durable.OS(stateDir)
	if err != nil {
		return fmt.Errorf("open the state directory: %w", err)
	}
	defer dir.Close()
	return replicate.InitState(dir)
}

// loadIdentity reads what init made. The name in it is the config's.
func loadIdentity(cfg *configs.Config) (*quicx.Identity, error) {
	identity, err := quicx.LoadIdentity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	identity.Name = cfg.Name
	return identity, nil
}

func uplinksOf(cfg *configs.Config) []quicx.Uplink {
	var uplinks []quicx.Uplink
	for _, u := range cfg.Uplinks {
		uplinks = append(uplinks, quicx.Uplink{Name: u.Name, Bind: u.Bind, MaxRate: int64(u.MaxRate), Metered: u.Metered})
	}
	return uplinks
}

func vmsOf(cfg *configs.Config) []replicate.VM {
	var vms []replicate.VM
	for _, v := range cfg.VMs {
		vm := replicate.VM{Name: v.Name}
		for _, d := range v.Disks {
			vm.Disks = append(vm.Disks, replicate.Disk{Name: d.Name, Path: d.Path})
		}
		vms = append(vms, vm)
	}
	return vms
}

func jobsOf(cfg *configs.Config) ([]replicate.Job, error) {
	var jobs []replicate.Job
	for _, j := range cfg.Jobs {
		schedule, err := replicate.ParseSchedule(j.Schedule)
		if err != nil {
			return nil, fail(exitUsage, "", "%s: job %q: %w", cfg.File, j.Name, err)
		}
		jobs = append(jobs, replicate.Job{Name: j.Name, Peer: j.Peer, VMs: j.VMs, Schedule: schedule,
			Retries: j.Retries, RetryWait: time.Duration(j.RetryWait), RPO: rpoOf(j, schedule)})
	}
	return jobs, nil
}

// rpoPeriods is how many periods of its schedule a job has when its file does not
// say otherwise: one run may fail, two in a row want a look.
const rpoPeriods = 2

func rpoOf(j configs.Job, schedule replicate.Schedule) time.Duration {
	if j.RPO != 0 {
		return time.Duration(j.RPO)
	}
	return rpoPeriods * schedule.Period()
}

// openDisk opens a disk of any format for one run.
func openDisk(_ context.Context, path string) (replicate.Snapshot, replicate.Geometry, error) {
	img, err := image.Open(path, image.Options{})
	if err != nil {
		return nil, replicate.Geometry{}, err
	}
	info := img.Info()
	// The replica is a VHDX, whose size is a multiple of its sectors (MS-VHDX
	// 2.6.2.2); adding bytes would make it another disk.
	if sector := int64(max(info.LogicalSectorSize, 512)); info.VirtualSize%sector != 0 {
		img.Close()
		return nil, replicate.Geometry{}, fmt.Errorf("%s has %d bytes, which is no multiple of its sectors of %d: enlarge the file to one", path, info.VirtualSize, sector)
	}
	return img, replicate.Geometry{ID: info.DiskID, LogicalSectorSize: info.LogicalSectorSize, PhysicalSectorSize: info.PhysicalSectorSize}, nil
}

// attach finds the way to a peer as the config file names it now.
func (s *sourceAppliance) attach(peer string) (replicate.Attacher, error) {
	p, err := s.peers.find(peer)
	if err != nil {
		return nil, err
	}
	to := quicx.Peer{Name: p.Name, Addresses: p.Addresses, Pin: p.Pin}
	redial := quicx.Redial{Every: time.Duration(s.cfg.Reattach.RedialEvery), For: time.Duration(s.cfg.Reattach.RedialFor)}
	a := newAttacher(peer, s.board, func(on func(quicx.Attempt)) *quicx.Redialer {
		return s.endpoint.Redialer(to, redial, on)
	})
	a.uplinks = uplinksOf(s.cfg)
	return a, nil
}

// dial makes one attempt to reach a peer as the config file names it now.
func (s *sourceAppliance) dial(ctx context.Context, peer string) (replicate.Link, error) {
	p, err := s.peers.find(peer)
	if err != nil {
		return nil, err
	}
	l, err := s.endpoint.Dial(ctx, quicx.Peer{Name: p.Name, Addresses: p.Addresses, Pin: p.Pin})
	if err != nil {
		return nil, err
	}
	return quicLink{l}, nil
}

// Serve runs the jobs as they are scheduled.
func (s *sourceAppliance) Serve(ctx context.Context) error {
	var board sync.WaitGroup
	board.Go(func() { s.board.Run(ctx) })
	board.Go(func() { s.watchUplinks(ctx) })
	defer board.Wait()
	return s.engine.Serve(ctx)
}

// Close ends all links.
func (s *sourceAppliance) Close() error {
	var errs []error
	if s.endpoint != nil {
		errs = append(errs, s.endpoint.Close())
	}
	if s.state != nil {
		errs = append(errs, s.state.Close())
	}
	return errors.Join(errs...)
}

// Status returns the newest snapshot of the board.
func (s *sourceAppliance) Status() progress.Status { return s.board.Snapshot() }

// Run runs a job once.
func (s *sourceAppliance) Run(ctx context.Context, job string) (json.RawMessage, error) {
	report, err := s.engine.Run(ctx, job)
	err = s.explain(err)
	if report.Schema == "" {
		return nil, err // it did not begin
	}
	raw, bad := json.Marshal(report)
	return raw, errors.Join(err, bad)
}

// explain gives the error of a run the code that scripts tell it by.
func (s *sourceAppliance) explain(err error) error {
	if err == nil {
		return nil
	}
	e := &control.Error{Code: control.Failed, Text: err.Error()}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		e.Tip = h.Hint()
	}
	known, _ := errors.AsType[*control.Error](err)
	lost, _ := errors.AsType[*quicx.Error](err)
	_, refused := errors.AsType[*replicate.RefusedError](err)
	switch {
	case known != nil:
		e.Code = known.Code
	case errors.Is(err, replicate.ErrInterrupted), errors.Is(err, context.Canceled):
		e.Code, e.Tip = control.Interrupted, "the next run completes the point; what reached the target is not sent again"
	case errors.Is(err, replicate.ErrUnknownJob):
		e.Code, e.Tip = control.NotFound, "the jobs of this source are: "+s.jobNames()
	case errors.Is(err, replicate.ErrRunning):
		e.Code, e.Tip = control.Busy, "wanrep top shows it"
	case errors.Is(err, replicate.ErrNoLink):
		e.Code, e.Tip = codeUnreachable, "wanrep status tells of the line"
	case errors.Is(err, context.DeadlineExceeded):
		e.Code, e.Tip = codeUnreachable, "the peer is reached but does not answer in time; try again, and look at its log"
	case errors.Is(err, replicate.ErrPaused):
		e.Code, e.Tip = control.Busy, "wanrep resume lets it go on"
	case refused:
		e.Code = codeRefused
	case lost != nil && lost.Class == quicx.Auth:
		e.Code = codeNotPaired
	case lost != nil && (lost.Class == quicx.Refused || lost.Class == quicx.Ended && lost.Code == quicx.CodeSuperseded):
		e.Code = codeRefused
	case lost != nil && lost.Dropped():
		e.Code = codeUnreachable
	}
	return e
}

// Points tells that a source has none.
func (s *sourceAppliance) Points(context.Context) (json.RawMessage, error) {
	return nil, &control.Error{Code: control.WrongRole, Text: "a source keeps no points", Tip: "wanrep top shows those that its target keeps, with the key r"}
}

// Offer tells that a source makes no codes.
func (s *sourceAppliance) Offer(context.Context) (control.Offer, error) {
	return control.Offer{}, &control.Error{Code: control.WrongRole, Text: "a source makes no pairing codes",
		Tip: "run wanrep pair offer at the target, and wanrep pair join here"}
}

// Joined tells that a source makes no codes.
func (s *sourceAppliance) Joined(ctx context.Context, _ control.Offer) (control.Peer, error) {
	_, err := s.Offer(ctx)
	return control.Peer{}, err
}

// Peers returns the targets that the source is paired with.
func (s *sourceAppliance) Peers(context.Context) ([]control.Peer, error) {
	peers, err := s.peers.list()
	return controlPeers(peers), err
}

// Remove forgets a target, what was seen of it, and the session ticket that would
// still let a run in.
func (s *sourceAppliance) Remove(_ context.Context, name string) error {
	p, err := s.peers.find(name)
	if err != nil {
		return s.peers.remove(name)
	}
	if err := s.peers.remove(name); err != nil {
		return err
	}
	return errors.Join(s.endpoint.Forget(quicx.Peer{Name: p.Name, Pin: p.Pin}), s.state.Forget(name))
}

func (s *sourceAppliance) jobNames() string {
	var names []string
	for _, j := range s.cfg.Jobs {
		names = append(names, j.Name)
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// maxLanes is how many connections a link may have.
func maxLanes(cfg *configs.Config) int {
	if cfg.Link.Repair == configs.RepairOff {
		return 1
	}
	return quicx.MaxLanes
}
