package main

import (
	"slices"
	"testing"
	"time"

	"wanrep/quicx"
	"wanrep/replicate/progress"
)

func TestUplinkStates(t *testing.T) {
	uplinks := []quicx.Uplink{{Name: "fibre", Bind: "192.0.2.1"}, {Name: "lte", Bind: "127.0.0.1"}, {Name: "dsl"}}
	stats := quicx.Stats{Path: "lte", Standby: "dsl", RTT: 38 * time.Millisecond}
	tests := []struct {
		name string
		with quicx.Stats
		want []progress.Uplink
	}{
		{"with a link", stats, []progress.Uplink{
			{Name: "fibre", State: progress.UplinkDown}, {Name: "lte", State: progress.UplinkActive, RTT: 0.038}, {Name: "dsl", State: progress.UplinkStandby},
		}},
		{"without", quicx.Stats{}, []progress.Uplink{
			{Name: "fibre", State: progress.UplinkDown}, {Name: "lte", State: progress.UplinkUp}, {Name: "dsl", State: progress.UplinkUp},
		}},
	}
	for _, tt := range tests {
		if got := uplinkStates(uplinks, tt.with); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
