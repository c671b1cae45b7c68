package resume

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

const (
	manifestName = "manifest.json"
	// maxManifestBytes bounds a manifest: 260 disks with names and identities that
	// JSON may write six times as long.
	maxManifestBytes = 8 << 20
	digestsExtension = ".digests"
)

// A Manifest names what a committed point holds. It is the file manifest.json
// beside the disks. Some of it is what the point claims to be, which never changes;
// the rest says how that is stored, which changes when a point before it is pruned.
// The tags are those of the first schema, which had no such parts.
type Manifest struct {
	Schema string `json:"schema"` // in which it was written
	// What the point claims.
	Source    string         `json:"source"`
	VM        string         `json:"vm"`
	Point     string         `json:"point"`
	Begun     time.Time      `json:"begun"`
	Committed time.Time      `json:"committed"`
	Software  string         `json:"software"`
	Disks     []ManifestDisk `json:"disks"`
	// How it is stored. Base is the point that this one builds on; null for one that
	// stands alone.
	Base *string `json:"base"`
	// Previous is the VM's point before this one; null for the first.
	Previous *Previous `json:"-"`
	// Signature is the target's, over all of this; null if it has no signer.
	Signature *Signature `json:"-"`
}

// A ManifestDisk is one disk of a committed point.
type ManifestDisk struct {
	// What the point claims.
	Name               string     `json:"name"`
	ID                 diskID     `json:"id"`
	VirtualSize        int64      `json:"virtual_size"` // in bytes
	LogicalSectorSize  int        `json:"logical_sector_size"`
	PhysicalSectorSize int        `json:"physical_sector_size"`
	Identity           string     `json:"-"`    // what the source said names the snapshot's content
	Root               digest.Sum `json:"root"` // over the whole virtual disk
	// How it is stored.
	File        string  `json:"file"`         // beside the manifest
	DigestsFile string  `json:"digests_file"` // beside the manifest
	Base        *string `json:"base"`         // the point whose disk it builds on, or null
	Digests     int64   `json:"digests"`      // records in DigestsFile
	Stored      int64   `json:"stored"`       // size of File in bytes
}

// A Previous ties a point to the one before it, by the digest of what that claims.
type Previous struct {
	Point  string     `json:"point"`
	Claims digest.Sum `json:"claims"`
}

// A diskID is a disk's ID in the form in which people know it.
type diskID diskio.ID

func (id diskID) MarshalText() ([]byte, error) { return []byte(diskio.ID(id).String()), nil }

func (id *diskID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "-", ""))
	if err != nil || len(b) != len(id) {
		return fmt.Errorf("%q is no disk's ID", diskio.Printable(string(text)))
	}
	// The printed form has the first three fields in the other byte order. It is
	// its own inverse.
	*id = diskID{
		b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6],
		b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15],
	}
	return nil
}

func (d ManifestDisk) spec() DiskSpec {
	return DiskSpec{
		Name: d.Name, ID: diskio.ID(d.ID), Size: d.VirtualSize,
		LogicalSectorSize: d.LogicalSectorSize, PhysicalSectorSize: d.PhysicalSectorSize,
		Identity: d.Identity,
	}
}

// fileNames returns the names of all files of the disks.
func (m Manifest) fileNames() []string {
	var names []string
	for _, d := range m.Disks {
		names = append(names, d.File, d.DigestsFile)
	}
	return names
}

func (m Manifest) disk(name string) (ManifestDisk, bool) {
	for _, d := range m.Disks {
		if d.Name == name {
			return d, true
		}
	}
	return ManifestDisk{}, false
}

// point describes the committed point.
func (m Manifest) point() Point {
	p := Point{Source: m.Source, VM: m.VM, Point: m.Point, Time: m.Committed, State: StateCommitted}
	if m.Base != nil {
		p.Base = *m.Base
	}
	for _, d := range m.Disks {
		p.Disks = append(p.Disks, PointDisk{
			Disk: d.Name, VirtualSize: d.VirtualSize, Stored: d.Stored,
			Durable: d.VirtualSize, Root: d.Root.String(),
		})
	}
	return p
}

// check holds a manifest to what the store would have written.
func (m Manifest) check() error {
	state := partState{source: m.Source, vm: m.VM, point: m.Point}
	if m.Base != nil {
		state.base = *m.Base
	}
	files := map[string]bool{manifestName: true}
	for _, d := range m.Disks {
		state.disks = append(state.disks, diskState{
			spec: d.spec(), durable: d.VirtualSize, digests: d.Digests, complete: true, based: d.Base != nil,
		})
		if d.Base != nil && *d.Base != state.base {
			return fmt.Errorf("disk %q builds on point %q, the point on %q",
				diskio.Printable(d.Name), diskio.Printable(*d.Base), diskio.Printable(state.base))
		}
		for _, f := range []string{d.File, d.DigestsFile} {
			if !isFileName(f) || files[f] {
				return fmt.Errorf("disk %q has a file named %q", diskio.Printable(d.Name), diskio.Printable(f))
			}
			files[f] = true
		}
	}
	if m.Previous != nil {
		if _, ok := pointNumber(m.Previous.Point); !ok || m.Previous.Point >= m.Point {
			return fmt.Errorf("point %q can't come before it", diskio.Printable(m.Previous.Point))
		}
	}
	return state.check()
}

// readManifest reads the manifest of the point in dir. The error is
// fs.ErrNotExist without one.
func readManifest(fsys durable.FS, dir string) (Manifest, error) {
	name := path.Join(dir, manifestName)
	b, err := readFile(fsys, name, maxManifestBytes)
	if err != nil {
		return Manifest{}, err
	}
	m, err := decodeManifest(name, b)
	if err != nil {
		return Manifest{}, err
	}
	vm, err := vmDir(m.Source, m.VM)
	if err != nil {
		return Manifest{}, &damagedError{name, err.Error()}
	}
	// A point that was copied to another place would be taken for that one.
	if path.Base(dir) != m.Point || path.Dir(path.Dir(dir)) != vm {
		return Manifest{}, &damagedError{name, fmt.Sprintf("it belongs to %s", path.Join(vm, pointsName, m.Point))}
	}
	return m, nil
}

// Manifest returns the manifest of a committed point.
func (s *Store) Manifest(p Point) (Manifest, error) {
	dir, err := pointDir(p.Source, p.VM, p.Point)
	if err != nil {
		return Manifest{}, err
	}
	pruned, err := s.currentPrune(path.Dir(path.Dir(dir)))
	if err != nil {
		return Manifest{}, err
	}
	m, err := readManifest(s.fsys, dir)
	if errors.Is(err, fs.ErrNotExist) || pruned.hides(p.Point) {
		return Manifest{}, ErrNoPoint
	}
	return m, err
}
