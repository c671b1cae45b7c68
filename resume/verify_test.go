package resume_test

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"testing"

	"wanrep/diskio"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// committed returns a store with one point of one disk, and the point's directory.
func committed(t *testing.T, disk snapshot) (*crashfs.FS, string) {
	t.Helper()
	fsys := crashfs.New()
	s, err := resume.Open(fsys, resume.Config{Format: plain{}})
	must(t, err)
	part, err := s.Begin("lyon", "sql01", []resume.DiskSpec{disk.spec})
	must(t, err)
	must(t, part.Disks()[0].Write(0, disk.content))
	must(t, part.Disks()[0].Finish(disk.root))
	_, err = part.Commit()
	must(t, err)
	must(t, s.Close())
	return fsys, "lyon/sql01/points/0000000000000001"
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	const (
		content = "content differs from its digest"
		digests = "digests file: "
	)
	disk := newSnapshot("os", "ab..cd", 1024)
	whole := diskio.Extent{Length: disk.spec.Size}
	tests := []struct {
		name   string
		damage func(edit func(name string, at int64, change func(b []byte)))
		want   []resume.VerifyProblem
	}{
		{name: "nothing", damage: func(func(string, int64, func([]byte))) {}},
		{
			name: "a bit in the second block",
			damage: func(edit func(string, int64, func([]byte))) {
				edit("os.img", plainHead+block+77, func(b []byte) { b[0] ^= 4 })
			},
			want: []resume.VerifyProblem{{Disk: "os", Extent: diskio.Extent{Start: block, Length: block}, What: content}},
		},
		{
			name: "two neighbours, and the short last block",
			damage: func(edit func(string, int64, func([]byte))) {
				edit("os.img", plainHead, func(b []byte) { b[0]++ })
				edit("os.img", plainHead+2*block-1, func(b []byte) { b[0]++ })
				edit("os.img", plainHead+5*block, func(b []byte) { clear(b[:512]) })
			},
			want: []resume.VerifyProblem{
				{Disk: "os", Extent: diskio.Extent{Length: 2 * block}, What: content},
				{Disk: "os", Extent: diskio.Extent{Start: 5 * block, Length: 1024}, What: content},
			},
		},
		{
			name: "data where zeros were",
			damage: func(edit func(string, int64, func([]byte))) {
				edit("os.img", plainHead+3*block+5, func(b []byte) { b[0] = 1 })
			},
			want: []resume.VerifyProblem{{Disk: "os", Extent: diskio.Extent{Start: 3 * block, Length: block}, What: content}},
		},
		{
			name: "a bit in a digest",
			damage: func(edit func(string, int64, func([]byte))) {
				edit("os.digests", 64+40+20, func(b []byte) { b[0] ^= 1 })
			},
			want: []resume.VerifyProblem{{Disk: "os", Extent: whole, What: digests + "it does not give the root in the manifest"}},
		},
		{
			name: "a digest's index",
			damage: func(edit func(string, int64, func([]byte))) {
				edit("os.digests", 64+40, func(b []byte) { b[0] = 0 })
			},
			want: []resume.VerifyProblem{{
				Disk: "os", Extent: whole,
				What: digests + "os.digests is damaged: a record for block 0 where block 1 or a later one has to follow",
			}},
		},
		{
			name: "digests and content",
			damage: func(edit func(string, int64, func([]byte))) {
				edit("os.digests", 70+64, func(b []byte) { b[0]++ })
				edit("os.img", plainHead+5, func(b []byte) { b[0]++ })
			},
			want: []resume.VerifyProblem{
				{Disk: "os", Extent: whole, What: digests + "it does not give the root in the manifest"},
				{Disk: "os", Extent: whole, What: "content differs from the root in the manifest"},
			},
		},
		{
			name: "the disk's own size",
			damage: func(edit func(string, int64, func([]byte))) {
				edit("os.img", 16, func(b []byte) { b[0]++ })
			},
			want: []resume.VerifyProblem{{Disk: "os", Extent: whole, What: "the disk has 328705 bytes, not 328704"}},
		},
		{
			name: "the manifest",
			damage: func(edit func(string, int64, func([]byte))) {
				edit("manifest.json", 0, func(b []byte) { b[0] = '[' })
			},
			want: []resume.VerifyProblem{{What: "lyon/sql01/points/0000000000000001/manifest.json is damaged: invalid character ':' after array element"}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys, dir := committed(t, disk)
			test.damage(func(name string, at int64, change func([]byte)) {
				must(t, fsys.Chmod(path.Join(dir, name), 0o644))
				f, err := fsys.OpenFile(path.Join(dir, name), os.O_RDWR, 0)
				must(t, err)
				b := make([]byte, 1024)
				n, _ := f.ReadAt(b, at)
				change(b[:n])
				_, err = f.WriteAt(b[:n], at)
				must(t, errors.Join(err, f.Close()))
			})
			s, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
			must(t, err)
			var got []resume.VerifyProblem
			point := resume.Point{Source: "lyon", VM: "sql01", Point: "0000000000000001"}
			must(t, resume.Verify(t.Context(), s, point, func(p resume.VerifyProblem) { got = append(got, p) }))
			if len(got) != len(test.want) {
				t.Fatalf("got %+v, want %+v", got, test.want)
			}
			for i, want := range test.want {
				want.Point = point.Point
				if got[i] != want {
					t.Errorf("got %+v, want %+v", got[i], want)
				}
			}
		})
	}
}

func TestVerifyReportsWhatCannotBeRead(t *testing.T) {
	fsys, _ := committed(t, newSnapshot("os", "abcd", block))
	s, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
	must(t, err)
	point := resume.Point{Source: "lyon", VM: "sql01", Point: "0000000000000001"}

	// Find the place of the read of the third block, and fail it the next time.
	first, at, reads := fsys.Ops(), 0, 0
	fsys.Trace(func(op crashfs.Op) {
		if op.Kind == "read" && op.Length == block && strings.HasSuffix(op.Name, ".img") {
			if reads++; reads == 3 {
				at = op.N - first
			}
		}
	})
	must(t, resume.Verify(t.Context(), s, point, func(p resume.VerifyProblem) { t.Errorf("reported %+v", p) }))
	fsys.Inject(crashfs.Fault{At: fsys.Ops() + at})
	var got []resume.VerifyProblem
	must(t, resume.Verify(t.Context(), s, point, func(p resume.VerifyProblem) { got = append(got, p) }))
	want := resume.VerifyProblem{
		Point: point.Point, Disk: "os", Extent: diskio.Extent{Start: 2 * block, Length: block},
		What: "content can't be read: " + crashfs.ErrIO.Error(),
	}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestVerifyStopsWhenItIsTold(t *testing.T) {
	fsys, _ := committed(t, newSnapshot("os", "abcd", block))
	s, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	point := resume.Point{Source: "lyon", VM: "sql01", Point: "0000000000000001"}
	err = resume.Verify(ctx, s, point, func(p resume.VerifyProblem) { t.Errorf("reported %+v", p) })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want that it was cancelled", err)
	}
	point.Point = "0000000000000002"
	if err := resume.Verify(t.Context(), s, point, nil); !errors.Is(err, resume.ErrNoPoint) {
		t.Fatalf("got %v, want %v", err, resume.ErrNoPoint)
	}
}
