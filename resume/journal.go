package resume

import (
	"crypto/rand"
	"fmt"
	"os"
	"path"
	"sync"

	"wanrep/diskio/durable"
)

const journalName = "journal"

// A journal records how far the disks of a part are. All disks of the part share
// it.
type journal struct {
	fsys durable.FS
	name string

	mu    sync.Mutex
	f     durable.File
	mark  mark
	seq   uint64     // of the last record
	start int64      // where the records begin
	state *partState // what the journal says
	err   error      // why nothing more can be recorded
}

// startJournal writes a new journal with that state in place of the one in dir,
// if there is one: after a crash it is the old one or the new one.
func startJournal(fsys durable.FS, dir string, state *partState) (*journal, error) {
	j := &journal{fsys: fsys, name: path.Join(dir, journalName), state: state}
	if err := j.rewrite(); err != nil {
		return nil, err
	}
	return j, nil
}

// rewrite replaces the journal by one without records that says the same.
func (j *journal) rewrite() error {
	// A system may refuse to rename over a file that is open.
	if j.f != nil {
		err := j.f.Close()
		j.f = nil
		if err != nil {
			return fmt.Errorf("close journal: %w", err)
		}
	}
	if _, err := rand.Read(j.mark[:]); err != nil {
		return err
	}
	b, err := encodeJournal(j.state, j.mark)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(j.fsys, j.name, b, filePerm); err != nil {
		return err
	}
	j.f, err = j.fsys.OpenFile(j.name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	j.seq, j.start = 0, int64(len(b))
	return nil
}

// record makes durable that disk i is as far as d. Whatever d says must be
// durable already. After an error the journal takes no more records, because what
// it says after a crash is open.
func (j *journal) record(i int, d diskState) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	if err := j.append(i, d); err != nil {
		j.err = fmt.Errorf("record position in %s: %w", j.name, err)
		return j.err
	}
	j.state.disks[i] = d
	return nil
}

// revise makes another state of the part durable, of which a record can't tell.
func (j *journal) revise(change func(*partState)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	was := j.state
	j.state = was.clone()
	change(j.state)
	if err := j.rewrite(); err != nil {
		j.state, j.err = was, err
	}
	return j.err
}

func (j *journal) append(i int, d diskState) error {
	if int64(j.seq)*sectorBytes >= compactBytes {
		if err := j.rewrite(); err != nil {
			return err
		}
	}
	b := encodeRecord(j.mark, j.seq+1, j.state.generation, i, d)
	if _, err := j.f.WriteAt(b, j.start+int64(j.seq)*sectorBytes); err != nil {
		return err
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	j.seq++
	return nil
}

// says returns a copy of what the journal says.
func (j *journal) says() *partState {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.clone()
}

// close ends the journal; later records get err.
func (j *journal) close(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = err
	}
	if j.f == nil {
		return nil
	}
	f := j.f
	j.f = nil
	return f.Close()
}

// readJournal returns what the journal of that name says. The error is
// fs.ErrNotExist without one.
func readJournal(fsys durable.FS, name string) (*partState, error) {
	b, err := readFile(fsys, name, maxJournalBytes)
	if err != nil {
		return nil, err
	}
	return decodeJournal(name, b)
}
