package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"wanrep/resume"
)

func TestPointOnDamage(t *testing.T) {
	own := resume.Point{State: resume.StateCommitted, OnDamage: true, Damage: []resume.Damage{{Disk: "os", File: "it is gone"}}}
	onto := resume.Point{State: resume.StateCommitted, OnDamage: true}
	for want, p := range map[string]resume.Point{
		"committed": {State: resume.StateCommitted}, "committed, damage": own, "committed, on damage": onto,
	} {
		if got := stateOf(p); got != want {
			t.Errorf("state %q, want %q", got, want)
		}
	}
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	if err := printDamage(cmd, onto); err != nil || !strings.Contains(out.String(), "it has damaged content of a point on which it builds") {
		t.Errorf("printed %q, %v", out.String(), err)
	}
}
