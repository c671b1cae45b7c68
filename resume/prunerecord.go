package resume

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"

	"wanrep/diskio/durable"
)

const (
	pruneName   = "prune.json"
	pruneSchema = "wanrep.prune-record/1"
	// maxPruneBytes is far above the few hundred that a record has.
	maxPruneBytes = 4 << 10
)

// States of a prune, in their order.
const (
	pruneDone = "done" // or given up, in the state preparing
	// prunePreparing: the merged digests are written beside the point's files. The
	// point is as it was.
	prunePreparing = "preparing"
	// pruneMerging: the child's content is written to the point's files. From here on
	// the prune is only ever finished. The child, and who builds on it, read the same.
	pruneMerging = "merging"
	// pruneMerged: the point's files hold what the child and the point hold together.
	pruneMerged = "merged"
	// pruneExchanging: the point's files take the place of the child's, the manifests
	// are written, and the point goes. It takes a moment, in which only the store that
	// prunes can say what the VM's points are.
	pruneExchanging = "exchanging"
)

// A pruneRecord is the VM's file prune.json: the last prune and how far it is. It
// decides, as the manifest does for a commit.
type pruneRecord struct {
	Schema string `json:"schema"`
	// Count is another one in each record of the VM, so that a reader sees whether
	// anything was pruned since.
	Count uint64 `json:"count"`
	Point string `json:"point"` // the one that goes
	Child string `json:"child"` // the one that builds on it; empty without one
	State string `json:"state"`
}

// hides reports whether the prune has made a point none any more.
func (r pruneRecord) hides(point string) bool {
	return point == r.Point && r.State != pruneDone && r.State != ""
}

// exchanges reports whether files of a point are being exchanged.
func (r pruneRecord) exchanges(point string) bool {
	return r.State == pruneExchanging && (point == r.Point || point == r.Child)
}

// readPrune returns the last prune of a VM, the zero record without one.
func readPrune(fsys durable.FS, vmDir string) (pruneRecord, error) {
	name := path.Join(vmDir, pruneName)
	b, err := readFile(fsys, name, maxPruneBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return pruneRecord{}, nil
	}
	if err != nil {
		return pruneRecord{}, err
	}
	var r pruneRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return pruneRecord{}, &damagedError{name, err.Error()}
	}
	_, isPoint := pointNumber(r.Point)
	_, hasChild := pointNumber(r.Child)
	if r.Schema != pruneSchema || !isPoint || r.Child != "" && (!hasChild || r.Child <= r.Point) {
		return pruneRecord{}, &damagedError{name, "it is no record of a prune"}
	}
	return r, nil
}

// currentPrune returns the last prune of a VM: from memory, or from its file in a
// store that another process may be working on.
func (s *Store) currentPrune(vmDir string) (pruneRecord, error) {
	if s.readOnly {
		return readPrune(s.fsys, vmDir)
	}
	return s.pruneOf(s.state(vmDir)), nil
}

// record makes a prune's new state durable. After an error the old one may count or
// the new one; the caller goes on from the old, which is right for both.
func (s *Store) record(v *vmState, r pruneRecord) error {
	r.Schema = pruneSchema
	r.Count = s.pruneOf(v).Count + 1
	s.set(v, func(v *vmState) { v.prune.Count = r.Count })
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(s.fsys, path.Join(v.dir, pruneName), append(b, '\n'), filePerm); err != nil {
		return err
	}
	s.set(v, func(v *vmState) { v.prune = r })
	return nil
}
