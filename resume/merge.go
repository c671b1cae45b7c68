package resume

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"

	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// A digestsMerge reads the digests files of the layers of a disk as one: of the
// records of a block that of the uppermost layer counts, and a block that became
// zeros there has none.
type digestsMerge struct {
	layers []mergedLayer // from the top down
	zero   digest.Sum
}

// A mergedLayer is one layer and its next record.
type mergedLayer struct {
	r      *digestsReader
	file   io.Closer // nil if it is the caller's; closed behind the last record
	point  string    // empty for the layer of a part
	damage *Damage   // of the layer's disk, or nil
	index  int64
	sum    digest.Sum
	err    error // io.EOF behind the last
}

func (l *mergedLayer) advance() {
	l.index, l.sum, l.err = l.r.read()
	if l.err != nil && l.err != io.EOF && l.point != "" {
		l.err = &baseError{l.point, l.err}
	}
	if l.err == io.EOF && l.file != nil {
		l.err = cmp.Or(l.file.Close(), io.EOF)
		l.file = nil
	}
}

func newDigestsMerge() *digestsMerge { return &digestsMerge{zero: digest.ZeroBlock()} }

// mergeDigests reads the digests of a disk from that block on, with one buffer for
// each layer.
func mergeDigests(fsys durable.FS, top *layer, from int64) (*digestsMerge, error) {
	m := newDigestsMerge()
	if err := m.open(fsys, top, nil, from); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// open puts the layers from top down to above bottom below those that there are.
func (m *digestsMerge) open(fsys durable.FS, top, bottom *layer, from int64) error {
	for l := top; l != bottom; l = l.below {
		err := m.openLayer(fsys, l, from)
		switch {
		case err == nil:
		case l.point != "":
			return &baseError{l.point, err}
		case errors.Is(err, fs.ErrNotExist):
			return &damagedError{l.disk.DigestsFile, "it is missing"}
		default:
			return err
		}
	}
	return nil
}

func (m *digestsMerge) openLayer(fsys durable.FS, l *layer, from int64) error {
	f, err := fsys.OpenFile(path.Join(l.dir, l.disk.DigestsFile), 0, 0)
	if err != nil {
		return err
	}
	r, err := readDigests(f, l.disk.DigestsFile, l.shape(), l.disk.Digests)
	if err == nil {
		err = r.seek(f, from)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if l.point == "" && from <= 0 {
		r.want = &l.crc
	}
	m.put(mergedLayer{r: r, file: f, point: l.point, damage: l.damage})
	return nil
}

// put adds a layer below those that there are.
func (m *digestsMerge) put(l mergedLayer) {
	m.layers = append(m.layers, l)
	m.layers[len(m.layers)-1].advance()
}

// peek returns the layer that has the next record, or io.EOF behind the last.
func (m *digestsMerge) peek() (*mergedLayer, error) {
	var next *mergedLayer
	for i := range m.layers {
		l := &m.layers[i]
		if l.err != nil && l.err != io.EOF {
			return nil, l.err
		}
		if l.err == nil && (next == nil || l.index < next.index) {
			next = l
		}
	}
	if next == nil {
		return nil, io.EOF
	}
	return next, nil
}

// pass goes on behind the records of a block.
func (m *digestsMerge) pass(index int64) {
	for i := range m.layers {
		if l := &m.layers[i]; l.err == nil && l.index == index {
			l.advance()
		}
	}
}

// read returns the next block that has a record, its digest, and the point that has
// it; or io.EOF behind the last.
func (m *digestsMerge) read() (index int64, sum digest.Sum, point string, err error) {
	l, err := m.peek()
	if err != nil {
		return 0, sum, "", err
	}
	index, sum, point = l.index, l.sum, l.point
	m.pass(index)
	return index, sum, point, nil
}

// extend adds to a tree the digests of the blocks from its end up to end.
func (m *digestsMerge) extend(t *digest.Tree, end int64) error {
	for {
		l, err := m.peek()
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF || l.index >= end {
			break
		}
		index, sum := l.index, l.sum
		m.pass(index)
		if index >= t.Next() && sum != m.zero {
			t.SkipTo(index)
			t.Add(sum)
		}
	}
	t.SkipTo(end)
	return nil
}

// Close closes the files that are not read to their ends.
func (m *digestsMerge) Close() error {
	var errs []error
	for _, l := range m.layers {
		if l.file != nil {
			errs = append(errs, l.file.Close())
		}
	}
	m.layers = nil
	return errors.Join(errs...)
}
