package vhdx

import (
	"encoding/binary"
	"io"

	"wanrep/diskio"
)

var le = binary.LittleEndian

// A header is one of the two that say which log belongs to the file and which
// content it has (MS-VHDX 2.2.2).
type header struct {
	sequence      uint64
	fileWriteGUID diskio.ID
	dataWriteGUID diskio.ID
	logGUID       diskio.ID
	logVersion    uint16
	version       uint16
	logLength     uint32
	logOffset     uint64
}

// parseHeader reads one header of headerBytes that lies at off.
func parseHeader(b []byte, off int64) (header, error) {
	if string(b[:4]) != "head" {
		return header{}, formatErr("header", off, "no \"head\" signature")
	}
	if got, want := checksum(b), le.Uint32(b[4:]); got != want {
		return header{}, formatErr("header", off, "checksum is %08x, the header says %08x", got, want)
	}
	return header{
		sequence:      le.Uint64(b[8:]),
		fileWriteGUID: diskio.ID(b[16:32]),
		dataWriteGUID: diskio.ID(b[32:48]),
		logGUID:       diskio.ID(b[48:64]),
		logVersion:    le.Uint16(b[64:]),
		version:       le.Uint16(b[66:]),
		logLength:     le.Uint32(b[68:]),
		logOffset:     le.Uint64(b[72:]),
	}, nil
}

// encode returns the header's headerBytes with their checksum.
func (h header) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, "head")
	le.PutUint64(b[8:], h.sequence)
	copy(b[16:], h.fileWriteGUID[:])
	copy(b[32:], h.dataWriteGUID[:])
	copy(b[48:], h.logGUID[:])
	le.PutUint16(b[64:], h.logVersion)
	le.PutUint16(b[66:], h.version)
	le.PutUint32(b[68:], h.logLength)
	le.PutUint64(b[72:], h.logOffset)
	le.PutUint32(b[4:], checksum(b))
	return b
}

// readHeaders returns both headers; the error of one that is not valid is in errs.
func readHeaders(r io.ReaderAt) (hs [2]header, errs [2]error) {
	for i, off := range headerOffsets {
		b := make([]byte, headerBytes)
		if _, err := r.ReadAt(b, off); err != nil {
			errs[i] = formatErr("header", off, "unreadable: %v", err)
			continue
		}
		hs[i], errs[i] = parseHeader(b, off)
	}
	return hs, errs
}

// currentHeader returns the current header and which of the two it is: the only
// valid one, or the one with the greater sequence number (MS-VHDX 2.2.2).
func currentHeader(hs [2]header, errs [2]error) (header, int, error) {
	switch {
	case errs[0] != nil && errs[1] != nil:
		return header{}, 0, errs[0]
	case errs[1] != nil:
		return hs[0], 0, nil
	case errs[0] != nil:
		return hs[1], 1, nil
	case hs[1].sequence > hs[0].sequence:
		return hs[1], 1, nil
	case hs[0].sequence == hs[1].sequence && hs[0] != hs[1]:
		return header{}, 0, formatErr("header", headerOffsets[0],
			"both headers have the sequence number %d but differ", hs[0].sequence)
	}
	return hs[0], 0, nil
}

// check tells what keeps the file from being read by this header, which is number i.
func (h header) check(i int, fileSize int64) error {
	off := headerOffsets[i]
	switch {
	case h.version != 1:
		return formatErr("header", off, "version %d of the format, only 1 is known", h.version)
	case h.logVersion != 0 && !h.logGUID.IsZero():
		return formatErr("header", off, "version %d of the log, only 0 is known", h.logVersion)
	case h.logLength%mib != 0 || h.logOffset%mib != 0:
		return formatErr("header", off, "the log at %d, %d bytes, is not aligned to 1 MiB", h.logOffset, h.logLength)
	case h.logLength > maxLogBytes:
		return formatErr("header", off, "a log of %d bytes, at most %d are accepted", h.logLength, maxLogBytes)
	case h.logLength == 0 && !h.logGUID.IsZero():
		return formatErr("header", off, "a log GUID but no log")
	case h.logLength != 0 && h.logOffset < headerAreaBytes:
		return formatErr("header", off, "the log at %d overlaps the header area", h.logOffset)
	case h.logLength != 0 && (h.logOffset > maxFileSize || int64(h.logOffset)+int64(h.logLength) > fileSize):
		return formatErr("header", off, "the log at %d, %d bytes, ends behind the file's end at %d", h.logOffset, h.logLength, fileSize)
	}
	return nil
}
