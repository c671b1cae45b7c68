// Package digest computes what proves that two disks are the same: the digest of
// each block and the root over a whole disk.
//
// The root is that of a binary Merkle tree over the block digests. A tree has as
// many levels as the disk needs; what lies behind the disk's end counts as
// zeros. A subtree that holds only zeros has a digest known beforehand, so a
// sparse 64 TiB disk costs only what it stores. Start with [Tree].
//
// A leaf is BLAKE3(block), where the last block is filled up with zeros; an inner
// node is BLAKE3("wanrep node" ‖ left ‖ right); and the root binds the size:
// BLAKE3("wanrep root" ‖ size as 8 bytes big-endian ‖ top node). Leaves hash
// exactly 64 KiB, nodes and roots far less, so that none can stand for another.
// What else is digested has a name of its own in front of its BLAKE3, see [Named].
package digest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"

	"wanrep/diskio"
)

// A Sum is a BLAKE3 digest.
type Sum [32]byte

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns the digest in hex.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(s)) {
		return fmt.Errorf("a digest has %d hex digits, not %d", hex.EncodedLen(len(s)), len(text))
	}
	_, err := hex.Decode(s[:], text)
	return err
}

var (
	nodeTag = []byte("wanrep node")
	rootTag = []byte("wanrep root")

	// zeros[n] is the digest of a subtree of 2^n blocks that holds only zeros.
	zeros = zeroSums()
)

// levels is how many levels the largest disk's tree has: 64 TiB are 2^30 blocks.
const levels = 31

func zeroSums() (z [levels]Sum) {
	z[0] = blake3.Sum256(make([]byte, diskio.BlockBytes))
	for n := 1; n < levels; n++ {
		z[n] = node(z[n-1], z[n-1])
	}
	return z
}

// ZeroBlock returns the digest of a block of zeros.
func ZeroBlock() Sum { return zeros[0] }

// None returns what is told in place of the digest of a block that can't be trusted. It
// is that of no block, so that every block differs from it.
func None() (s Sum) {
	for i := range s {
		s[i] = 0xff
	}
	return s
}

// Block returns the digest of a block. A last block that is shorter than
// diskio.BlockBytes is filled up with zeros.
func Block(p []byte) Sum {
	if len(p) == diskio.BlockBytes {
		return blake3.Sum256(p)
	}
	var full [diskio.BlockBytes]byte
	copy(full[:], p)
	return blake3.Sum256(full[:])
}

// Named returns the digest of something that is not a disk's content, BLAKE3(name ‖
// BLAKE3(p)). The name says what it is, "wanrep claims 1".
func Named(name string, p []byte) Sum {
	inner := blake3.Sum256(p)
	return blake3.Sum256(append([]byte(name), inner[:]...))
}

func node(left, right Sum) Sum {
	var b [11 + 64]byte
	n := copy(b[:], nodeTag)
	n += copy(b[n:], left[:])
	copy(b[n:], right[:])
	return blake3.Sum256(b[:])
}

func root(size int64, top Sum) Sum {
	b := append([]byte(nil), rootTag...)
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	return blake3.Sum256(append(b, top[:]...))
}

// Blocks returns how many blocks a disk of size bytes has.
func Blocks(size int64) int64 {
	return (size + diskio.BlockBytes - 1) / diskio.BlockBytes
}
