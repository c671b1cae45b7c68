package resume

import (
	"encoding/json"
	"errors"
	"io/fs"
)

// readNotes reads a file in which the store notes something of a VM beside its points. It
// is empty if there is none, and if it is damaged, which is logged: what it said is lost,
// and the points are as good as they were.
func readNotes[F interface{ check() error }](s *Store, name string, limit int64) (F, error) {
	var none, notes F
	b, err := readFile(s.fsys, name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err == nil {
		if err = json.Unmarshal(b, &notes); err == nil {
			err = notes.check()
		}
		if err != nil {
			err = &damagedError{name, err.Error()}
		}
	}
	if isDamaged(err) {
		s.cfg.Log.Error("what was noted of a VM is lost", "err", err)
		return none, nil
	}
	if err != nil {
		return none, err
	}
	return notes, nil
}
