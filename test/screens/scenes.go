package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"wanrep/replicate/progress"
)

// A scene is a picture of the README.
type scene struct {
	name   string // of the file, without .png
	size   string
	change func(*progress.Status) // from the status in the file; nil for none
	keys   string                 // pressed before the picture is taken
	light  bool
}

var scenes = []scene{
	{name: "top", size: "120x40"},
	{name: "narrow", size: "80x24"},
	{name: "down", size: "120x40", change: takeLineDown},
	{name: "light", size: "120x40", light: true, keys: "t"},
}

// paintScenes writes every picture of the README into a directory.
func paintScenes(dir, status, fonts string) error {
	for _, s := range scenes {
		if err := s.picture(dir, status, fonts).make(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// picture is that of the scene, in a directory.
func (s scene) picture(dir, status, fonts string) picture {
	return picture{out: filepath.Join(dir, s.name+".png"), size: s.size, status: status, keys: s.keys, fonts: fonts, light: s.light, change: s.change}
}

// takeLineDown makes a status what it is three minutes after all uplinks of a source
// went down.
func takeLineDown(st *progress.Status) {
	l := &st.Links[0]
	l.State, l.Because, l.Class = progress.LinkRedial, "no answer from "+l.Remote+" in 60 s", "dropped"
	l.Since, l.Attempt, l.NextDial = st.Time.Add(-200*time.Second), 14, st.Time.Add(7*time.Second)
	for i := range l.Uplinks {
		l.Uplinks[i].State = progress.UplinkDown
	}
	for i := range st.VMs {
		vm := &st.VMs[i]
		if vm.State != progress.Sending {
			continue
		}
		vm.State, vm.Since, vm.Because = progress.Stalled, l.Since, "link lost; continues at the durable offset"
		for j := range vm.Disks {
			if d := &vm.Disks[j]; d.State == progress.Sending {
				d.State, d.Since = progress.Stalled, l.Since
				d.Offset, d.WireRate, d.ReadRate, d.ETA = d.Durable, 0, 0, -1
			}
		}
	}
	clear(st.Samples[len(st.Samples)-200:])
	st.Pipeline = progress.Pipeline{}
	later := func(e progress.Event) bool { return e.Time.After(l.Since) }
	st.Events = append(slices.DeleteFunc(st.Events, later), progress.Event{Time: l.Since, Level: progress.Warning, Peer: l.Peer, Text: "link lost: " + l.Because})
}
