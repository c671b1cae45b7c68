package resume

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

const (
	sourceName   = "source.json"
	sourceSchema = "wanrep.source/1"
)

// A Process is one process of a source appliance: the last one that attached. The
// zero value is none.
type Process struct {
	Starts uint64   // how often its appliance was started, this time included
	Nonce  [16]byte // random
}

// sourceJSON is the file source.json in the directory of a source.
type sourceJSON struct {
	Schema   string    `json:"schema"`
	Source   string    `json:"source"`
	Starts   uint64    `json:"starts"`
	Process  string    `json:"process"`
	Attached time.Time `json:"attached"`
}

// LastProcess returns the process of a source that was remembered last.
func (s *Store) LastProcess(source string) (Process, error) {
	name, err := sourceFile(source)
	if err != nil {
		return Process{}, err
	}
	b, err := readFile(s.fsys, name, 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return Process{}, nil
	}
	if err != nil {
		return Process{}, err
	}
	var j sourceJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return Process{}, &damagedError{name, err.Error()}
	}
	nonce, err := hex.DecodeString(j.Process)
	p := Process{Starts: j.Starts}
	if err != nil || copy(p.Nonce[:], nonce) != len(p.Nonce) || j.Schema != sourceSchema || j.Source != source {
		return Process{}, &damagedError{name, "it does not name a process of " + diskio.Printable(source)}
	}
	return p, nil
}

// RememberProcess makes p the last process of a source, durably.
func (s *Store) RememberProcess(source string, p Process) error {
	if s.readOnly {
		return ErrReadOnly
	}
	name, err := sourceFile(source)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(sourceJSON{
		Schema: sourceSchema, Source: source, Starts: p.Starts,
		Process: hex.EncodeToString(p.Nonce[:]), Attached: s.cfg.Now().UTC(),
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := s.ensureDir(path.Dir(name)); err != nil {
		return err
	}
	return durable.WriteFile(s.fsys, name, append(b, '\n'), filePerm)
}

// ForgetProcess lets any process of a source be its next one. The points stay.
func (s *Store) ForgetProcess(source string) error {
	if s.readOnly {
		return ErrReadOnly
	}
	name, err := sourceFile(source)
	if err != nil {
		return err
	}
	err = s.fsys.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("forget the process of %s: %w", diskio.Printable(source), err)
	}
	return s.fsys.SyncDir(path.Dir(name))
}

func sourceFile(source string) (string, error) {
	if err := checkLabel("source", source); err != nil {
		return "", err
	}
	return path.Join(safeName(source), sourceName), nil
}
