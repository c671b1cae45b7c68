package main

import (
	"context"
	"time"

	"wanrep/quicx"
	"wanrep/replicate/progress"
)

// uplinksEvery is how often the uplinks of peers without a link are looked at, whose
// state nobody tells.
const uplinksEvery = 5 * time.Second

// uplinkStates tells how each uplink is for a link that fares like s; the zero Stats
// are for no link.
func uplinkStates(uplinks []quicx.Uplink, s quicx.Stats) []progress.Uplink {
	states := make([]progress.Uplink, 0, len(uplinks))
	for _, u := range uplinks {
		state := progress.Uplink{Name: u.Name, State: progress.UplinkUp}
		switch {
		case u.Name == s.Path:
			state.State, state.RTT = progress.UplinkActive, s.RTT.Seconds()
		case u.Name == s.Standby:
			state.State = progress.UplinkStandby
		case u.Bind != "" && bound(u.Bind) != nil:
			state.State = progress.UplinkDown
		}
		states = append(states, state)
	}
	return states
}

// watchUplinks keeps the uplinks on the board current where no link does, until ctx
// ends.
func (s *sourceAppliance) watchUplinks(ctx context.Context) {
	tick := time.NewTicker(uplinksEvery)
	defer tick.Stop()
	for {
		states := uplinkStates(uplinksOf(s.cfg), quicx.Stats{})
		for _, l := range s.board.Snapshot().Links {
			s.board.Link(l.Peer, func(l *progress.Link) {
				if l.State != progress.LinkUp {
					l.Uplinks = states
				}
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
