package wire

import (
	"encoding/binary"
	"errors"
	"io"

	"wanrep/diskio/digest"
)

const (
	// DigestRecordBytes is a record of a DigestList: the block's number, 8 bytes
	// big-endian, and its digest.
	DigestRecordBytes = 8 + len(digest.Sum{})
	// digestsPerList keeps a list at 64 KiB: the digests of 100 MiB of content.
	digestsPerList = (64 << 10) / DigestRecordBytes
)

// WriteDigests sends the digests that next returns, until it returns io.EOF.
func WriteDigests(w io.Writer, next func() (block int64, sum digest.Sum, err error)) error {
	records := make([]byte, 0, digestsPerList*DigestRecordBytes)
	for {
		block, sum, err := next()
		if errors.Is(err, io.EOF) {
			return Write(w, &DigestList{Records: records, Last: true})
		}
		if err != nil {
			return err
		}
		records = binary.BigEndian.AppendUint64(records, uint64(block))
		records = append(records, sum[:]...)
		if len(records) == cap(records) {
			if err := Write(w, &DigestList{Records: records}); err != nil {
				return err
			}
			records = records[:0]
		}
	}
}

// A DigestReader reads the answer to Digests.
type DigestReader struct {
	r       io.Reader
	records []byte
	last    bool
	next    int64 // the lowest block that may follow
	blocks  int64
}

// NewDigestReader returns a reader of the digests of a disk of size bytes, from
// block from on.
func NewDigestReader(r io.Reader, from, size int64) *DigestReader {
	return &DigestReader{r: r, next: from, blocks: digest.Blocks(size)}
}

// Next returns the next digest, or io.EOF behind the last one. A stream that ends
// early is an error, and so is a [Refused].
func (d *DigestReader) Next() (block int64, sum digest.Sum, err error) {
	for len(d.records) == 0 {
		if d.last {
			return 0, sum, io.EOF
		}
		message, err := Read(d.r)
		if errors.Is(err, io.EOF) {
			return 0, sum, badf("digests", "the stream ends before the last")
		}
		if err != nil {
			return 0, sum, err
		}
		switch m := message.(type) {
		case *DigestList:
			d.records, d.last = m.Records, m.Last
		case *Refused:
			return 0, sum, m
		default:
			return 0, sum, badf("digests", "%T where a list has to be", message)
		}
	}
	block = int64(binary.BigEndian.Uint64(d.records))
	copy(sum[:], d.records[8:])
	d.records = d.records[DigestRecordBytes:]
	if block < d.next || block >= d.blocks {
		return 0, sum, badf("digests", "block %d where block %d or a later one has to follow, of %d", block, d.next, d.blocks)
	}
	d.next = block + 1
	return block, sum, nil
}
