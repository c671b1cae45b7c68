package resume_test

import (
	"os"
	"testing"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// TestLastProcess remembers one process after another and loses power at each
// operation on the way. What the store then says is the old one or the new one.
func TestLastProcess(t *testing.T) {
	first, second := resume.Process{Starts: 3, Nonce: [16]byte{3}}, resume.Process{Starts: 4, Nonce: [16]byte{4}}
	for k := 1; ; k++ {
		fsys := crashfs.New()
		s := open(t, fsys)
		if p, err := s.LastProcess("branch"); err != nil || p != (resume.Process{}) {
			t.Fatalf("a new store remembers %+v, %v", p, err)
		}
		must(t, s.RememberProcess("branch", first))
		fsys.Inject(crashfs.Fault{At: fsys.Ops() + k, Kind: crashfs.Crash})
		err := s.RememberProcess("branch", second)
		left, bad := open(t, fsys.Crash(uint64(k))).LastProcess("branch")
		if bad != nil || left != second && (err == nil || left != first) {
			t.Errorf("power cut at operation %d: the store says %+v, %v; the answer was %v", k, left, bad, err)
		}
		if !fsys.Crashed() {
			return
		}
	}
}

func TestForgetProcess(t *testing.T) {
	fsys := crashfs.New()
	s := open(t, fsys)
	must(t, s.RememberProcess("branch", resume.Process{Starts: 3}))
	if p, err := s.LastProcess("other"); err != nil || p != (resume.Process{}) {
		t.Errorf("another source has %+v, %v", p, err)
	}
	for range 2 {
		must(t, s.ForgetProcess("branch"))
	}
	if p, err := open(t, fsys.Crash(0)).LastProcess("branch"); err != nil || p != (resume.Process{}) {
		t.Errorf("what was forgotten is back: %+v, %v", p, err)
	}
}

// TestDamagedProcess: a file that can't be read must not let a copy in.
func TestDamagedProcess(t *testing.T) {
	const other = `{"schema":"wanrep.source/1","source":"other","starts":1,"process":"00112233445566778899aabbccddeeff"}`
	for _, text := range []string{"", "{}", other} {
		fsys := crashfs.New()
		s := open(t, fsys)
		must(t, s.RememberProcess("branch", resume.Process{Starts: 1}))
		must(t, durable.WriteFile(fsys, "branch/source.json", []byte(text), 0o640))
		if p, err := s.LastProcess("branch"); err == nil {
			t.Errorf("%q is %+v, want an error", text, p)
		}
	}
}

// TestSourceFileIsNoVM: a VM with the file's name gets a directory of another.
func TestSourceFileIsNoVM(t *testing.T) {
	fsys := crashfs.New()
	s := open(t, fsys)
	p, err := s.Begin("branch", "source.json", []resume.DiskSpec{
		{Name: "os", Size: diskio.BlockBytes, LogicalSectorSize: 512, PhysicalSectorSize: 512},
	})
	must(t, err)
	must(t, p.Close())
	must(t, s.RememberProcess("branch", resume.Process{Starts: 1}))
	f, err := fsys.OpenFile("branch/source.json", os.O_RDONLY, 0)
	must(t, err)
	must(t, f.Close())
}
