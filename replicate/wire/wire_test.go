package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// messages is one good message of each type.
func messages() []any {
	return []any{
		&Hello{MinVersion: 1, MaxVersion: 3, Features: []string{"x"}, Software: "1.0", VMs: []string{"sql01"},
			Starts: 7, Process: [16]byte{7}, Before: [][16]byte{{6}, {5}}},
		&Welcome{Version: 1, Software: "1.0", Positions: []Position{{VM: "sql01", Point: "7", Disks: []DiskPosition{{Disk: "os", Durable: 65536}}, Points: 3, Newest: 1700000000, Last: "6"}}, Store: "s"},
		&Open{VM: "sql01", Point: "7", Disks: []Disk{{Name: "os", ID: [16]byte{1, 2, 255}, Size: 1 << 30, LogicalSectorSize: 512, PhysicalSectorSize: 4096, Identity: "vhdx 5"}}},
		&Opened{Point: "7", Generation: 2, Disks: []Offset{{Durable: 65536, Based: true, BaseIdentity: "vhdx 4", Note: "it grew"}}, Notes: []string{"disk logs is gone"}, Committed: true, Roots: []digest.Sum{digest.ZeroBlock()}},
		&Begin{Generation: 2, Disk: 1, Offset: 65536},
		&Durable{Offset: 1 << 30},
		&Done{},
		&Commit{Roots: []digest.Sum{digest.ZeroBlock(), {1}}},
		&Committed{},
		&Refused{Code: CodeFull, Text: "the disk is full"},
		&Digests{Generation: 2, Disk: 1, Offset: 65536},
		&DigestList{Records: make([]byte, 2*DigestRecordBytes), Last: true},
		&Clock{Time: 1700000000000},
		&StatusRequest{},
		&StatusRequest{PointsOf: "sql01"},
		&StatusReply{JSON: []byte(`{"schema":"wanrep.status/1"}`)},
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	var stream bytes.Buffer
	for _, m := range messages() {
		if err := Write(&stream, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range messages() {
		got, err := Read(&stream)
		if err != nil {
			t.Fatalf("read %T: %v", want, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if _, err := Read(&stream); err != io.EOF {
		t.Errorf("at the end of the stream: %v, want EOF", err)
	}
}

func TestBadMessages(t *testing.T) {
	disk := Disk{Name: "os", Size: 1 << 30, LogicalSectorSize: 512, PhysicalSectorSize: 512}
	with := func(change func(*Disk)) *Open {
		d := disk
		change(&d)
		return &Open{VM: "sql01", Disks: []Disk{d}}
	}
	tests := []struct {
		name    string
		message any
		want    string
	}{
		{"no disks", &Open{VM: "sql01"}, "0 disks"},
		{"too many disks", &Open{VM: "sql01", Disks: make([]Disk, MaxDisks+1)}, "261 disks"},
		{"empty name", &Open{Disks: []Disk{disk}}, "not a name"},
		{"escape in a name", with(func(d *Disk) { d.Name = "\x1b[2J" }), "not a name"},
		{"twice the same disk", &Open{VM: "sql01", Disks: []Disk{disk, disk}}, "two disks"},
		{"no size", with(func(d *Disk) { d.Size = 0 }), "size of 0"},
		{"too large", with(func(d *Disk) { d.Size = diskio.MaxVirtualSize + 512 }), "size of"},
		{"odd size", with(func(d *Disk) { d.Size = 1000 }), "size of 1000"},
		{"odd sectors", with(func(d *Disk) { d.LogicalSectorSize = 520 }), "sectors of 520"},
		{"long identity", with(func(d *Disk) { d.Identity = strings.Repeat("x", MaxIdentity+1) }), "identity"},
		{"many VMs", &Hello{VMs: make([]string, MaxVMs+1)}, "257 VMs"},
		{"long base", &Opened{Disks: []Offset{{BaseIdentity: strings.Repeat("s", MaxIdentity+1)}}}, "an identity of 1025 bytes"},
		{"long note of a disk", &Opened{Disks: []Offset{{Note: strings.Repeat("s", MaxNote+1)}}}, "a note of 1025"},
		{"long note", &Opened{Notes: []string{strings.Repeat("s", MaxNote+1)}}, "a note of 1025 bytes"},
		{"many notes", &Opened{Notes: make([]string, MaxDisks+2)}, "262 notes"},
		{"many processes", &Hello{Before: make([][16]byte, MaxBefore+1)}, "65 earlier processes"},
		{"points of a long name", &StatusRequest{PointsOf: strings.Repeat("v", MaxName+1)}, "a VM's name of 257 bytes"},
		{"a status that is too large", &StatusReply{JSON: make([]byte, MaxStatusBytes+1)}, "more than the limit of 524288"},
		{"no time", &Clock{Time: MaxTime + 1}, "a time of 253402300800000"},
		{"long store", &Welcome{Store: strings.Repeat("s", MaxName+1)}, "a store's name of 257 bytes"},
		{"long point", &Welcome{Positions: []Position{{Last: strings.Repeat("s", MaxName+1)}}}, "a point's name of 257 bytes"},
		{"negative offset", &Durable{Offset: -1}, "in no disk"},
		{"half a digest", &DigestList{Records: make([]byte, 41)}, "whole records"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stream bytes.Buffer
			if err := Write(&stream, test.message); err != nil {
				t.Fatal(err)
			}
			_, err := Read(&stream)
			var protocol *ProtocolError
			if !errors.As(err, &protocol) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a protocol error with %q", err, test.want)
			}
		})
	}
}

func TestUnknownMessageIsSkippable(t *testing.T) {
	stream := bytes.NewBuffer([]byte{0, 0, 0, 5, 0, 0, 9, 9, 0xff})
	if err := Write(stream, &Done{}); err != nil {
		t.Fatal(err)
	}
	got, err := Read(stream)
	if m, ok := got.(*Unknown); !ok || m.Type != 0x909 {
		t.Fatalf("got %v and %v, want an unknown message of type 0x909", got, err)
	}
	if got, err := Read(stream); err != nil || !reflect.DeepEqual(got, &Done{}) {
		t.Fatalf("behind it: got %v and %v, want done", got, err)
	}
}

// content returns n bytes of which the given share can't be compressed.
func content(n int, random float64, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := bytes.Repeat([]byte("wanrep "), n/7+1)[:n]
	for i := range int(random * float64(n)) {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestFramesSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const size = 40*diskio.BlockBytes + 512
		type run struct {
			offset int64
			data   []byte
		}
		var runs []run
		var stream []byte
		for at := int64(0); at < size; {
			blocks := rapid.Int64Range(1, 4).Draw(rt, "blocks")
			n := min(blocks*diskio.BlockBytes, size-at)
			data := content(int(n), rapid.Float64Range(0, 1).Draw(rt, "random"), rapid.Uint64().Draw(rt, "seed"))
			runs = append(runs, run{at, data})
			before := len(stream)
			stream = AppendData(stream, at, data)
			if took := len(stream) - before; took > FrameHeaderBytes+len(data) {
				rt.Fatalf("%d bytes of content took %d on the stream", len(data), took)
			}
			at += n + diskio.BlockBytes*rapid.Int64Range(0, 3).Draw(rt, "hole")
		}
		root := digest.Sum{1, 2, 3}
		stream = AppendEnd(stream, size, root)

		r := NewFrameReader(bytes.NewReader(stream), size)
		for _, want := range runs {
			f, err := r.Next()
			if err != nil {
				rt.Fatal(err)
			}
			if f.Offset != want.offset || !bytes.Equal(f.Data, want.data) || f.End {
				rt.Fatalf("frame at %d with %d bytes, want %d with %d", f.Offset, len(f.Data), want.offset, len(want.data))
			}
		}
		f, err := r.Next()
		if err != nil || !f.End || f.Root != root {
			rt.Fatalf("got %+v and %v, want the end", f, err)
		}
		if _, err := r.Next(); err != io.EOF {
			rt.Fatalf("behind the end: %v, want EOF", err)
		}
	})
}

func TestFramesInFlightStayValid(t *testing.T) {
	const size = 8 * diskio.BlockBytes
	var stream []byte
	for i := range int64(8) {
		stream = AppendData(stream, i*diskio.BlockBytes, content(diskio.BlockBytes, float64(i%2), uint64(i)))
	}
	r := NewFrameReader(bytes.NewReader(stream), size)
	var held []Frame
	for i := range int64(8) {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
		oldest := max(0, i-FramesInFlight)
		want := content(diskio.BlockBytes, float64(oldest%2), uint64(oldest))
		if !bytes.Equal(held[oldest].Data, want) {
			t.Fatalf("frame %d was overwritten by frame %d", oldest, i)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	const size = 1 << 20
	for _, random := range []float64{0, 1} {
		good := AppendData(nil, diskio.BlockBytes, content(diskio.BlockBytes, random, 1))
		for bit := 0; bit < 8*len(good); bit += 1 + bit/400 {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			_, err := NewFrameReader(bytes.NewReader(bad), size).Next()
			var protocol *ProtocolError
			if !errors.As(err, &protocol) {
				t.Fatalf("bit %d flipped: got %v, want a protocol error", bit, err)
			}
		}
	}
}

func TestTruncatedFrame(t *testing.T) {
	good := AppendData(nil, 0, content(diskio.BlockBytes, 1, 1))
	for n := 1; n < len(good); n += 997 {
		_, err := NewFrameReader(bytes.NewReader(good[:n]), 1<<20).Next()
		var protocol *ProtocolError
		if !errors.As(err, &protocol) {
			t.Fatalf("cut at %d: got %v, want a protocol error", n, err)
		}
	}
}

func TestZerosAndMarks(t *testing.T) {
	const size = 8 * diskio.BlockBytes
	stream := AppendZeros(nil, diskio.BlockBytes, 2*diskio.BlockBytes)
	stream = AppendMark(stream, 5*diskio.BlockBytes)
	r := NewFrameReader(bytes.NewReader(stream), size)
	f, err := r.Next()
	if err != nil || f.Offset != diskio.BlockBytes || !bytes.Equal(f.Data, make([]byte, 2*diskio.BlockBytes)) {
		t.Errorf("got %d bytes at %d and %v, want two blocks of zeros", len(f.Data), f.Offset, err)
	}
	f, err = r.Next()
	if err != nil || f.Offset != 5*diskio.BlockBytes || len(f.Data) != 0 || f.End {
		t.Errorf("got %+v and %v, want a mark", f, err)
	}
	for _, bad := range [][]byte{
		AppendMark(nil, size+diskio.BlockBytes), AppendMark(nil, 100), AppendZeros(nil, 0, 100),
		AppendZeros(nil, size, diskio.BlockBytes), AppendZeros(nil, 0, MaxFrameBytes+diskio.BlockBytes),
	} {
		if f, err := NewFrameReader(bytes.NewReader(bad), size).Next(); err == nil {
			t.Errorf("accepted %d bytes at %d", len(f.Data), f.Offset)
		}
	}
}

func TestDigestsSurviveTheWire(t *testing.T) {
	const blocks = 5000
	var stream bytes.Buffer
	at := int64(0)
	err := WriteDigests(&stream, func() (int64, digest.Sum, error) {
		if at += 2; at > blocks-2 {
			return 0, digest.Sum{}, io.EOF
		}
		return at, digest.Sum{byte(at), byte(at >> 8)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	whole := stream.Bytes()
	r := NewDigestReader(&stream, 2, blocks*diskio.BlockBytes)
	for want := int64(2); want <= blocks-2; want += 2 {
		block, sum, err := r.Next()
		if err != nil || block != want || sum != (digest.Sum{byte(want), byte(want >> 8)}) {
			t.Fatalf("got block %d, digest %v, error %v; want block %d", block, sum, err, want)
		}
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Errorf("behind the last: %v, want EOF", err)
	}

	var protocol *ProtocolError
	for name, r := range map[string]*DigestReader{
		"cut off":          NewDigestReader(bytes.NewReader(nil), 0, blocks*diskio.BlockBytes),
		"of a smaller one": NewDigestReader(bytes.NewReader(whole), 0, diskio.BlockBytes),
		"from too low on":  NewDigestReader(bytes.NewReader(whole), 3, blocks*diskio.BlockBytes),
	} {
		if _, _, err := r.Next(); !errors.As(err, &protocol) {
			t.Errorf("%s: got %v, want a protocol error", name, err)
		}
	}
}
