package resume_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"sync"
	"testing"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
)

// The bugs that the rig has to find. Each stands between the store and the file
// system and spoils what the store does rightly.

// A bug is a file system that lies to the store.
type bug struct {
	durable.FS
	syncDir func(name string) error
	file    func(f durable.File, name string) durable.File
}

func (b *bug) SyncDir(name string) error {
	if b.syncDir != nil {
		return b.syncDir(name)
	}
	return b.FS.SyncDir(name)
}

func (b *bug) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := b.FS.OpenFile(name, flag, perm)
	if err != nil || b.file == nil {
		return f, err
	}
	return b.file(f, name), nil
}

func isJournal(name string) bool { return path.Base(name) == "journal" }

// syncing is a file whose Sync does something else.
type syncing struct {
	durable.File
	sync func() error
}

func (f syncing) Sync() error { return f.sync() }

// journalBeforeData syncs data only after the next record is synced.
func journalBeforeData(fsys durable.FS) durable.FS {
	var mu sync.Mutex
	var late []durable.File
	return &bug{FS: fsys, file: func(f durable.File, name string) durable.File {
		return syncing{f, func() error {
			mu.Lock()
			defer mu.Unlock()
			switch path.Ext(name) {
			case ".img", ".digests":
				late = append(late, f)
				return nil
			}
			err := f.Sync()
			if !isJournal(name) {
				return err
			}
			for _, f := range late {
				if err2 := f.Sync(); err == nil && !errors.Is(err2, fs.ErrClosed) {
					err = err2
				}
			}
			late = nil
			return err
		}}
	}}
}

// noDirSync never syncs a directory.
func noDirSync(fsys durable.FS) durable.FS {
	return &bug{FS: fsys, syncDir: func(string) error { return nil }}
}

// earlyAcknowledge syncs the journal only when the next record is written.
func earlyAcknowledge(fsys durable.FS) durable.FS {
	return &bug{FS: fsys, file: func(f durable.File, name string) durable.File {
		if !isJournal(name) {
			return f
		}
		return &lateSync{File: f}
	}}
}

type lateSync struct {
	durable.File
	owed bool
}

func (f *lateSync) Sync() error {
	f.owed = true
	return nil
}

func (f *lateSync) WriteAt(p []byte, off int64) (int, error) {
	if f.owed {
		f.owed = false
		if err := f.File.Sync(); err != nil {
			return 0, err
		}
	}
	return f.File.WriteAt(p, off)
}

// ignoredSyncError tries a failed sync again and believes the second.
func ignoredSyncError(fsys durable.FS) durable.FS {
	return &bug{FS: fsys, file: func(f durable.File, _ string) durable.File {
		return syncing{f, func() error {
			if f.Sync() == nil {
				return nil
			}
			return f.Sync()
		}}
	}}
}

// noJournalChecksum takes every record for valid: each sector gets the checksum
// that it ought to have when it is read.
func noJournalChecksum(fsys durable.FS) durable.FS {
	return &bug{FS: fsys, file: func(f durable.File, name string) durable.File {
		if !isJournal(name) {
			return f
		}
		return unchecked{f}
	}}
}

type unchecked struct{ durable.File }

func (f unchecked) ReadAt(p []byte, off int64) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	whole := make([]byte, info.Size())
	if _, err := f.File.ReadAt(whole, 0); err != nil && err != io.EOF {
		return 0, err
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	for s := whole; len(s) >= 512; s = s[512:] {
		if string(s[:7]) == "wanrepJ" {
			binary.LittleEndian.PutUint32(s[508:], crc32.Checksum(s[:508], table))
		}
	}
	if off >= int64(len(whole)) {
		return 0, io.EOF
	}
	n := copy(p, whole[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// mergeWithoutSync does not wait until what is merged is on the disk.
func mergeWithoutSync(fsys durable.FS) durable.FS {
	return &bug{FS: fsys, file: func(f durable.File, name string) durable.File {
		if path.Ext(name) == ".img" || path.Ext(name) == ".merged" {
			return syncing{f, func() error { return nil }}
		}
		return f
	}}
}

// recordLate takes a prune's decision for durable before it is.
func recordLate(fsys durable.FS) durable.FS {
	return &bug{FS: fsys, syncDir: func(name string) error {
		if path.Base(name) == vmDirName {
			return nil
		}
		return fsys.SyncDir(name)
	}}
}

// TestPlantedBugsInAPruneAreCaught: what goes must not go before what takes its place is
// durable.
func TestPlantedBugsInAPruneAreCaught(t *testing.T) {
	p := &pruner{format: plain{}, want: merges}
	start, err := p.commitAll()
	must(t, err)
	ks := changing(pruneOps(t, p, start))
	for name, wrap := range map[string]wrapper{
		"merge without a sync": mergeWithoutSync, "missing directory sync": noDirSync, "record that is not synced": recordLate,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for runs, k := range ks {
				if err := pruneCut(p, start, wrap, k); err != nil {
					t.Logf("caught in run %d: %v", runs+1, err)
					return
				}
			}
			t.Fatal("the rig does not find it")
		})
	}
}

// TestPlantedBugsInAnImportAreCaught: what an import says is durable has to be.
func TestPlantedBugsInAnImportAreCaught(t *testing.T) {
	for _, i := range importCases(t) {
		if i.format != (plain{}) {
			continue // its files have other names
		}
		ks := changing(i.record(t))
		for name, wrap := range map[string]wrapper{
			"data that is not synced": mergeWithoutSync, "missing directory sync": noDirSync, "early acknowledge": earlyAcknowledge,
		} {
			t.Run(i.name+"/"+name, func(t *testing.T) {
				for runs, k := range ks {
					if err := i.crashAt(wrap, k); err != nil {
						t.Logf("caught in run %d: %v", runs+1, err)
						return
					}
				}
				t.Fatal("the rig does not find it")
			})
		}
	}
}

// TestPlantedBugsAreCaught breaks promise 1 in each way that is known, and looks whether
// the rig notices.
func TestPlantedBugsAreCaught(t *testing.T) {
	tests := []struct {
		name string
		wrap wrapper
		try  func(wrap wrapper, k int) error
	}{
		{"journal before data", journalBeforeData, tryCrash},
		{"missing directory sync", noDirSync, tryCrash},
		{"early acknowledge", earlyAcknowledge, tryCrash},
		{"ignored sync error", ignoredSyncError, tryError},
		{"no journal checksum", noJournalChecksum, tryFlip},
	}
	ops := record(t, story{plain{}, increments})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for runs, k := range changing(ops) {
				if err := test.try(test.wrap, k); isViolation(err) {
					t.Logf("caught in run %d: %v", runs+1, err)
					return
				}
			}
			t.Fatal("the rig does not find it")
		})
	}
}

func tryCrash(wrap wrapper, k int) error { return crashAt(story{plain{}, increments}, wrap, k, 3) }

func tryError(wrap wrapper, k int) error {
	return failAt(story{plain{}, increments}, wrap, crashfs.Fault{At: k}, 2)
}
