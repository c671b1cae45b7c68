package replicate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/replicate/progress"
)

// everyJob is the key of a pause that holds all jobs.
const everyJob = ""

// A gate holds jobs as the operator wishes. A job passes when neither it nor
// everything is paused. Nothing of it survives the process.
type gate struct {
	mu      sync.Mutex
	paused  map[string]progress.Pause
	changed chan struct{} // closed at the next change
}

func newGate() *gate {
	return &gate{paused: map[string]progress.Pause{}, changed: make(chan struct{})}
}

// set pauses a job, or lets it go on if p is zero.
func (g *gate) set(job string, p progress.Pause) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.Paused {
		g.paused[job] = p
	} else {
		delete(g.paused, job)
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// holds returns the pause that holds a job, and a channel that is closed when that
// may have changed.
func (g *gate) holds(job string) (progress.Pause, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.paused[everyJob]; p.Paused {
		return p, g.changed
	}
	return g.paused[job], g.changed
}

// pass waits until the job may go on. It fails only when ctx ends.
func (g *gate) pass(ctx context.Context, job string) error {
	for {
		p, changed := g.holds(job)
		if !p.Paused {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Pause holds a job, or all of them if job is empty: what is under way stops reading
// and keeps its link, and no scheduled run begins. It lasts until Resume or the end of
// the process, and is no error of a run. The reason is the operator's.
func (s *Source) Pause(job, because string) error {
	if err := s.checkJob(job); err != nil {
		return err
	}
	p := progress.Pause{Paused: true, PausedSince: time.Now().UTC(), PausedBecause: diskio.Printable(because)}
	s.gate.set(job, p)
	s.showPause(job, p)
	s.cfg.Log.Info("paused", "job", job, "reason", because)
	s.cfg.Board.Event(progress.Event{Level: progress.Warning, Text: "paused " + jobOrAll(job) + reasonText(because)})
	return nil
}

// Resume ends the pause of a job, or, if job is empty, all pauses. A scheduled run
// that was due meanwhile begins at once.
func (s *Source) Resume(job string) error {
	if err := s.checkJob(job); err != nil {
		return err
	}
	jobs := []string{job}
	if job == everyJob {
		for _, j := range s.cfg.Jobs {
			jobs = append(jobs, j.Name)
		}
	}
	for _, name := range jobs {
		s.gate.set(name, progress.Pause{})
		s.showPause(name, progress.Pause{})
	}
	s.cfg.Log.Info("resumed", "job", job)
	s.cfg.Board.Event(progress.Event{Level: progress.Info, Text: "resumed " + jobOrAll(job)})
	return nil
}

func (s *Source) checkJob(job string) error {
	known := func(j Job) bool { return j.Name == job }
	if job != everyJob && !slices.ContainsFunc(s.cfg.Jobs, known) {
		return fmt.Errorf("job %q: %w", job, ErrUnknownJob)
	}
	return nil
}

func (s *Source) showPause(job string, p progress.Pause) {
	if job == everyJob {
		s.cfg.Board.SetPause(p)
		return
	}
	s.cfg.Board.Job(job, func(b *progress.Job) { b.Pause = p })
}

func jobOrAll(job string) string {
	if job == everyJob {
		return "all jobs"
	}
	return "job " + job
}

func reasonText(because string) string {
	if because == "" {
		return ""
	}
	return ": " + diskio.Printable(because)
}

// pass holds a disk of the run between two pieces while its job is paused.
func (r *run) pass(ctx context.Context, d *diskRun) error {
	p, _ := r.source.gate.holds(r.job.Name)
	if !p.Paused {
		return nil
	}
	d.show(progress.Sending, "paused by the operator"+reasonText(p.PausedBecause))
	defer d.show(progress.Sending, "")
	return r.source.gate.pass(ctx, r.job.Name)
}
