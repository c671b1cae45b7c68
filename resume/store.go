// Package resume is the target's memory across crashes and lost links: how far
// each disk of a part is, and the restore points that are complete.
//
// The target is the only authority. The source never stores a position; it asks
// for one each time it attaches. A [Store] is a directory:
//
//	store.json  lock
//	<source>/source.json           which process of the source attached last
//	<source>/<vm>/damage.json      what is known to have rotted
//	<source>/<vm>/proofs.json      what was tested and verified
//	<source>/<vm>/parts/<point>/   journal, <disk>.vhdx, <disk>.digests
//	<source>/<vm>/prune.json       how far the last prune is
//	<source>/<vm>/points/<point>/  manifest.json, <disk>.vhdx, <disk>.digests
//
// A [Part] receives a point. Each of its disks is written in ascending order by
// one goroutine, and [PartDisk.Sync] makes what was written durable: first the
// data and its digests, then the record in the journal that counts them. Only
// then does it return, and only then may anybody be told. [Part.Commit] writes
// the manifest, which decides, and makes the point visible by one rename. The
// manifest is signed and names the point before it, so that [VerifyChain] and
// [Verify] prove a store, or a copy of one, to anybody.
//
// [ExportSeed] and [Store.ImportSeed] carry a part by courier.
//
// A disk that changed while its part waited goes on in the same part: what was received
// of it becomes a layer below a new file, and only what differs is sent and written. When
// everything that was received is compared the two become one file again. That is before
// the disk is complete, so a point has one file and one digests file of each disk; and
// the merge copies what had changed, not all that the part has.
//
// [Store.Prune] takes a point out of a VM's chain and merges it into the one that builds
// on it; which points are to go is for others to say.
//
// After a crash the journal says how far each disk is, by the longest run of
// valid records. What lies behind is forgotten. A part whose manifest is there
// was decided: its rename is done when the store is opened. An error on the way
// to the disk ends a Part, because what the disk then holds is open; beginning it
// again goes back to what the journal says.
//
// What all this promises, and which tests hold it to that, is the table in
// test/promises_test.go.
//
// The package knows no network and no disk format; those that it needs are
// [Format] and durable.FS. Start with [Store].
package resume

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// Config configures a store. Format must be set.
type Config struct {
	// Format makes and reads the files of the points.
	Format Format
	// Now gives the time of a point. Default: time.Now.
	Now func() time.Time
	// Software is the name and version that manifests carry. Default: "wanrep".
	Software string
	// Signer signs the manifests. Its key is one of Ed25519. Default: none, and
	// the manifests are not signed.
	Signer crypto.Signer
	// Log receives what happened to parts and points. Default: none.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Software == "" {
		c.Software = "wanrep"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

const (
	lockName    = "lock"
	storeName   = "store.json"
	storeSchema = "wanrep.store/1"
	// storeIDBytes is how many random bytes name a store.
	storeIDBytes = 16

	partsName  = "parts"
	pointsName = "points"

	dirPerm      = fs.FileMode(0o750)
	filePerm     = fs.FileMode(0o640)
	readOnlyPerm = fs.FileMode(0o444)

	// reserveBytes is what stays free for journals and manifests, and for the
	// blocks that disks in flight still write.
	reserveBytes = 64 << 20
)

var (
	// ErrNoPart is returned where a VM has no part under way.
	ErrNoPart = errors.New("no restore point is being received")
	// ErrNoPoint is returned for a point that the store does not have.
	ErrNoPoint = errors.New("no such restore point")
	// ErrBusy is returned while a Part of the same VM is not closed.
	ErrBusy = errors.New("the restore point is being received already")
	// ErrReadOnly is returned for changes to a store opened by OpenReadOnly.
	ErrReadOnly = errors.New("the store was opened for reading only")
	// ErrDigest is returned if what was received is not what the source sent.
	ErrDigest = errors.New("the digest of the disk differs from the source's")
	// ErrClosed is returned by a Part that is closed, and by its disks.
	ErrClosed = errors.New("the part is closed")
)

// A Store holds the parts and points of all VMs. Its methods may be called from
// several goroutines at once.
type Store struct {
	fsys     durable.FS
	cfg      Config
	id       string
	lock     io.Closer
	readOnly bool
	working  context.Context // ends with Interrupt
	stop     context.CancelFunc

	mu  sync.Mutex
	vms map[string]*vmState // by directory; those that were there or were asked for
}

// A vmState is what the store knows of a VM. The fields of its part are changed under
// the store's mutex by whoever made it busy; what they point to is not changed.
type vmState struct {
	dir  string
	busy bool
	part *partState // nil without one
	live *journal   // of the open Part; knows better than part
	// unsure is why it is not known what the disk holds, after an error.
	unsure error

	// pruning is held by who prunes, who alone changes prune, under the store's mutex.
	pruning sync.Mutex
	prune   pruneRecord
	// steady is held for reading while somebody looks at the points, and for writing
	// while a prune exchanges their files.
	steady sync.RWMutex
	// damaging is held by who changes damage, which is under the store's mutex.
	damaging sync.Mutex
	damage   []Damage
	// proving is held by who changes proofs, which are under the store's mutex.
	proving sync.Mutex
	proofs  Proofs
	// readers counts who reads a point, under the store's mutex.
	readers map[string]int
}

// Open opens the store in a directory, takes its lock and recovers what a crash
// left. It makes a new store in an empty directory. The error is a
// *durable.LockedError if another process has the store.
func Open(fsys durable.FS, cfg Config) (*Store, error) {
	if _, err := cfg.publicKey(); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(lockName)
	if err != nil {
		return nil, err
	}
	s := &Store{fsys: fsys, cfg: cfg.withDefaults(), lock: lock, vms: map[string]*vmState{}}
	s.working, s.stop = context.WithCancel(context.Background())
	if err := s.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func (s *Store) open() error {
	err := s.readID()
	if errors.Is(err, fs.ErrNotExist) {
		err = s.create()
	}
	if err != nil {
		return err
	}
	dirs, err := s.vmDirs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		part, err := s.recover(dir)
		if err != nil {
			return fmt.Errorf("recover %s: %w", dir, err)
		}
		v := &vmState{dir: dir, part: part}
		if v.damage, err = s.readDamage(dir); err == nil {
			v.proofs, err = s.readProofs(dir)
		}
		if err != nil {
			return fmt.Errorf("recover %s: %w", dir, err)
		}
		s.vms[dir] = v
		if err := s.recoverPrune(v); err != nil {
			return fmt.Errorf("recover %s: %w", dir, err)
		}
	}
	return nil
}

// OpenReadOnly opens a store beside a process that may be working on it. It takes
// no lock and changes nothing.
func OpenReadOnly(fsys durable.FS, cfg Config) (*Store, error) {
	s := &Store{fsys: fsys, cfg: cfg.withDefaults(), readOnly: true, vms: map[string]*vmState{}}
	if err := s.readID(); errors.Is(err, fs.ErrNotExist) {
		return nil, s.noStore()
	} else if err != nil {
		return nil, err
	}
	return s, nil
}

// Close frees the lock. The Parts must be closed before.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	s.stop()
	return s.lock.Close()
}

// Interrupt ends what takes long and can be done again, now and from now on, with
// context.Canceled. It is for a process that is to end soon.
func (s *Store) Interrupt() { s.stop() }

// ID names the store for life, so that a target which lost its points is told
// apart from one that had none.
func (s *Store) ID() string { return s.id }

type storeJSON struct {
	Schema  string    `json:"schema"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

func (s *Store) readID() error {
	b, err := readFile(s.fsys, storeName, 64<<10)
	if err != nil {
		return err
	}
	var j storeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return &damagedError{storeName, err.Error()}
	}
	if j.Schema != storeSchema {
		return fmt.Errorf("%s has the schema %q; this version of wanrep knows %q", storeName, diskio.Printable(j.Schema), storeSchema)
	}
	if id, err := hex.DecodeString(j.ID); err != nil || len(id) != storeIDBytes {
		return &damagedError{storeName, fmt.Sprintf("%q is no store's ID", diskio.Printable(j.ID))}
	}
	s.id = j.ID
	return nil
}

// create makes an empty directory a store.
func (s *Store) create() error {
	if err := s.noStore(); !errors.Is(err, errEmpty) {
		return err
	}
	var id [storeIDBytes]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	s.id = hex.EncodeToString(id[:])
	b, err := json.MarshalIndent(storeJSON{storeSchema, s.id, s.cfg.Now().UTC()}, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(s.fsys, storeName, append(b, '\n'), readOnlyPerm)
}

// vmDirs returns the directories of all VMs, sorted.
func (s *Store) vmDirs() ([]string, error) {
	var dirs []string
	sources, err := s.subdirs(".")
	if err != nil {
		return nil, err
	}
	for _, source := range sources {
		vms, err := s.subdirs(source)
		if err != nil {
			return nil, err
		}
		for _, vm := range vms {
			dirs = append(dirs, path.Join(source, vm))
		}
	}
	return dirs, nil
}

// subdirs returns the directories below dir whose names the store could have
// made.
func (s *Store) subdirs(dir string) ([]string, error) {
	entries, err := s.fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && (isPlain(e.Name()) || strings.Contains(e.Name(), "~")) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// pointDirs returns the names of the points in a directory of them, ascending;
// none if it does not exist.
func (s *Store) pointDirs(dir string) ([]string, error) {
	entries, err := s.fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, ok := pointNumber(e.Name()); ok && e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// readFile reads a small file. It is damaged if it has more than limit bytes.
func readFile(fsys durable.FS, name string, limit int64) ([]byte, error) {
	b, err := durable.ReadFile(fsys, name, limit)
	if errors.Is(err, durable.ErrTooLarge) {
		return nil, &damagedError{name, fmt.Sprintf("it has more than %d bytes", limit)}
	}
	return b, err
}
