package wire

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// MaxFrameBytes is the most content a frame carries: four blocks. Larger frames
// compress hardly better and would let a bad line waste more at each cut.
const MaxFrameBytes = 4 * diskio.BlockBytes

// FrameHeaderBytes is the size of a frame's header, all fields big-endian:
//
//	 0  type           1 byte
//	 1  zero           3 bytes
//	 4  content bytes  4 bytes, 0 for a mark and an end
//	 8  payload bytes  4 bytes, what follows the header
//	12  CRC-32C        4 bytes, over header (this field zero) and payload
//	16  offset         8 bytes, in the disk
const FrameHeaderBytes = 24

// Types of frames.
const (
	frameRaw = 1 // payload is the content
	frameLZ4 = 2 // payload is the content as one LZ4 block
	frameEnd = 3 // payload is the root; offset is the disk's size

	frameZero = 4 // no payload; the content is zeros
	frameMark = 5 // no payload; everything below offset is described
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// zeroContent is what the Data of frames of zeros is a part of.
var zeroContent = make([]byte, MaxFrameBytes)

// A Frame is one run of a disk's blocks, a mark, or the end of the disk.
type Frame struct {
	Offset int64
	// Data is whole blocks, but for the last of a disk whose size is none; empty
	// for a mark and for the end. It is valid until the reader has returned FramesInFlight more.
	Data []byte
	// End tells that the disk has no more content, and Root is its root.
	End  bool
	Root digest.Sum
	// WireBytes is what the frame took on the stream.
	WireBytes int
}

var compressors = sync.Pool{New: func() any { return new(lz4.Compressor) }}

// AppendData appends a frame with data, at most MaxFrameBytes, to dst. It is
// compressed where that makes it smaller by a sixteenth; less does not pay for
// decompressing it.
func AppendData(dst []byte, offset int64, data []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, FrameHeaderBytes)...)
	kind := byte(frameLZ4)
	limit := len(data) - len(data)/16
	packed := appendLZ4(dst, data, limit)
	if packed == nil {
		kind = frameRaw
		packed = append(dst, data...)
	}
	seal(packed[start:], kind, len(data), offset)
	return packed
}

// appendLZ4 returns nil if data does not fit into limit bytes.
func appendLZ4(dst, data []byte, limit int) []byte {
	n := len(dst)
	dst = slices.Grow(dst, limit)[:n+limit]
	c := compressors.Get().(*lz4.Compressor)
	defer compressors.Put(c)
	size, err := c.CompressBlock(data, dst[n:])
	if err != nil || size == 0 {
		return nil
	}
	return dst[:n+size]
}

// AppendZeros appends a frame that says that n bytes, at most MaxFrameBytes, are
// zeros now.
func AppendZeros(dst []byte, offset int64, n int) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, FrameHeaderBytes)...)
	seal(dst[start:], frameZero, n, offset)
	return dst
}

// AppendMark appends a frame that says that everything below offset is described,
// so that the target can acknowledge it although nothing had to be sent.
func AppendMark(dst []byte, offset int64) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, FrameHeaderBytes)...)
	seal(dst[start:], frameMark, 0, offset)
	return dst
}

// AppendEnd appends the frame that ends a disk of size bytes.
func AppendEnd(dst []byte, size int64, root digest.Sum) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, FrameHeaderBytes)...)
	dst = append(dst, root[:]...)
	seal(dst[start:], frameEnd, 0, size)
	return dst
}

// seal fills in the header of a frame whose payload is in place.
func seal(frame []byte, kind byte, content int, offset int64) {
	frame[0] = kind
	binary.BigEndian.PutUint32(frame[4:], uint32(content))
	binary.BigEndian.PutUint32(frame[8:], uint32(len(frame)-FrameHeaderBytes))
	binary.BigEndian.PutUint64(frame[16:], uint64(offset))
	binary.BigEndian.PutUint32(frame[12:], crc32.Checksum(frame, castagnoli))
}

// FramesInFlight is how many frames of one FrameReader may be in use while it
// reads the next: one that is being written and one that waits for it.
const FramesInFlight = 2

// A FrameReader reads the frames of one disk's stream. Its buffers hold
// 2 × (FramesInFlight+1) × MaxFrameBytes at the most, 1.5 MiB.
type FrameReader struct {
	r       io.Reader
	size    int64
	buffers [FramesInFlight + 1]struct{ payload, content []byte }
	turn    int
}

// NewFrameReader returns a reader of frames for a disk of size bytes.
func NewFrameReader(r io.Reader, size int64) *FrameReader {
	return &FrameReader{r: r, size: size}
}

// Next returns the next frame. It returns io.EOF when the stream ends between two
// frames, a [ProtocolError] for a broken one, and the stream's error otherwise.
func (fr *FrameReader) Next() (Frame, error) {
	var header [FrameHeaderBytes]byte
	if _, err := io.ReadFull(fr.r, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return Frame{}, badf("frame", "the stream ends within a header")
		}
		return Frame{}, err
	}
	content := int(binary.BigEndian.Uint32(header[4:]))
	length := int(binary.BigEndian.Uint32(header[8:]))
	offset := int64(binary.BigEndian.Uint64(header[16:]))
	if err := fr.checkHeader(header[0], content, length, offset); err != nil {
		return Frame{}, err
	}
	fr.turn = (fr.turn + 1) % len(fr.buffers)
	buffer := &fr.buffers[fr.turn]
	buffer.payload = grow(buffer.payload, length)
	if _, err := io.ReadFull(fr.r, buffer.payload); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return Frame{}, badf("frame", "the stream ends within the frame at offset %d", offset)
		}
		return Frame{}, err
	}
	if !intact(header, buffer.payload) {
		return Frame{}, badf("frame", "wrong checksum at offset %d", offset)
	}
	f := Frame{Offset: offset, WireBytes: FrameHeaderBytes + length}
	switch header[0] {
	case frameEnd:
		f.End = true
		copy(f.Root[:], buffer.payload)
	case frameRaw:
		f.Data = buffer.payload
	case frameZero:
		f.Data = zeroContent[:content]
	case frameLZ4:
		buffer.content = grow(buffer.content, content)
		n, err := lz4.UncompressBlock(buffer.payload, buffer.content)
		if err != nil || n != content {
			return Frame{}, badf("frame", "the content at offset %d does not decompress to %d bytes", offset, content)
		}
		f.Data = buffer.content
	}
	return f, nil
}

func (fr *FrameReader) checkHeader(kind byte, content, length int, offset int64) error {
	wrong := false
	switch kind {
	case frameRaw:
		wrong = length != content
	case frameLZ4:
		wrong = length <= 0 || length > content
	case frameZero:
		wrong = length != 0
	case frameMark:
		if content != 0 || length != 0 || offset < 0 || offset > fr.size || offset%diskio.BlockBytes != 0 {
			return badf("frame", "a mark at offset %d of %d", offset, fr.size)
		}
		return nil
	case frameEnd:
		if content != 0 || length != len(digest.Sum{}) || offset != fr.size {
			return badf("frame", "an end of %d bytes at offset %d of %d", length, offset, fr.size)
		}
		return nil
	default:
		return badf("frame", "type %d is unknown", kind)
	}
	if content <= 0 || content > MaxFrameBytes {
		return badf("frame", "%d bytes of content, not within 1 to %d", content, MaxFrameBytes)
	}
	if wrong {
		return badf("frame", "a payload of %d bytes for %d bytes of content", length, content)
	}
	if offset < 0 || offset%diskio.BlockBytes != 0 || offset > fr.size-int64(content) {
		return badf("frame", "offset %d with %d bytes in a disk of %d", offset, content, fr.size)
	}
	if content%diskio.BlockBytes != 0 && offset+int64(content) != fr.size {
		return badf("frame", "%d bytes at offset %d are not whole blocks", content, offset)
	}
	return nil
}

// intact compares a frame's checksum with its bytes.
func intact(header [FrameHeaderBytes]byte, payload []byte) bool {
	want := binary.BigEndian.Uint32(header[12:])
	clear(header[12:16])
	return want == crc32.Update(crc32.Checksum(header[:], castagnoli), castagnoli, payload)
}

// grow returns a slice of n bytes, in b if it is large enough.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
