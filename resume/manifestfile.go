package resume

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// A manifest is written as JSON in one way only: the fields in the order in which
// they stand here, indented by two spaces. So a manifest that was read can be
// written again to see what was signed. "claims" never changes after the commit.
const (
	manifestSchema = "wanrep.manifest/2"
	// manifestSchema1 had no parts, no signature and nothing of the point before.
	// Points that were committed with it are read; nothing is written in it.
	manifestSchema1 = "wanrep.manifest/1"
	// claimsDomain tells the digest of claims apart from any other.
	claimsDomain = "wanrep claims 1"
)

type manifestFile struct {
	Schema    string          `json:"schema"`
	Claims    manifestClaims  `json:"claims"`
	Storage   manifestStorage `json:"storage"`
	Signature *Signature      `json:"signature"`
}

type manifestClaims struct {
	Source    string       `json:"source"`
	VM        string       `json:"vm"`
	Point     string       `json:"point"`
	Begun     time.Time    `json:"begun"`
	Committed time.Time    `json:"committed"`
	Software  string       `json:"software"`
	Disks     []diskClaims `json:"disks"`
}

type diskClaims struct {
	Name               string     `json:"name"`
	ID                 diskID     `json:"id"`
	VirtualSize        int64      `json:"virtual_size"`
	LogicalSectorSize  int        `json:"logical_sector_size"`
	PhysicalSectorSize int        `json:"physical_sector_size"`
	Identity           string     `json:"identity"`
	Root               digest.Sum `json:"root"`
}

type manifestStorage struct {
	Base     *string   `json:"base"`
	Previous *Previous `json:"previous"`
	// Disks are in the order of those in the claims.
	Disks []diskStorage `json:"disks"`
}

type diskStorage struct {
	File        string  `json:"file"`
	DigestsFile string  `json:"digests_file"`
	Base        *string `json:"base"`
	Digests     int64   `json:"digests"`
	Stored      int64   `json:"stored"`
}

// claims returns what the point claims.
func (m Manifest) claims() manifestClaims {
	c := manifestClaims{
		Source: m.Source, VM: m.VM, Point: m.Point, Begun: m.Begun, Committed: m.Committed, Software: m.Software,
		Disks: []diskClaims{},
	}
	for _, d := range m.Disks {
		c.Disks = append(c.Disks, diskClaims{
			Name: d.Name, ID: d.ID, VirtualSize: d.VirtualSize, LogicalSectorSize: d.LogicalSectorSize,
			PhysicalSectorSize: d.PhysicalSectorSize, Identity: d.Identity, Root: d.Root,
		})
	}
	return c
}

// claimsDigest names what the point claims, whatever schema it is written in.
func (m Manifest) claimsDigest() (digest.Sum, error) {
	b, err := json.Marshal(m.claims())
	return digest.Named(claimsDomain, b), err
}

func (m Manifest) file() manifestFile {
	f := manifestFile{
		Schema: manifestSchema, Claims: m.claims(), Signature: m.Signature,
		Storage: manifestStorage{Base: m.Base, Previous: m.Previous, Disks: []diskStorage{}},
	}
	for _, d := range m.Disks {
		f.Storage.Disks = append(f.Storage.Disks, diskStorage{d.File, d.DigestsFile, d.Base, d.Digests, d.Stored})
	}
	return f
}

func (f manifestFile) manifest() (Manifest, error) {
	c, s := f.Claims, f.Storage
	if len(c.Disks) != len(s.Disks) {
		return Manifest{}, fmt.Errorf("it claims %d disks and stores %d", len(c.Disks), len(s.Disks))
	}
	m := Manifest{
		Schema: f.Schema, Source: c.Source, VM: c.VM, Point: c.Point, Begun: c.Begun, Committed: c.Committed,
		Software: c.Software, Base: s.Base, Previous: s.Previous, Signature: f.Signature,
	}
	for i, d := range c.Disks {
		at := s.Disks[i]
		m.Disks = append(m.Disks, ManifestDisk{
			Name: d.Name, ID: d.ID, VirtualSize: d.VirtualSize, LogicalSectorSize: d.LogicalSectorSize,
			PhysicalSectorSize: d.PhysicalSectorSize, Identity: d.Identity, Root: d.Root,
			File: at.File, DigestsFile: at.DigestsFile, Base: at.Base, Digests: at.Digests, Stored: at.Stored,
		})
	}
	return m, nil
}

// encode returns the manifest's file.
func (m Manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m.file(), "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	if len(b) > maxManifestBytes {
		return nil, fmt.Errorf("a manifest of %d bytes; at most %d are possible", len(b), maxManifestBytes)
	}
	return b, nil
}

// decodeManifest reads a manifest. name is for messages.
func decodeManifest(name string, b []byte) (m Manifest, err error) {
	m, ok := scanManifest(b)
	if !ok {
		m, err = decodeAny(name, b)
	}
	if err == nil {
		if err = m.check(); err != nil {
			err = &damagedError{name, err.Error()}
		}
	}
	if err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// decodeAny reads a manifest of any schema that is known.
func decodeAny(name string, b []byte) (m Manifest, err error) {
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return m, &damagedError{name, err.Error()}
	}
	switch head.Schema {
	case manifestSchema:
		m, err = decodeFile(b)
	case manifestSchema1:
		err = json.Unmarshal(b, &m)
	default:
		return m, fmt.Errorf("%s has the schema %q; this version of wanrep knows %q",
			diskio.Printable(name), diskio.Printable(head.Schema), manifestSchema)
	}
	if err != nil {
		err = &damagedError{name, err.Error()}
	}
	return m, err
}

// decodeFile reads the only form in which encode writes.
func decodeFile(b []byte) (Manifest, error) {
	var f manifestFile
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return Manifest{}, err
	}
	m, err := f.manifest()
	if err != nil {
		return Manifest{}, err
	}
	again, err := m.encode()
	if err != nil {
		return Manifest{}, err
	}
	if !bytes.Equal(again, b) {
		return Manifest{}, errors.New("it is not as wanrep writes it")
	}
	return m, nil
}
