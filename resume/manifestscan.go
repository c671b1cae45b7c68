package resume

import (
	"encoding/base64"
	"strings"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// A list of a store reads all of its manifests, and a general reader of JSON takes most
// of the time of that. A manifest is written in one way only, so that all of its bytes
// but the values are known beforehand. What is not as expected, such as a name in which
// something is escaped, is left to the general reader.

// scanManifest returns what decodeFile would, or false where it has not understood all
// of it.
func scanManifest(b []byte) (Manifest, bool) {
	s := manifestScan{rest: string(b)}
	var f manifestFile
	s.skip("{\n  \"schema\": ")
	f.Schema = s.text()
	s.claims(&f.Claims)
	s.storage(&f.Storage)
	s.skip(",\n  \"signature\": ")
	f.Signature = s.signature()
	s.skip("\n}\n")
	if s.failed || s.rest != "" || f.Schema != manifestSchema {
		return Manifest{}, false
	}
	m, err := f.manifest()
	return m, err == nil
}

// A manifestScan is what is left of a manifest. Once it has failed it takes nothing.
type manifestScan struct {
	rest   string
	failed bool
}

func (s *manifestScan) claims(c *manifestClaims) {
	s.skip(",\n  \"claims\": {\n    \"source\": ")
	c.Source = s.text()
	s.skip(",\n    \"vm\": ")
	c.VM = s.text()
	s.skip(",\n    \"point\": ")
	c.Point = s.text()
	s.skip(",\n    \"begun\": ")
	c.Begun = s.time()
	s.skip(",\n    \"committed\": ")
	c.Committed = s.time()
	s.skip(",\n    \"software\": ")
	c.Software = s.text()
	s.skip(",\n    \"disks\": [")
	for first := true; first || s.took(","); first = false {
		c.Disks = append(c.Disks, s.diskClaims())
	}
	s.skip("\n    ]\n  }")
}

func (s *manifestScan) diskClaims() (d diskClaims) {
	s.skip("\n      {\n        \"name\": ")
	d.Name = s.text()
	s.skip(",\n        \"id\": ")
	id := s.text()
	s.check(d.ID.UnmarshalText([]byte(id)) == nil && diskio.ID(d.ID).String() == id)
	s.skip(",\n        \"virtual_size\": ")
	d.VirtualSize = s.number()
	s.skip(",\n        \"logical_sector_size\": ")
	d.LogicalSectorSize = s.sectorSize()
	s.skip(",\n        \"physical_sector_size\": ")
	d.PhysicalSectorSize = s.sectorSize()
	s.skip(",\n        \"identity\": ")
	d.Identity = s.text()
	s.skip(",\n        \"root\": ")
	d.Root = s.sum()
	s.skip("\n      }")
	return d
}

func (s *manifestScan) storage(m *manifestStorage) {
	s.skip(",\n  \"storage\": {\n    \"base\": ")
	m.Base = s.textOrNull()
	s.skip(",\n    \"previous\": ")
	if !s.took("null") {
		m.Previous = &Previous{}
		s.skip("{\n      \"point\": ")
		m.Previous.Point = s.text()
		s.skip(",\n      \"claims\": ")
		m.Previous.Claims = s.sum()
		s.skip("\n    }")
	}
	s.skip(",\n    \"disks\": [")
	for first := true; first || s.took(","); first = false {
		m.Disks = append(m.Disks, s.diskStorage())
	}
	s.skip("\n    ]\n  }")
}

func (s *manifestScan) diskStorage() (d diskStorage) {
	s.skip("\n      {\n        \"file\": ")
	d.File = s.text()
	s.skip(",\n        \"digests_file\": ")
	d.DigestsFile = s.text()
	s.skip(",\n        \"base\": ")
	d.Base = s.textOrNull()
	s.skip(",\n        \"digests\": ")
	d.Digests = s.number()
	s.skip(",\n        \"stored\": ")
	d.Stored = s.number()
	s.skip("\n      }")
	return d
}

func (s *manifestScan) signature() *Signature {
	if s.took("null") {
		return nil
	}
	var g Signature
	s.skip("{\n    \"key\": ")
	g.Key = s.bytes()
	s.skip(",\n    \"value\": ")
	g.Value = s.bytes()
	s.skip("\n  }")
	return &g
}

func (s *manifestScan) check(ok bool) {
	if !ok {
		s.failed, s.rest = true, ""
	}
}

// skip takes what has to come next.
func (s *manifestScan) skip(text string) { s.check(s.took(text)) }

// took takes what may come next.
func (s *manifestScan) took(text string) (ok bool) {
	s.rest, ok = strings.CutPrefix(s.rest, text)
	return ok
}

// text takes a string of characters that stand for themselves.
func (s *manifestScan) text() string {
	s.skip(`"`)
	n := 0
	for n < len(s.rest) && isPlainText(s.rest[n]) {
		n++
	}
	text := s.rest[:n]
	s.rest = s.rest[n:]
	s.skip(`"`)
	return text
}

// isPlainText reports whether a character stands for itself in JSON, and JSON writes it
// so.
func isPlainText(c byte) bool {
	return c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
}

func (s *manifestScan) textOrNull() *string {
	if s.took("null") {
		return nil
	}
	text := s.text()
	return &text
}

// maxScannedDigits is for how many digits an int64 has room.
const maxScannedDigits = 18

// number takes one that is not negative.
func (s *manifestScan) number() (v int64) {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		v = v*10 + int64(s.rest[n]-'0')
		n++
	}
	s.check(n == 1 || n > 1 && n <= maxScannedDigits && s.rest[0] != '0')
	if !s.failed {
		s.rest = s.rest[n:]
	}
	return v
}

// maxScannedSector is one for which every int has room.
const maxScannedSector = 1 << 20

func (s *manifestScan) sectorSize() int {
	n := s.number()
	s.check(n <= maxScannedSector)
	return int(n)
}

func (s *manifestScan) time() time.Time {
	text := s.text()
	t, err := time.Parse(time.RFC3339Nano, text)
	s.check(err == nil && strings.HasSuffix(text, "Z") && t.Format(time.RFC3339Nano) == text)
	return t
}

func (s *manifestScan) sum() (d digest.Sum) {
	text := s.text()
	s.check(d.UnmarshalText([]byte(text)) == nil && d.String() == text)
	return d
}

func (s *manifestScan) bytes() []byte {
	text := s.text()
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	s.check(err == nil && base64.StdEncoding.EncodeToString(b) == text)
	return b
}
