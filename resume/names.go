package resume

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// Names that come from a peer are labels: they are kept in journals and
// manifests, and are never used as a path. What stands for a label on disk is
// its safeName.

// checkLabel refuses what can't be kept as text.
func checkLabel(what, label string) error {
	switch {
	case label == "":
		return fmt.Errorf("a %s without a name", what)
	case len(label) > maxLabelBytes:
		return fmt.Errorf("a %s's name has %d bytes; at most %d are possible", what, len(label), maxLabelBytes)
	case !utf8.ValidString(label):
		return fmt.Errorf("a %s's name is not UTF-8: %q", what, diskio.Printable(label))
	}
	return nil
}

// slugBytes is how much of a label that needs a digest stays readable.
const slugBytes = 32

// safeName returns the name that stands for a label on disk. No two labels share
// one, on file systems that ignore case too. A plain label is its own name;
// any other becomes what is plain of it, "~" and its digest.
func safeName(label string) string {
	if isPlain(label) {
		return label
	}
	var slug strings.Builder
	for _, r := range strings.ToLower(label) {
		if slug.Len() == slugBytes {
			break
		}
		if isPlainRune(r) && r != '.' {
			slug.WriteRune(r)
		} else {
			slug.WriteByte('-')
		}
	}
	sum := sha256.Sum256([]byte(label))
	return slug.String() + "~" + hex.EncodeToString(sum[:16])
}

// isPlain reports whether a label is safe as it stands: short, of characters
// that every file system keeps, neither hidden nor a name that Windows reserves
// nor one that the store uses itself.
func isPlain(label string) bool {
	if len(label) > 64 || !utf8.ValidString(label) {
		return false
	}
	for _, r := range label {
		if !isPlainRune(r) {
			return false
		}
	}
	if label == "" || label[0] == '.' || label[len(label)-1] == '.' {
		return false
	}
	switch label {
	case lockName, storeName, storeName + durable.PartSuffix, sourceName, sourceName + durable.PartSuffix:
		return false
	}
	return !isDevice(label)
}

func isPlainRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}

// isDevice reports whether Windows takes a name in lower case for a device,
// whatever follows its first dot.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(base) == 4 && (strings.HasPrefix(base, "com") || strings.HasPrefix(base, "lpt")) &&
		base[3] >= '0' && base[3] <= '9'
}

// vmDir returns the directory of a VM.
func vmDir(source, vm string) (string, error) {
	if err := checkLabel("source", source); err != nil {
		return "", err
	}
	if err := checkLabel("VM", vm); err != nil {
		return "", err
	}
	return path.Join(safeName(source), safeName(vm)), nil
}

// pointName returns the name of a VM's n-th point.
func pointName(n uint64) string { return fmt.Sprintf("%016x", n) }

// pointNumber undoes pointName.
func pointNumber(name string) (uint64, bool) {
	n, err := strconv.ParseUint(name, 16, 64)
	return n, err == nil && pointName(n) == name
}

// isFileName reports whether a name that was read from a file of the store can
// only mean a file beside it.
func isFileName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00")
}
