package resume

import (
	"errors"
	"fmt"
	"path"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// Commit makes a part of which every disk is complete a point. It ends the Part in
// any case. After an error the point is committed or not: Begin then continues
// the part, or finds the commit done and begins the next one.
func (p *Part) Commit() (Manifest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return Manifest{}, ErrClosed
	}
	p.closed = true
	m, err := p.commit()
	if err != nil {
		err = fmt.Errorf("commit point %s of %q: %w", p.state.point, diskio.Printable(p.state.vm), err)
		err = errors.Join(err, p.closeFiles())
	}
	p.store.release(p)
	if err != nil {
		return Manifest{}, err
	}
	p.store.cfg.Log.Info("point committed", "vm", m.VM, "point", m.Point)
	return m, nil
}

func (p *Part) commit() (Manifest, error) {
	now := p.journal.says()
	for _, state := range now.disks {
		if !state.complete {
			return Manifest{}, fmt.Errorf("disk %q is not complete", diskio.Printable(state.spec.Name))
		}
	}
	m := Manifest{
		Source: now.source, VM: now.vm, Point: now.point, Base: orNull(now.base),
		Begun: now.begun, Software: p.store.cfg.Software,
	}
	for i, state := range now.disks {
		stored, err := p.disks[i].seal()
		if err != nil {
			return Manifest{}, err
		}
		m.Disks = append(m.Disks, p.disks[i].manifest(state, m.Base, stored))
	}
	// A system may refuse to rename a directory in which a file is open.
	if err := p.closeFiles(); err != nil {
		return Manifest{}, err
	}
	previous, err := p.store.previous(p.vm.dir, m.Point)
	if err != nil {
		return Manifest{}, err
	}
	m.Previous, m.Committed = previous, p.store.cfg.Now().UTC()
	p.deciding = true
	if err := p.store.writeManifest(p.dir, &m); err != nil {
		return Manifest{}, err
	}
	if err := p.store.publish(p.vm.dir, m); err != nil {
		return Manifest{}, err
	}
	p.committed = true
	return m, nil
}

// seal makes the disk's files final, read-only and durable, and returns how large
// that of the content is.
func (d *PartDisk) seal() (stored int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	if d.data == nil { // complete before this Part was begun
		if err := d.reopen(d.spec.Size); err != nil {
			return 0, d.poison("seal", err)
		}
		f, err := d.part.openFile(d.digestsName(), false)
		if err != nil {
			return 0, d.poison("seal", err)
		}
		d.digests = &digestsWriter{f: f}
	}
	if stored, err = d.sealFiles(); err != nil {
		return 0, d.poison("seal", err)
	}
	return stored, nil
}

func (d *PartDisk) sealFiles() (int64, error) {
	// The incomplete mark goes only once everything else is durable.
	if err := d.file.Flush(); err != nil {
		return 0, err
	}
	if err := d.data.Sync(); err != nil {
		return 0, err
	}
	if err := d.file.Seal(); err != nil {
		return 0, err
	}
	info, err := d.data.Stat()
	if err != nil {
		return 0, err
	}
	if err := d.part.finalize(d.dataName(), d.data); err != nil {
		return 0, err
	}
	return info.Size(), d.part.finalize(d.digestsName(), d.digests.f)
}

// finalize makes an open file read-only, and that and its content durable.
func (p *Part) finalize(name string, f durable.File) error {
	if err := p.store.fsys.Chmod(path.Join(p.dir, name), readOnlyPerm); err != nil {
		return err
	}
	return f.Sync()
}

// manifest describes the complete disk of a point with that base.
func (d *PartDisk) manifest(state diskState, base *string, stored int64) ManifestDisk {
	if !state.based {
		base = nil
	}
	return ManifestDisk{
		Name: d.spec.Name, File: d.dataName(), DigestsFile: d.digestsName(), ID: diskID(d.spec.ID),
		VirtualSize:       d.spec.Size,
		LogicalSectorSize: d.spec.LogicalSectorSize, PhysicalSectorSize: d.spec.PhysicalSectorSize,
		Identity: d.spec.Identity,
		Base:     base, Root: state.root, Digests: state.digests, Stored: stored,
	}
}
