package progress

import "time"

// Counters are what happened since the appliance was started. In contrast to the
// totals of a Status, which count over a run, they only ever grow.
type Counters struct {
	Disks []DiskCounters
	Peers []PeerCounters
	// Stages are the seconds that each stage of the pipeline was busy, over all
	// goroutines.
	Stages map[string]float64
}

// DiskCounters are those of one disk.
type DiskCounters struct {
	Source, VM, Disk string
	DiskTotals
	// Failures counts how often a run failed for the disk, Restarts how often it
	// began again at an earlier offset of the same point.
	Failures, Restarts int64
	// Damaged is how many blocks of the disk's points are known to be damaged now, at a
	// target. Found and Healed count those that were found to be, and those that were
	// healed.
	Damaged, Found, Healed int64
}

// PeerCounters are those of all links with one peer.
type PeerCounters struct {
	Peer                     string
	Connects                 int64
	Redials                  int64
	GiveUps                  int64
	Migrations               int64
	PacketsSent, PacketsLost int64
	// Reattached are the seconds that each loss lasted which ended with a new link.
	Reattached Durations
}

// Durations are a histogram: how many were at most as long as each of the Bounds of
// their kind, how many in all, and their sum in seconds.
type Durations struct {
	AtMost [len(ReattachBounds)]uint64
	Count  uint64
	Sum    float64
}

// ReattachBounds are those of a loss, in seconds: a new link at once, after the idle
// timeout, and within the redial window.
var ReattachBounds = [...]float64{0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800}

func (d *Durations) add(seconds float64) {
	for i, bound := range ReattachBounds {
		if seconds <= bound {
			d.AtMost[i]++
		}
	}
	d.Count++
	d.Sum += seconds
}

// A diskLife is a disk's counters, and what they were taken from last.
type diskLife struct {
	DiskCounters
	run     DiskTotals // over the run
	state   string
	point   string
	durable int64
	moves   int64 // for how many seconds; 0 if it does not
}

// SetDamaged says how many blocks of each disk of a VM are known to be damaged now; of
// the disks that are not named none are.
func (b *Board) SetDamaged(source, vm string, blocks map[string]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, l := range b.disks {
		if key.source == source && key.vm == vm {
			l.Damaged = 0
		}
	}
	for disk, n := range blocks {
		b.life(source, vm, disk).Damaged = n
	}
}

// CountDamage counts blocks of a disk that were found damaged, and that were healed.
func (b *Board) CountDamage(source, vm, disk string, found, healed int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.life(source, vm, disk)
	l.Found += found
	l.Healed += healed
}

// life returns the counters of a disk, which it makes if there are none. It is called
// with the mutex.
func (b *Board) life(source, vm, disk string) *diskLife {
	key := diskKey{source, vm, disk}
	l := b.disks[key]
	if l == nil {
		l = &diskLife{DiskCounters: DiskCounters{Source: source, VM: vm, Disk: disk}}
		b.disks[key] = l
	}
	return l
}

// count adds what changed since the last time, and returns it.
func (l *diskLife) count(point string, d Disk) DiskTotals {
	was := l.run
	if d.Read < was.Read || d.Data < was.Data || d.Wire < was.Wire {
		was = DiskTotals{} // a new run counts from zero
	}
	l.run = d.DiskTotals
	delta := DiskTotals{
		Read: d.Read - was.Read, SkippedZero: d.SkippedZero - was.SkippedZero, SkippedSame: d.SkippedSame - was.SkippedSame,
		Data: d.Data - was.Data, Wire: d.Wire - was.Wire, Resent: d.Resent - was.Resent,
	}
	l.Read += delta.Read
	l.SkippedZero += max(0, delta.SkippedZero)
	l.SkippedSame += max(0, delta.SkippedSame)
	l.Data += delta.Data
	l.Wire += delta.Wire
	l.Resent += max(0, delta.Resent)
	if d.State == Failed && l.state != Failed {
		l.Failures++
	}
	if point != "" && point == l.point && d.Durable < l.durable {
		l.Restarts++
	}
	l.state, l.point, l.durable = d.State, point, d.Durable
	if l.moves++; d.State != Sending && d.State != Receiving {
		l.moves = 0
	}
	return delta
}

// A peerLife is a peer's counters, and what they were taken from last.
type peerLife struct {
	PeerCounters
	was  Link
	lost time.Time // since when the link is lost; zero if it is not
}

// count adds what changed with a link's entry on the board.
func (p *peerLife) count(l Link, now time.Time) {
	was := p.was
	p.was = l
	if l.State == LinkUp && was.State != LinkUp {
		p.Connects++
		if !p.lost.IsZero() {
			p.Reattached.add(now.Sub(p.lost).Seconds())
		}
		was.PacketsSent, was.PacketsLost = 0, 0 // of another link
	}
	if l.State == LinkDown && was.State != LinkDown {
		p.GiveUps++
	}
	switch {
	case was.State == LinkUp && (l.State == LinkDialing || l.State == LinkRedial):
		p.lost = now
	case l.State != LinkDialing && l.State != LinkRedial:
		p.lost = time.Time{}
	}
	p.Redials += since(int64(was.Redials), int64(l.Redials))
	p.Migrations += since(int64(was.Migrations), int64(l.Migrations))
	p.PacketsSent += since(was.PacketsSent, l.PacketsSent)
	p.PacketsLost += since(was.PacketsLost, l.PacketsLost)
}

// since is how much a total grew that begins anew at times.
func since(was, now int64) int64 {
	if now < was {
		return now
	}
	return now - was
}

// Counters returns a copy.
func (b *Board) Counters() Counters {
	b.mu.Lock()
	defer b.mu.Unlock()
	var c Counters
	for _, l := range b.disks {
		c.Disks = append(c.Disks, l.DiskCounters)
	}
	for _, p := range b.peers {
		c.Peers = append(c.Peers, p.PeerCounters)
	}
	s := &b.meter.stages
	c.Stages = map[string]float64{}
	for name, stage := range map[string]*Stage{
		"read": &s.Read, "digest": &s.Digest, "compress": &s.Compress, "network": &s.Network, "write": &s.Write,
	} {
		c.Stages[name] = stage.Spent().All.Seconds()
	}
	return c
}
