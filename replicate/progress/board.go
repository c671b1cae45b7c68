package progress

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxEvents is how many events a Board remembers: some days of a quiet line,
	// and little enough to send once a second.
	maxEvents = 200
	// maxSamples is five minutes of one-second samples.
	maxSamples = 300
	// smoothing is the weight of the newest second in a rate: about ten seconds
	// of memory, so that a rate is calm and a stall still shows.
	smoothing = 0.1
)

// A Board is where an appliance writes what it does. Its methods may be called
// from any goroutine; each change function runs alone and must not block.
//
// Readers get the newest snapshot, which costs a writer nothing however many ask.
// One is taken once a second, and for the first who asks after something changed
// its state, so that only numbers in it are old, and by a second at the most.
type Board struct {
	events   *Feed[Event]
	snapshot atomic.Pointer[Status]
	// stale tells that a state changed since the snapshot.
	stale atomic.Bool

	mu     sync.Mutex
	status Status
	disks  map[diskKey]*diskLife
	peers  map[string]*peerLife
	meter  meter
	told   told
	record recorder
}

// told is what the target said of itself, and when.
type told struct {
	busy float64
	at   time.Time
}

type diskKey struct{ source, vm, disk string }

// NewBoard returns the empty board of an appliance.
func NewBoard(role, name, version string) *Board {
	now := time.Now().UTC()
	b := &Board{
		events: NewFeed[Event](maxEvents),
		status: Status{
			Schema: Schema, Role: role, Name: name, Version: version, Time: now, Started: now,
			Links: []Link{}, Jobs: []Job{}, VMs: []VM{}, Samples: []Sample{},
		},
		disks: map[diskKey]*diskLife{},
		peers: map[string]*peerLife{},
		meter: meter{at: now},
	}
	b.publish()
	return b
}

// Run computes rates and estimates once a second until ctx ends.
func (b *Board) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.measure()
		case <-ctx.Done():
			return
		}
	}
}

// Snapshot returns the newest snapshot. It is shared by all who ask and must not be
// changed.
func (b *Board) Snapshot() Status {
	if b.stale.Load() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.stale.Load() {
			b.publish()
		}
	}
	return *b.snapshot.Load()
}

// Status returns a copy of what stands on the board at this moment.
func (b *Board) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.copy()
}

// publish takes a snapshot. It is called with the mutex.
func (b *Board) publish() {
	b.stale.Store(false)
	s := b.copy()
	b.snapshot.Store(&s)
}

func (b *Board) copy() Status {
	s := b.status
	s.Time = time.Now().UTC()
	s.Links = slices.Clone(s.Links)
	for i := range s.Links {
		s.Links[i].Uplinks = slices.Clone(s.Links[i].Uplinks)
	}
	s.Jobs = slices.Clone(s.Jobs)
	s.Events = b.events.Recent()
	s.Samples = slices.Clone(s.Samples)
	s.History = b.record.copy()
	s.VMs = slices.Clone(s.VMs)
	for i := range s.VMs {
		s.VMs[i].Disks = slices.Clone(s.VMs[i].Disks)
		if newest := s.VMs[i].Newest; !newest.IsZero() {
			s.VMs[i].Lag = max(0, s.Time.Sub(newest).Seconds())
		}
	}
	return s
}

// Link changes the entry of a peer's link, which it makes if there is none.
func (b *Board) Link(peer string, change func(*Link)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := find(b, &b.status.Links, func(l *Link) bool { return l.Peer == peer },
		Link{Peer: peer, State: LinkIdle, Since: time.Now().UTC(), Uplinks: []Uplink{}})
	was := l.State
	change(l)
	// A link that is dialed on the timer is lost since the first attempt.
	b.touch(&l.Since, was != l.State && !(was == LinkDialing && l.State == LinkRedial))
	if b.peers[peer] == nil {
		b.peers[peer] = &peerLife{PeerCounters: PeerCounters{Peer: peer}}
	}
	b.peers[peer].count(*l, time.Now())
}

// Job changes the entry of a job, which it makes if there is none.
func (b *Board) Job(job string, change func(*Job)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(find(b, &b.status.Jobs, func(j *Job) bool { return j.Job == job }, Job{Job: job}))
	b.stale.Store(true)
}

// VM changes the entry of a VM, which it makes if there is none. The source is
// empty at a source appliance.
func (b *Board) VM(source, vm string, change func(*VM)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.vm(source, vm)
	was := v.State
	change(v)
	b.touch(&v.Since, was != v.State)
	b.stale.Store(true) // it has hardly anything but states
}

// Disk changes the entry of a VM's disk, which it makes if there is none.
func (b *Board) Disk(source, vm, disk string, change func(*Disk)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.vm(source, vm)
	d := find(b, &v.Disks, func(d *Disk) bool { return d.Disk == disk },
		Disk{Disk: disk, State: Waiting, Since: time.Now().UTC(), Left: -1, ETA: -1})
	was := d.State
	change(d)
	b.touch(&d.Since, was != d.State)
}

// Stages are what the engine counts its time with.
func (b *Board) Stages() *Stages { return &b.meter.stages }

// TargetBusy notes which share of the time the target writes, as it says.
func (b *Board) TargetBusy(share float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = told{share, time.Now()}
}

// WriteShare returns which share of the last seconds this target wrote.
func (b *Board) WriteShare() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(b.meter.load.write, 1)
}

// SetMaxRate shows the most that is sent a second, in bytes; 0 is no limit.
func (b *Board) SetMaxRate(rate int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.MaxRate = rate
	b.stale.Store(true)
}

// SetStore shows where a target keeps its points.
func (b *Board) SetStore(s Store) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Store = s
	b.stale.Store(true)
}

// Event adds an event. A zero time is now.
func (b *Board) Event(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	b.events.Add(e)
	b.stale.Store(true)
}

// Events are what is told with Event.
func (b *Board) Events() *Feed[Event] { return b.events }

// SetPause shows whether all jobs are held.
func (b *Board) SetPause(p Pause) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Pause = p
	b.stale.Store(true)
}

func (b *Board) vm(source, vm string) *VM {
	return find(b, &b.status.VMs, func(v *VM) bool { return v.Source == source && v.VM == vm },
		VM{Source: source, VM: vm, State: NotStarted, Since: time.Now().UTC(), FirstSeen: time.Now().UTC(), Disks: []Disk{}})
}

// find returns the element that is wanted, or fresh, appended.
func find[T any](b *Board, list *[]T, wanted func(*T) bool, fresh T) *T {
	for i := range *list {
		if wanted(&(*list)[i]) {
			return &(*list)[i]
		}
	}
	b.stale.Store(true)
	*list = append(*list, fresh)
	return &(*list)[len(*list)-1]
}

// touch notes since when a state holds, and lets readers know of a new one.
func (b *Board) touch(since *time.Time, changed bool) {
	if changed {
		*since = time.Now().UTC()
		b.stale.Store(true)
	}
}

func appendLimited[T any](list []T, e T, limit int) []T {
	if len(list) >= limit {
		list = slices.Delete(list, 0, len(list)-limit+1)
	}
	return append(list, e)
}

// measure turns what was counted in the last second into rates.
func (b *Board) measure() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var second Sample
	for i := range b.status.VMs {
		v := &b.status.VMs[i]
		for j := range v.Disks {
			d := &v.Disks[j]
			life := b.life(v.Source, v.VM, d.Disk)
			moved := life.count(v.Point, *d)
			second.Wire += float64(moved.Wire)
			second.Data += float64(moved.Data)
			estimate(d, float64(moved.Read), float64(moved.Wire), life.moves)
		}
	}
	b.status.Samples = appendLimited(b.status.Samples, second, maxSamples)
	b.record.add(second, underWay(b.status.VMs), time.Now().UTC())
	b.meter.measure()
	defer b.publish()
	if b.status.Role == "target" {
		b.status.Pipeline = b.meter.load.receiving()
		return
	}
	b.status.Pipeline = b.meter.load.pipeline(b.circumstances())
}

// rateSeconds is over how many seconds a rate is compared with the configured one:
// content is counted by the piece, so that one second alone may have none.
const rateSeconds = 5

func (b *Board) circumstances() circumstances {
	c := circumstances{maxRate: float64(b.status.MaxRate)}
	for _, s := range b.status.Samples[max(0, len(b.status.Samples)-rateSeconds):] {
		c.wireRate += s.Wire / rateSeconds
	}
	if time.Since(b.told.at) < toldFor {
		c.targetBusy = b.told.busy
	}
	known := true
	for _, l := range b.status.Links {
		if l.State == LinkUp {
			c.loss = max(c.loss, l.Loss)
			c.lineRate += l.LineRate
			known = known && l.LineRate > 0
		}
	}
	if !known {
		c.lineRate = 0
	}
	return c
}

// estimate folds one second into a disk's rates and its ETA; moves is for how many
// seconds the disk moves, which are all there is to go by at first.
func estimate(d *Disk, read, wire float64, moves int64) {
	weight := max(smoothing, 1/float64(max(moves, 1)))
	d.ReadRate += weight * (read - d.ReadRate)
	d.WireRate += weight * (wire - d.WireRate)
	d.ETA = -1
	if moves == 0 {
		d.ReadRate, d.WireRate = 0, 0
		return
	}
	if d.Left >= 0 && d.ReadRate > 1 {
		d.ETA = float64(d.Left) / d.ReadRate
	}
}
