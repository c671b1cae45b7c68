package wire

import (
	"wanrep/diskio"
)

// check applies the limits of messages.go to a message from a peer, so that what
// comes out of Read needs no more checks of its form.
func check(message any) error {
	what := name(message)
	switch m := message.(type) {
	case *Hello:
		if len(m.VMs) > MaxVMs {
			return badf(what, "%d VMs, more than the limit of %d", len(m.VMs), MaxVMs)
		}
		if len(m.Before) > MaxBefore {
			return badf(what, "%d earlier processes, more than the limit of %d", len(m.Before), MaxBefore)
		}
		for _, vm := range m.VMs {
			if err := checkName(what, vm); err != nil {
				return err
			}
		}
	case *StatusRequest:
		if len(m.PointsOf) > MaxName {
			return badf(what, "a VM's name of %d bytes", len(m.PointsOf))
		}
	case *StatusReply:
		if len(m.JSON) > MaxStatusBytes {
			return badf(what, "%d bytes, more than the limit of %d", len(m.JSON), MaxStatusBytes)
		}
	case *Clock:
		if m.Time < 0 || m.Time > MaxTime {
			return badf(what, "a time of %d", m.Time)
		}
	case *Welcome:
		if len(m.Store) > MaxName {
			return badf(what, "a store's name of %d bytes", len(m.Store))
		}
		for _, p := range m.Positions {
			if len(p.Last) > MaxName {
				return badf(what, "a point's name of %d bytes", len(p.Last))
			}
			if len(p.Disks) > MaxDisks {
				return badf(what, "%d disks, more than the limit of %d", len(p.Disks), MaxDisks)
			}
		}
	case *Open:
		return checkOpen(what, m)
	case *Opened:
		if len(m.Notes) > MaxDisks+1 {
			return badf(what, "%d notes, more than the limit of %d", len(m.Notes), MaxDisks+1)
		}
		for _, note := range m.Notes {
			if len(note) > MaxNote {
				return badf(what, "a note of %d bytes", len(note))
			}
		}
		for _, d := range m.Disks {
			if err := checkOffset(what, d.Durable); err != nil {
				return err
			}
			if len(d.BaseIdentity) > MaxIdentity || len(d.Note) > MaxNote {
				return badf(what, "a base with an identity of %d bytes, and a note of %d", len(d.BaseIdentity), len(d.Note))
			}
		}
	case *Begin:
		return checkOffset(what, m.Offset)
	case *Durable:
		if m.Busy < 0 || m.Busy > 100 {
			return badf(what, "busy %d percent of the time", m.Busy)
		}
		return checkOffset(what, m.Offset)
	case *Digests:
		return checkOffset(what, m.Offset)
	case *DigestList:
		if len(m.Records)%DigestRecordBytes != 0 {
			return badf(what, "%d bytes are not whole records", len(m.Records))
		}
	}
	return nil
}

func checkOpen(what string, m *Open) error {
	if err := checkName(what, m.VM); err != nil {
		return err
	}
	if len(m.Point) > MaxName {
		return badf(what, "a point's name of %d bytes", len(m.Point))
	}
	if m.RPO < 0 || m.RPO > MaxRPO {
		return badf(what, "an RPO of %d seconds", m.RPO)
	}
	if len(m.Disks) == 0 || len(m.Disks) > MaxDisks {
		return badf(what, "%d disks, not within 1 to %d", len(m.Disks), MaxDisks)
	}
	seen := map[string]bool{}
	for _, d := range m.Disks {
		if err := checkName(what, d.Name); err != nil {
			return err
		}
		if seen[d.Name] {
			return badf(what, "two disks are named %q", d.Name)
		}
		seen[d.Name] = true
		if d.Size <= 0 || d.Size > diskio.MaxVirtualSize || d.Size%512 != 0 {
			return badf(what, "disk %q has a size of %d bytes", d.Name, d.Size)
		}
		if !sectorSize(d.LogicalSectorSize) || !sectorSize(d.PhysicalSectorSize) {
			return badf(what, "disk %q has sectors of %d and %d bytes", d.Name, d.LogicalSectorSize, d.PhysicalSectorSize)
		}
		if len(d.Identity) > MaxIdentity {
			return badf(what, "disk %q has an identity of %d bytes", d.Name, len(d.Identity))
		}
	}
	return nil
}

func sectorSize(n int) bool { return n == 512 || n == 4096 }

func checkName(what, name string) error {
	if name == "" || len(name) > MaxName || diskio.Printable(name) != name {
		return badf(what, "%q is not a name of 1 to %d printable characters", name, MaxName)
	}
	return nil
}

// checkOffset allows the offsets that a disk can continue at; that they are within
// the disk and on a block is for the receiver, who knows its size.
func checkOffset(what string, offset int64) error {
	if offset < 0 || offset > diskio.MaxVirtualSize {
		return badf(what, "offset %d is in no disk", offset)
	}
	return nil
}
