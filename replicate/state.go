package replicate

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/replicate/wire"
)

const (
	stateName   = "state.json"
	stateSchema = "wanrep.state/1"
	// maxStateBytes bounds the file: 64 targets of 256 VMs with long names.
	maxStateBytes = 16 << 20
)

// A State is what a source remembers across its processes: which process it is,
// and what it has seen of its targets. It is a file in the state directory.
//
// Positions are not in it; those the target alone has. What is in it serves to
// notice what should not be: a copy of the source (see fence.go), and a target that
// is not the one it was (see seen.go).
type State struct {
	dir durable.FS
	// process and before are those of a Hello: this process, and those it goes on
	// from.
	starts  uint64
	process nonce
	before  []nonce

	mu   sync.Mutex
	file stateFile
}

// stateFile is the file state.json.
type stateFile struct {
	Schema string `json:"schema"`
	// Starts counts the processes, and Processes are the last of them, the newest
	// first.
	Starts    uint64                   `json:"starts"`
	Processes []nonce                  `json:"processes"`
	Targets   map[string]*targetMemory `json:"targets,omitempty"`
}

// A targetMemory is what a source remembers of one target.
type targetMemory struct {
	// Process is the last that the target is known to have let in.
	Process nonce               `json:"process"`
	VMs     map[string]vmMemory `json:"vms,omitempty"`
}

// A vmMemory is what the target had of a VM when it was last seen.
type vmMemory struct {
	Store  string    `json:"store"` // the store's ID
	Points int       `json:"points"`
	Newest string    `json:"newest,omitempty"` // the newest point
	Time   time.Time `json:"time,omitzero"`    // when that was committed
}

// A nonce is a random number that names a process. The zero value is none.
type nonce [16]byte

func (n nonce) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

func (n *nonce) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(n) {
		return fmt.Errorf("%q names no process", diskio.Printable(string(text)))
	}
	copy(n[:], b)
	return nil
}

// A StateError says that what a source remembers can't be had. Beginning anew in
// silence would make the source look like a copy of itself.
type StateError struct{ Err error }

func (e *StateError) Error() string { return "read what this source remembers: " + e.Err.Error() }
func (e *StateError) Unwrap() error { return e.Err }

// Hint tells what to do about it.
func (e *StateError) Hint() string {
	return "put the file back as it was last; or pair again with each target (wanrep pair offer there, wanrep pair join here), which begins a new one"
}

// InitState makes the state of a new source in its state directory. A state that is
// there and can be read stays.
func InitState(dir durable.FS) error {
	if _, err := readState(dir); err == nil {
		return nil
	} else if damaged := new(StateError); !errors.As(err, &damaged) {
		return err
	}
	return writeState(dir, stateFile{Schema: stateSchema})
}

// OpenState begins a process of the source: it counts it, durably, and reads what
// the processes before have seen. The caller has the lock on the directory. The
// error is a [StateError] if the file is missing or damaged.
func OpenState(dir durable.FS) (*State, error) {
	file, err := readState(dir)
	if err != nil {
		return nil, err
	}
	s := &State{dir: dir, before: file.Processes}
	if _, err := rand.Read(s.process[:]); err != nil {
		return nil, err
	}
	file.Starts++
	file.Processes = slices.Insert(slices.Clone(file.Processes), 0, s.process)
	file.Processes = file.Processes[:min(len(file.Processes), wire.MaxBefore-1)]
	s.starts, s.file = file.Starts, file
	return s, writeState(dir, file)
}

// Close frees the directory.
func (s *State) Close() error { return s.dir.Close() }

func readState(dir durable.FS) (stateFile, error) {
	var file stateFile
	b, err := durable.ReadFile(dir, stateName, maxStateBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, durable.ErrTooLarge):
		return file, &StateError{err}
	case err != nil:
		return file, fmt.Errorf("read what this source remembers: %w", err)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return file, &StateError{fmt.Errorf("%s is damaged: %w", stateName, err)}
	}
	if file.Schema != stateSchema || len(file.Processes) > wire.MaxBefore {
		return file, &StateError{fmt.Errorf("%s has the schema %q and names %d processes", stateName, diskio.Printable(file.Schema), len(file.Processes))}
	}
	return file, nil
}

func writeState(dir durable.FS, file stateFile) error {
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(dir, stateName, append(b, '\n'), 0o600)
}

// change changes what is remembered of a target, durably. If change returns false,
// nothing is written.
func (s *State) change(peer string, change func(*targetMemory) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.file.Targets[peer]
	if t == nil {
		t = &targetMemory{}
	}
	if t.VMs == nil {
		t.VMs = map[string]vmMemory{}
	}
	if !change(t) {
		return nil
	}
	if s.file.Targets == nil {
		s.file.Targets = map[string]*targetMemory{}
	}
	s.file.Targets[peer] = t
	return writeState(s.dir, s.file)
}

// Forget drops what is remembered of a target, with which the pairing ended.
func (s *State) Forget(peer string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.file.Targets[peer]; !known {
		return nil
	}
	delete(s.file.Targets, peer)
	return writeState(s.dir, s.file)
}

// introduce says in a Hello which process this is, and which the target may have
// let in before.
func (s *State) introduce(peer string, hello *wire.Hello) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hello.Starts, hello.Process = s.starts, s.process
	for _, n := range s.before {
		hello.Before = append(hello.Before, n)
	}
	if t := s.file.Targets[peer]; t != nil && t.Process != (nonce{}) {
		hello.Before = append(hello.Before, t.Process)
	}
}

// letIn remembers that a target knows this process.
func (s *State) letIn(peer string) error {
	return s.change(peer, func(t *targetMemory) bool {
		if t.Process == s.process {
			return false
		}
		t.Process = s.process
		return true
	})
}
