package replicate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"wanrep/replicate/progress"
)

// SourceConfig is what a source works with. All fields are needed.
type SourceConfig struct {
	Name     string
	Software string // version, told to the target
	VMs      []VM
	Jobs     []Job
	// Open opens a disk for one run.
	Open func(ctx context.Context, path string) (Snapshot, Geometry, error)
	// Attach returns the way to a peer for one run.
	Attach func(peer string) (Attacher, error)
	// Dial returns a link to a peer after one attempt, for looking at it.
	Dial func(ctx context.Context, peer string) (Link, error)
	// State is what the source remembers.
	State *State
	Board *progress.Board
	Log   *slog.Logger
}

// A Source runs the jobs of a source appliance.
type Source struct {
	cfg  SourceConfig
	vms  map[string]VM
	gate *gate

	mu   sync.Mutex
	busy map[string]string // VM → the job that runs it
	// runs are those under way, each with its link; nil while it has none.
	runs    map[*run]Link
	viewers map[string]*viewer // by peer
}

// NewSource checks that the jobs' VMs exist.
func NewSource(cfg SourceConfig) (*Source, error) {
	s := &Source{cfg: cfg, vms: map[string]VM{}, gate: newGate(), busy: map[string]string{}, runs: map[*run]Link{}, viewers: map[string]*viewer{}}
	for _, v := range cfg.VMs {
		s.vms[v.Name] = v
	}
	for _, j := range cfg.Jobs {
		for _, v := range j.VMs {
			if _, ok := s.vms[v]; !ok {
				return nil, fmt.Errorf("job %q names VM %q, which is not configured", j.Name, v)
			}
			cfg.Board.VM("", v, func(b *progress.VM) { b.Job, b.RPO = j.Name, s.rpo(v).Seconds() })
		}
		cfg.Board.Job(j.Name, func(b *progress.Job) {
			b.Peer, b.VMs, b.Schedule, b.State = j.Peer, slices.Clone(j.VMs), j.Schedule.String(), jobIdle
			b.RPO = j.RPO.Seconds()
		})
	}
	s.showSeen()
	return s, nil
}

// rpo returns the smallest RPO of the jobs that have the VM; 0 is none.
func (s *Source) rpo(vm string) time.Duration {
	var rpo time.Duration
	for _, j := range s.cfg.Jobs {
		if slices.Contains(j.VMs, vm) && j.RPO > 0 && (rpo == 0 || j.RPO < rpo) {
			rpo = j.RPO
		}
	}
	return rpo
}

// Run runs a job once, by hand: what fails is not tried again. The error is nil
// if every VM's point was committed; the report is whole in any case but for
// [ErrUnknownJob], [ErrRunning] and [ErrPaused]. When ctx ends, the points that are not
// complete are parked and the error is [ErrInterrupted].
func (s *Source) Run(ctx context.Context, job string) (Report, error) {
	i := slices.IndexFunc(s.cfg.Jobs, func(j Job) bool { return j.Name == job })
	if i < 0 {
		return Report{}, fmt.Errorf("job %q: %w", job, ErrUnknownJob)
	}
	if p, _ := s.gate.holds(job); p.Paused {
		return Report{}, fmt.Errorf("job %q is %w%s", job, ErrPaused, reasonText(p.PausedBecause))
	}
	return s.runOnce(ctx, s.cfg.Jobs[i], s.cfg.Jobs[i].VMs)
}

// Serve runs the jobs as they are scheduled until ctx ends, and then parks what is
// under way.
func (s *Source) Serve(ctx context.Context) error {
	var jobs sync.WaitGroup
	for _, j := range s.cfg.Jobs {
		jobs.Go(func() { s.serveJob(ctx, j) })
	}
	jobs.Wait()
	<-ctx.Done()
	return nil
}

// States of a job on the board.
const (
	jobIdle    = "idle"
	jobRunning = "running"
	jobRetry   = "waiting to retry"
)

func (s *Source) serveJob(ctx context.Context, j Job) {
	for {
		next, ok := j.Schedule.Next(time.Now())
		if !ok {
			return
		}
		s.cfg.Board.Job(j.Name, func(b *progress.Job) { b.Next = next.UTC() })
		if !sleep(ctx, time.Until(next)) || s.gate.pass(ctx, j.Name) != nil {
			return
		}
		s.scheduled(ctx, j)
	}
}

// scheduled runs a job and, in the regular manner, again for the VMs that failed.
// Parked ones are not retried: their line is gone, and the next run continues them.
func (s *Source) scheduled(ctx context.Context, j Job) {
	vms := j.VMs
	for try := 0; ; try++ {
		s.cfg.Board.Job(j.Name, func(b *progress.Job) { b.Try, b.Next = try, time.Time{} })
		report, err := s.runOnce(ctx, j, vms)
		if err != nil && report.Outcome == "" {
			s.cfg.Log.Warn("run skipped", "job", j.Name, "err", err)
			return
		}
		vms = report.failed()
		if len(vms) == 0 || try >= j.Retries || ctx.Err() != nil {
			return
		}
		s.cfg.Board.Job(j.Name, func(b *progress.Job) {
			b.State, b.Next = jobRetry, time.Now().Add(j.RetryWait).UTC()
		})
		s.cfg.Log.Warn("run failed, waiting to retry", "job", j.Name, "attempt", try+1, "of", j.Retries, "wait", j.RetryWait)
		if !sleep(ctx, j.RetryWait) || s.gate.pass(ctx, j.Name) != nil {
			return
		}
	}
}

func (r Report) failed() []string {
	var names []string
	for _, v := range r.VMs {
		if v.Outcome == outcomeFailed {
			names = append(names, v.VM)
		}
	}
	return names
}

func (s *Source) runOnce(ctx context.Context, j Job, vms []string) (Report, error) {
	if err := s.take(j.Name, vms); err != nil {
		return Report{}, err
	}
	defer s.release(vms)
	attacher, err := s.cfg.Attach(j.Peer)
	if err != nil {
		return Report{}, fmt.Errorf("job %q: %w", j.Name, err)
	}
	defer attacher.Close()
	s.cfg.Board.Job(j.Name, func(b *progress.Job) { b.State, b.LastRun = jobRunning, time.Now().UTC() })

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{source: s, job: j, ctx: ctx, attacher: attacher, began: time.Now(), log: s.cfg.Log.With("job", j.Name, "peer", j.Peer)}
	for _, name := range vms {
		r.vms = append(r.vms, &vmRun{name: name})
	}
	r.execute()
	report, err := r.report()
	s.cfg.Board.Job(j.Name, func(b *progress.Job) {
		b.State, b.Outcome, b.Because = jobIdle, report.Outcome, ""
		if report.Error != nil {
			b.Because = *report.Error
		}
	})
	return report, err
}

// holds notes which link a run has.
func (s *Source) holds(r *run, link Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[r] = link
}

func (s *Source) ended(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, r)
}

// take reserves the VMs for a job: two runs of one VM would take its point from
// each other.
func (s *Source) take(job string, vms []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range vms {
		if by, taken := s.busy[v]; taken {
			return fmt.Errorf("VM %q is under way in job %q: %w", v, by, ErrRunning)
		}
	}
	for _, v := range vms {
		s.busy[v] = job
	}
	return nil
}

func (s *Source) release(vms []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range vms {
		delete(s.busy, v)
	}
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
