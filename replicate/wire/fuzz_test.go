package wire

import (
	"bytes"
	"reflect"
	"testing"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// FuzzRead feeds a reader of messages. What it accepts must survive being written
// and read again.
func FuzzRead(f *testing.F) {
	for _, m := range messages() {
		var b bytes.Buffer
		if err := Write(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1})
	f.Add([]byte{0, 0, 0, 5, 0, 0, 0, 1, 0xbf})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if _, unknown := m.(*Unknown); unknown {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, m); err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		again, err := Read(&b)
		if err != nil {
			t.Fatalf("read what was written: %v", err)
		}
		if !reflect.DeepEqual(m, again) {
			t.Fatalf("got %+v, want %+v", again, m)
		}
	})
}

// FuzzFrame feeds a reader of frames. What it accepts lies within the disk.
func FuzzFrame(f *testing.F) {
	const size = 10*diskio.BlockBytes + 512
	f.Add(AppendData(nil, 0, bytes.Repeat([]byte("ab"), diskio.BlockBytes/2)))
	f.Add(AppendData(nil, 10*diskio.BlockBytes, make([]byte, 512)))
	f.Add(AppendEnd(nil, size, digest.Sum{7}))
	f.Add(AppendZeros(nil, 0, diskio.BlockBytes))
	f.Add(AppendMark(nil, diskio.BlockBytes))
	f.Add([]byte{frameLZ4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewFrameReader(bytes.NewReader(data), size)
		for {
			frame, err := r.Next()
			if err != nil {
				return
			}
			end := frame.Offset + int64(len(frame.Data))
			if frame.Offset < 0 || end > size || frame.End && len(frame.Data) != 0 {
				t.Fatalf("accepted %d bytes at %d of a disk of %d, end %v", len(frame.Data), frame.Offset, size, frame.End)
			}
		}
	})
}
