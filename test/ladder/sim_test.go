package ladder

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/replicate/progress"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// A sim is two whole appliances, with real QUIC between them, in a bubble of fake
// time: half an hour of outage takes milliseconds. The target's disk is in memory
// and can crash.
type sim struct {
	t      *testing.T
	router *router
	links  []*simnet.SimulatedLink

	fs *crashfs.FS
	// writeDelay is how long the target's disk takes for each write.
	writeDelay time.Duration
	board      *progress.Board // the target's
	source     *replicate.Source
	sources    *progress.Board
	disks      map[string]*memoryDisk
	endpoint   *quicx.Endpoint
	attempts   int
	dials      int // of links that only look
	ports      int // how many the sources have opened

	// sourceFS is the source's state directory.
	sourceFS *crashfs.FS

	// open opens a disk in place of those in memory.
	open func(name string) (replicate.Snapshot, replicate.Geometry, error)

	target *replicate.Target
	scrub  replicate.ScrubRules
	// between stands between the target and the links it accepts.
	between func(link) replicate.Link

	stopTarget func()
	targetID   *quicx.Identity
	sourceID   *quicx.Identity
}

var targetAddr = &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2).To4(), Port: 7443}

// router carries datagrams unless the line is cut.
type router struct {
	simnet.PerfectRouter
	mu sync.Mutex
	// down says whether the line is cut. It is asked for every datagram with the
	// bytes carried towards the target so far.
	down    func(carried int64) bool
	carried int64
	// watching is told the bytes carried so far.
	watching func(carried int64)
}

func (r *router) SendPacket(p simnet.Packet) error {
	r.mu.Lock()
	cut := r.down != nil && r.down(r.carried)
	if to, ok := p.To.(*net.UDPAddr); ok && to.Port == targetAddr.Port && !cut {
		r.carried += int64(len(p.Data))
		if r.watching != nil {
			r.watching(r.carried)
		}
	}
	r.mu.Unlock()
	if cut {
		return nil
	}
	return r.PerfectRouter.SendPacket(p)
}

// cutAfter cuts the line once n bytes went over, for a time.
func (r *router) cutAfter(n int64, outage time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var since time.Time
	r.down = func(carried int64) bool {
		if carried < n {
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) < outage
	}
}

// watch lets f know, at every datagram towards the target, how many bytes were carried.
func (r *router) watch(f func(carried int64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watching = f
}

// total is how many bytes were carried towards the target.
func (r *router) total() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.carried
}

func (r *router) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = func(int64) bool { return true }
}

func (r *router) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = nil
}

// newSim starts both appliances. It must be called in a bubble.
func newSim(t *testing.T, disks map[string]*memoryDisk) *sim {
	s := &sim{t: t, router: &router{}, fs: crashfs.New(), sourceFS: crashfs.New(), disks: disks}
	if err := replicate.InitState(s.sourceFS); err != nil {
		t.Fatal(err)
	}
	s.targetID, s.sourceID = identity(t, "dr"), identity(t, "branch")
	s.startTarget()
	s.startSource()
	return s
}

// plug connects a socket to the network.
func (s *sim) plug(addr *net.UDPAddr) net.PacketConn {
	line := &simnet.SimulatedLink{Latency: 100 * time.Millisecond, UploadPacket: s.router}
	conn := simnet.NewBlockingSimConn(addr, line)
	line.Start() // before anything can arrive
	s.router.AddNode(addr, line)
	s.links = append(s.links, line)
	return conn
}

func identity(t *testing.T, name string) *quicx.Identity {
	id, err := quicx.CreateIdentity(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (s *sim) startTarget() {
	listener, err := quicx.Listen(quicx.ListenConfig{
		Identity: s.targetID, Conn: s.plug(targetAddr), Peers: []quicx.Peer{{Name: "branch", Pin: s.sourceID.Pin()}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	var disk durable.FS = s.fs
	if s.writeDelay > 0 {
		disk = slowFS{s.fs, s.writeDelay}
	}
	store := s.openStore(disk)
	s.board = progress.NewBoard("target", "dr", "test")
	target := replicate.NewTarget(replicate.TargetConfig{Name: "dr", Software: "test", Store: store, Board: s.board, Log: quiet, Scrub: s.scrub})
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- target.Serve(ctx, func(ctx context.Context) (replicate.Link, error) {
			l, err := listener.Accept(ctx)
			if err != nil {
				return nil, err
			}
			if s.between != nil {
				return s.between(link{l}), nil
			}
			return link{l}, nil
		})
	}()
	s.target = target
	s.stopTarget = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the target ended: %v", err)
		}
		listener.Close()
		store.Close()
	}
}

func (s *sim) openStore(fs durable.FS) *resume.Store {
	store, err := resume.Open(fs, storeConfig)
	if err != nil {
		s.t.Fatal(err)
	}
	return store
}

func (s *sim) startSource() {
	s.source, s.endpoint, s.sources = s.newSource(s.sourceFS)
}

// newSource starts a process of the source with that state directory.
func (s *sim) newSource(dir *crashfs.FS) (*replicate.Source, *quicx.Endpoint, *progress.Board) {
	endpoint, err := quicx.NewEndpoint(quicx.Config{
		Identity: s.sourceID, TicketDir: s.t.TempDir(), IdleTimeout: 10 * time.Second,
		Sockets: func(quicx.Uplink) (net.PacketConn, error) {
			s.ports++
			return s.plug(&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1).To4(), Port: 4000 + s.ports}), nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	var vm replicate.VM
	vm.Name = "sql01"
	for _, name := range slices.Sorted(maps.Keys(s.disks)) {
		vm.Disks = append(vm.Disks, replicate.Disk{Name: name, Path: name})
	}
	schedule, err := replicate.ParseSchedule("daily 22:00")
	if err != nil {
		s.t.Fatal(err)
	}
	state, err := replicate.OpenState(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	board := progress.NewBoard("source", "branch", "test")
	source, err := replicate.NewSource(replicate.SourceConfig{
		Name: "branch", Software: "test", Board: board, Log: quiet,
		VMs: []replicate.VM{vm},
		Jobs: []replicate.Job{{
			Name: "nightly", Peer: "dr", VMs: []string{"sql01"},
			Schedule: schedule, Retries: 3, RetryWait: 10 * time.Minute, RPO: 26 * time.Hour,
		}},
		Open: func(_ context.Context, path string) (replicate.Snapshot, replicate.Geometry, error) {
			if s.open != nil {
				return s.open(path)
			}
			d := s.disks[path]
			g := replicate.Geometry{ID: diskID(cmp.Or(d.id, path)), LogicalSectorSize: cmp.Or(d.sector, 512), PhysicalSectorSize: 4096}
			return snapshot{d, d.version}, g, nil
		},
		Attach: func(string) (replicate.Attacher, error) {
			return attacher{endpoint.Redialer(s.peer(), quicx.Redial{}, func(a quicx.Attempt) {
				if a.Err == nil {
					s.attempts++
				}
			})}, nil
		},
		Dial: func(ctx context.Context, _ string) (replicate.Link, error) {
			s.dials++
			l, err := endpoint.Dial(ctx, s.peer())
			if err != nil {
				return nil, err
			}
			return link{l}, nil
		},
		State: state,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return source, endpoint, board
}

// peer is the target, as the source knows it.
func (s *sim) peer() quicx.Peer {
	return quicx.Peer{Name: "dr", Addresses: []string{targetAddr.String()}, Pin: s.targetID.Pin()}
}

// close ends both appliances; a goroutine that stays fails the bubble.
func (s *sim) close() {
	s.stopTarget()
	s.endpoint.Close()
	for _, l := range s.links {
		l.Close()
	}
}

// powerCut ends the target as a power cut does, seen from the network and from the
// disk, and starts it again after a pause.
func (s *sim) powerCut(seed uint64, pause time.Duration) {
	s.router.cut()
	left := s.fs.Crash(seed)
	s.stopTarget()
	s.fs = left
	time.Sleep(pause)
	s.router.heal()
	s.startTarget()
}

// checkReplica compares every disk of the newest committed point with the source.
func (s *sim) checkReplica() {
	s.t.Helper()
	store, points := s.points()
	if len(points) != 1 || points[0].State != resume.StateCommitted {
		s.t.Fatalf("the store has %+v, want one committed point", points)
	}
	for name, disk := range s.disks {
		if !bytes.Equal(content(s.t, store, points[0], name), disk.content) {
			s.t.Errorf("disk %s of the replica differs from the source", name)
		}
	}
}

var storeConfig = resume.Config{Format: vhdxstore.Format{}}

var quiet = slog.New(slog.DiscardHandler)

// link and attacher are quicx behind the engine's interfaces.
type link struct{ *quicx.Link }

func (l link) OpenStream(ctx context.Context) (replicate.Stream, error) {
	s, err := l.Link.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	return stream{s}, nil
}

func (l link) AcceptStream(ctx context.Context) (replicate.Stream, error) {
	s, err := l.Link.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return stream{s}, nil
}

type stream struct{ *quicx.Stream }

func (s stream) Abort() { s.Stream.Abort(0) }

type attacher struct{ r *quicx.Redialer }

func (a attacher) Attach(ctx context.Context, progressed bool) (replicate.Link, error) {
	l, err := a.r.Attach(ctx, progressed)
	if errors.Is(err, quicx.ErrRedialSpent) {
		return nil, fmt.Errorf("%w: %w", replicate.ErrRedialSpent, err)
	}
	if err != nil {
		return nil, err
	}
	return link{l}, nil
}

func (a attacher) Totals() progress.LinkTotals { return progress.LinkTotals{} }
func (a attacher) Close() error                { return nil }

// A memoryDisk is a snapshot in memory that can be written to, as no snapshot may.
type memoryDisk struct {
	mu      sync.Mutex
	content []byte
	version int
	id      string // what its ID begins with; the disk's name unless set
	sector  int    // bytes; 512 unless set
	read    int64  // bytes, ever
	bad     int64  // reads at and behind it fail; 0 is none
}

func diskID(name string) [16]byte { return [16]byte([]byte(name + "0123456789abcdef")[:16]) }

// newDisk makes a disk of blocks of which every third is zeros.
func newDisk(blocks int, seed uint64) *memoryDisk {
	d := &memoryDisk{content: make([]byte, blocks*diskio.BlockBytes)}
	r := rand.New(rand.NewPCG(seed, 1))
	for b := range blocks {
		if b%3 == 2 {
			continue
		}
		block := d.content[b*diskio.BlockBytes:][:diskio.BlockBytes]
		for i := range block {
			block[i] = byte(r.Uint32())
		}
	}
	return d
}

func (d *memoryDisk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bad > 0 && off+int64(len(p)) > d.bad {
		return 0, errors.New("input/output error")
	}
	d.read += int64(len(p))
	return copy(p, d.content[off:]), nil
}

// wasRead returns how many bytes were ever read.
func (d *memoryDisk) wasRead() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.read
}

// contentBytes is how much of the disk is in blocks that are not all zeros.
func (d *memoryDisk) contentBytes() (sum int64) {
	zeros := make([]byte, diskio.BlockBytes)
	for block := range slices.Chunk(d.content, diskio.BlockBytes) {
		if !bytes.Equal(block, zeros) {
			sum += int64(len(block))
		}
	}
	return sum
}

func (d *memoryDisk) Size() int64 { return int64(len(d.content)) }

func (d *memoryDisk) NextData(off int64) (int64, int64, error) {
	if off >= d.Size() {
		return 0, 0, io.EOF
	}
	return off, d.Size() - off, nil
}

func (d *memoryDisk) Identity() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("version %d", d.version), nil
}

// A snapshot is a memoryDisk as it was when a run opened it.
type snapshot struct {
	*memoryDisk
	version int
}

func (s snapshot) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memoryDisk.version != s.version {
		return &diskio.ChangedError{Path: "disk", What: "version"}
	}
	return nil
}

func (s snapshot) Close() error { return nil }

// bubble runs a test in fake time.
func bubble(t *testing.T, disks map[string]*memoryDisk, f func(t *testing.T, s *sim)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, disks)
		defer s.close()
		f(t, s)
	})
}
