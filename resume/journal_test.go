package resume_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"testing"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// halfway returns a file system with a part in it, the journal's name, and the
// player who was told how far the part is.
func halfway() (*crashfs.FS, string, *player, error) {
	fsys := crashfs.New()
	p := newPlayer(story{plain{}, increments})
	s, err := resume.Open(fsys, p.config())
	if err != nil {
		return nil, "", nil, err
	}
	err = p.playPhase(s)
	journal := path.Join(source, vmDirName, "parts", p.point, "journal")
	return fsys.Crash(1), journal, p, errors.Join(err, s.Close())
}

// flip changes bits of one byte of a file.
func flip(fsys *crashfs.FS, name string, at int64, bits byte) error {
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return errors.Join(err, f.Close())
	}
	b[0] ^= bits
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// tryFlip flips each byte of the journal's k-th sector, and looks whether the
// store falls for it: it may go back to an earlier record, never forward.
func tryFlip(wrap wrapper, k int) error {
	clean, journal, p, err := halfway()
	if err != nil {
		return err
	}
	for at := int64(k-1) * 512; at < int64(k)*512; at++ {
		for _, bits := range []byte{1, 1 << (at % 8), 0xff} {
			fsys := clean.Crash(1)
			if err := flip(fsys, journal, at, bits); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := p.notForward(wrap(fsys)); err != nil {
				return fmt.Errorf("byte %d changed by %08b: %w", at, bits, err)
			}
		}
	}
	return nil
}

// notForward checks that no disk is further than the source was told.
func (p *player) notForward(fsys durable.FS) error {
	s, err := resume.Open(fsys, p.config())
	if err != nil {
		return err
	}
	defer s.Close()
	pos, err := s.Position(source, vmName)
	if errors.Is(err, resume.ErrNoPart) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range pos.Disks {
		if d.Durable > p.told[d.Identity] || d.Complete {
			return broken("disk %s can go on at %d; only %d were received", d.Identity, d.Durable, p.told[d.Identity])
		}
	}
	return nil
}

func TestJournalWithAFlippedByte(t *testing.T) {
	for k := 1; ; k++ {
		clean, journal, _, err := halfway()
		if err != nil {
			t.Fatal(err)
		}
		info, err := clean.Stat(journal)
		if err != nil {
			t.Fatal(err)
		}
		if int64(k-1)*512 >= info.Size() {
			return
		}
		if err := tryFlip(honest, k); err != nil {
			t.Fatal(err)
		}
	}
}
