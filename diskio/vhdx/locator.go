package vhdx

import (
	"strings"
	"unicode/utf16"

	"wanrep/diskio"
)

const (
	locatorHeaderBytes = 20 // MS-VHDX 2.6.2.6.1
	locatorEntryBytes  = 12 // MS-VHDX 2.6.2.6.2

	// maxLocatorEntries is far above the five that Windows writes.
	maxLocatorEntries = 64

	keyLinkage  = "parent_linkage"
	keyLinkage2 = "parent_linkage2"
	keyRelative = "relative_path"
	keyVolume   = "volume_path"
	keyAbsolute = "absolute_win32_path"
)

// A locator says what the parent is and where it may be (MS-VHDX 2.6.2.6).
type locator struct {
	offset int64 // in the file
	kind   diskio.ID
	values map[string]string
}

// parseLocator reads a parent locator item that lies at off in the file.
func parseLocator(b []byte, off int64) (locator, error) {
	const section = "parent locator"
	l := locator{offset: off, values: map[string]string{}}
	if len(b) < locatorHeaderBytes {
		return l, formatErr(section, off, "%d bytes are too few for its header", len(b))
	}
	l.kind = diskio.ID(b[:16])
	n := int(le.Uint16(b[18:]))
	if locatorHeaderBytes+n*locatorEntryBytes > len(b) {
		return l, formatErr(section, off+18, "%d entries do not fit into %d bytes", n, len(b))
	}
	if n > maxLocatorEntries {
		return l, formatErr(section, off+18, "%d entries, at most %d are accepted", n, maxLocatorEntries)
	}
	text := 0
	for i := range n {
		at := locatorHeaderBytes + i*locatorEntryBytes
		e := b[at:]
		if text += int(le.Uint16(e[8:])) + int(le.Uint16(e[10:])); text > len(b) {
			return l, formatErr(section, off+int64(at), "its keys and values share space")
		}
		key, ok1 := utf16Text(b, le.Uint32(e), le.Uint16(e[8:]))
		value, ok2 := utf16Text(b, le.Uint32(e[4:]), le.Uint16(e[10:]))
		switch {
		case !ok1 || key == "":
			return l, formatErr(section, off+int64(at), "the key of entry %d is not text within the item", i)
		case !ok2 || value == "":
			return l, formatErr(section, off+int64(at), "the value of entry %d is not text within the item", i)
		}
		if _, twice := l.values[key]; twice {
			return l, formatErr(section, off+int64(at), "the key %q is there twice", key)
		}
		l.values[key] = value
	}
	return l, nil
}

// utf16Text returns the n bytes at off of b as text, without a trailing NUL.
func utf16Text(b []byte, off uint32, n uint16) (string, bool) {
	if n%2 != 0 || int64(off)+int64(n) > int64(len(b)) {
		return "", false
	}
	u := make([]uint16, n/2)
	for i := range u {
		u[i] = le.Uint16(b[int(off)+2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(u)), "\x00"), true
}

// encodeLocator returns the parent locator item for the keys in order.
func encodeLocator(pairs [][2]string) []byte {
	b := make([]byte, locatorHeaderBytes+len(pairs)*locatorEntryBytes)
	copy(b, locatorVHDX[:])
	le.PutUint16(b[18:], uint16(len(pairs)))
	for i, p := range pairs {
		e := locatorHeaderBytes + i*locatorEntryBytes
		for j, s := range p {
			u := utf16.Encode([]rune(s))
			le.PutUint32(b[e+4*j:], uint32(len(b)))
			le.PutUint16(b[e+8+2*j:], uint16(2*len(u)))
			for _, c := range u {
				b = le.AppendUint16(b, c)
			}
		}
	}
	return b
}

// linkage returns the GUIDs of which the parent must have one. A zero GUID, which
// Windows writes for the second, never matches anything.
func (l locator) linkage() ([]diskio.ID, error) {
	var ids []diskio.ID
	for _, key := range []string{keyLinkage, keyLinkage2} {
		v, ok := l.values[key]
		if !ok {
			continue
		}
		id, err := parseID(v)
		if err != nil {
			return nil, formatErr("parent locator", l.offset, "%s: %v", key, err)
		}
		if !id.IsZero() {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, formatErr("parent locator", l.offset, "no %s that could identify a parent", keyLinkage)
	}
	return ids, nil
}

// wanted is the parent's name for messages: the first path that the locator has.
func (l locator) wanted() string {
	for _, key := range []string{keyRelative, keyAbsolute, keyVolume} {
		if v := l.values[key]; v != "" {
			return v
		}
	}
	return "without a name"
}
