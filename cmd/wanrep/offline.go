package main

import (
	"slices"
	"time"

	"wanrep/configs"
	"wanrep/diskio/durable"
	"wanrep/replicate"
	"wanrep/replicate/progress"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// offlineStatus tells what the files of an appliance tell while it does not run.
// Where a source's disks stand, only the target knows.
func offlineStatus(cfg *configs.Config, now time.Time) progress.Status {
	const because = "the appliance does not run"
	s := progress.Status{Schema: progress.Schema, Role: cfg.Role, Name: cfg.Name, Version: readVersion().Version, Time: now}
	for _, p := range cfg.Peers {
		s.Links = append(s.Links, progress.Link{Peer: p.Name, State: progress.LinkIdle, Because: because})
	}
	if cfg.Role != configs.RoleTarget {
		addJobs(&s, cfg, because)
		return s
	}
	var err error
	if s.VMs, err = storedOffline(cfg.Store.Path); err != nil {
		s.Events = append(s.Events, progress.Event{Time: now, Level: progress.Error, Text: "read the store: " + err.Error()})
		return s
	}
	known, err := knownOffline(cfg.StateDir)
	if err != nil {
		s.Events = append(s.Events, progress.Event{Time: now, Level: progress.Warning, Text: "read the state directory: " + err.Error()})
	}
	for i := range s.VMs {
		v := &s.VMs[i]
		if !v.Newest.IsZero() {
			v.Lag = now.Sub(v.Newest).Seconds()
		}
		for _, k := range known {
			if k.Source == v.Source && k.VM == v.VM {
				v.RPO, v.FirstSeen = k.RPO.Seconds(), k.Since
			}
		}
	}
	return s
}

// addJobs adds a source's jobs and its VMs, with what it has last seen of them at its
// targets.
func addJobs(s *progress.Status, cfg *configs.Config, because string) {
	seen, err := seenOffline(cfg.StateDir)
	if err != nil {
		s.Events = append(s.Events, progress.Event{Time: s.Time, Level: progress.Warning, Text: "read the state directory: " + err.Error()})
	}
	for _, j := range cfg.Jobs {
		rpo := time.Duration(j.RPO)
		if schedule, err := replicate.ParseSchedule(j.Schedule); err == nil {
			rpo = rpoOf(j, schedule)
		}
		s.Jobs = append(s.Jobs, progress.Job{Job: j.Name, Peer: j.Peer, VMs: j.VMs, Schedule: j.Schedule,
			State: "not scheduled", Because: because, RPO: rpo.Seconds()})
		for _, vm := range j.VMs {
			v := progress.VM{VM: vm, Job: j.Name, State: progress.NotStarted, Because: "its points are known at the target", RPO: rpo.Seconds()}
			for _, k := range seen {
				if k.Peer == j.Peer && k.VM == vm && k.Points > 0 {
					v.State, v.Because = progress.Committed, "as the target told last"
					v.Points, v.Newest, v.Lag = k.Points, k.Newest, s.Time.Sub(k.Newest).Seconds()
				}
			}
			s.VMs = append(s.VMs, v)
		}
	}
}

func seenOffline(path string) ([]replicate.SeenVM, error) {
	dir, err := durable.OS(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return replicate.SeenVMs(dir)
}

// addOffline adds a point of the store to its VM. The points come in their order.
func addOffline(v *progress.VM, p resume.Point) {
	v.Since = p.Time
	if len(p.Damage) > 0 {
		v.Damage = replicate.DamageText(p.Damage[0])
	}
	switch p.State {
	case resume.StateCommitted:
		v.State, v.Newest = progress.Committed, p.Time
		v.Points++
	case resume.StateDamaged:
		v.State, v.Damage = progress.Committed, "point "+p.Point
	default:
		v.State, v.Point, v.Because = progress.Parked, p.Point, "waits for its source"
		for _, d := range p.Disks {
			v.Disks = append(v.Disks, progress.Disk{Disk: d.Disk, State: progress.Parked, Since: p.Time,
				VirtualSize: d.VirtualSize, Offset: d.Durable, Durable: d.Durable, Left: -1, ETA: -1})
		}
	}
}

func knownOffline(path string) ([]replicate.KnownVM, error) {
	dir, err := durable.OS(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return replicate.KnownVMs(dir)
}

// storedOffline returns the VMs of a store with what it has of them.
func storedOffline(path string) ([]progress.VM, error) {
	dir, err := durable.OS(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	store, err := resume.OpenReadOnly(dir, resume.Config{Format: vhdxstore.Format{}})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	points, err := store.List()
	if err != nil {
		return nil, err
	}
	var vms []progress.VM
	for _, p := range points {
		i := slices.IndexFunc(vms, func(v progress.VM) bool { return v.Source == p.Source && v.VM == p.VM })
		if i < 0 {
			proofs, err := store.Proofs(p.Source, p.VM)
			if err != nil {
				return nil, err
			}
			vms, i = append(vms, progress.VM{Source: p.Source, VM: p.VM, Verified: proofs.Verified, Tested: proofs.Tested()}), len(vms)
		}
		addOffline(&vms[i], p)
	}
	return vms, nil
}
