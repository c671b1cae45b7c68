package replicate

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"wanrep/diskio/durable"
)

// A vmBook is what a target remembers of its sources' VMs besides their points:
// how old the newest may become, and since when the VM is known. A target that was
// started anew can so tell that a source has fallen silent. It decides nothing, so
// that a book that can't be read or written is only worth a line in the log.
type vmBook struct {
	dir durable.FS // nil: nothing is kept
	log *slog.Logger

	mu  sync.Mutex
	vms map[vmKey]vmEntry
}

type vmEntry struct {
	RPO   float64   `json:"rpo"` // seconds; 0 is none
	Since time.Time `json:"since"`
}

const (
	vmBookFile   = "vms.json"
	vmBookSchema = "wanrep.vms/1"
	// maxBookBytes is some ten times a book of 256 sources with 256 VMs each.
	maxBookBytes = 64 << 20
)

// vmBookDocument is the file's form.
type vmBookDocument struct {
	Schema string       `json:"schema"`
	VMs    []vmDocument `json:"vms"`
}

type vmDocument struct {
	Source string `json:"source"`
	VM     string `json:"vm"`
	vmEntry
}

func openVMBook(dir durable.FS, log *slog.Logger) *vmBook {
	b := &vmBook{dir: dir, log: log, vms: map[vmKey]vmEntry{}}
	if dir == nil {
		return b
	}
	doc, err := readVMBook(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what was known of the VMs is lost until their sources attach", "file", vmBookFile, "err", err)
	}
	for _, v := range doc.VMs {
		b.vms[vmKey{v.Source, v.VM}] = v.vmEntry
	}
	return b
}

func readVMBook(dir durable.FS) (doc vmBookDocument, err error) {
	f, err := dir.OpenFile(vmBookFile, os.O_RDONLY, 0)
	if err != nil {
		return doc, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxBookBytes))
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err == nil && doc.Schema != vmBookSchema {
		err = errors.New("its schema is not " + vmBookSchema)
	}
	if err != nil {
		return vmBookDocument{}, err
	}
	return doc, nil
}

// A KnownVM is a VM that a target remembers.
type KnownVM struct {
	Source, VM string
	RPO        time.Duration // 0 is none
	Since      time.Time     // it is known
}

// KnownVMs reads from a target's state directory which VMs it remembers, for whoever
// asks while the target does not run. A target without memory has none.
func KnownVMs(dir durable.FS) ([]KnownVM, error) {
	doc, err := readVMBook(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var known []KnownVM
	for _, v := range doc.VMs {
		known = append(known, KnownVM{v.Source, v.VM, time.Duration(v.RPO * float64(time.Second)), v.Since})
	}
	return known, err
}

// heard notes what a source said of a VM, and returns what is known now.
func (b *vmBook) heard(key vmKey, rpo time.Duration) vmEntry {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, known := b.vms[key]
	now := vmEntry{RPO: rpo.Seconds(), Since: was.Since}
	if !known {
		now.Since = time.Now().UTC()
	}
	if now == was {
		return now
	}
	b.vms[key] = now
	if b.dir == nil {
		return now
	}
	doc := vmBookDocument{Schema: vmBookSchema}
	for k, e := range b.vms {
		doc.VMs = append(doc.VMs, vmDocument{k.source, k.vm, e})
	}
	data, err := json.Marshal(doc)
	if err == nil {
		err = durable.WriteFile(b.dir, vmBookFile, data, 0o600)
	}
	if err != nil {
		b.log.Warn("what a source says of a VM is not kept", "file", vmBookFile, "err", err)
	}
	return now
}

// keepOnly forgets the VMs that the store does not have: a source may be gone for
// good, and nobody should be warned of it forever.
func (b *vmBook) keepOnly(has func(vmKey) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.vms, func(key vmKey, _ vmEntry) bool { return !has(key) })
}

// each calls tell for every VM of the book.
func (b *vmBook) each(tell func(vmKey, vmEntry)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, e := range b.vms {
		tell(key, e)
	}
}
