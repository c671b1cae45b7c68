package metrics

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wanrep/replicate/progress"
)

var facts = Facts{Version: "1.0", Go: "go1.26", ConfigRead: time.Unix(1000, 0), CertificateEnds: time.Unix(2000, 0)}

// source is the board of a source in the middle of a run.
func source() *progress.Board {
	b := progress.NewBoard("source", "lyon", "1.0")
	b.Job("nightly", func(j *progress.Job) { j.Peer, j.VMs = "paris", []string{"sql01"} })
	b.VM("", "sql01", func(v *progress.VM) {
		v.Job, v.RPO, v.Newest, v.Point = "nightly", 7200, time.Unix(1500, 0), "2"
	})
	b.Disk("", "sql01", "os", func(d *progress.Disk) {
		d.State, d.VirtualSize, d.Left, d.Durable = progress.Sending, 64<<30, 3<<20, 5<<20
		d.DiskTotals = progress.DiskTotals{Read: 100, SkippedZero: 20, SkippedSame: 30, Data: 50, Wire: 40}
	})
	b.Link("paris", func(l *progress.Link) {
		l.State, l.RTT, l.PacketsSent, l.PacketsLost = progress.LinkUp, 0.04, 1000, 7
		l.Queue, l.Window, l.Lanes, l.LineRate = 0.002, 640<<10, 34, 12e6
	})
	b.SetMaxRate(2_500_000)
	return b
}

// target is the board of the target that receives it.
func target() *progress.Board {
	b := progress.NewBoard("target", "paris", "1.0")
	b.VM("lyon", "sql01", func(v *progress.VM) {
		v.RPO, v.Newest, v.Tested, v.Damage, v.Held = 7200, time.Unix(1500, 0), time.Unix(1400, 0), "disk os of point 1: 3 blocks", "the clock went back"
	})
	b.SetDamaged("lyon", "sql01", map[string]int64{"os": 7})
	b.SetDamaged("lyon", "sql01", map[string]int64{"os": 3})
	b.CountDamage("lyon", "sql01", "os", 7, 0)
	b.CountDamage("lyon", "sql01", "os", 0, 4)
	b.VM("lyon", "lost", func(v *progress.VM) { v.Damage = "point 1 can't be read" })
	b.Disk("lyon", "sql01", "os", func(d *progress.Disk) {
		d.State, d.VirtualSize = progress.Receiving, 64<<30
		d.DiskTotals = progress.DiskTotals{Data: 50, Wire: 40}
	})
	b.Disk("lyon", "b\xffd", "os", func(*progress.Disk) {})
	b.Link("lyon", func(l *progress.Link) { l.State = progress.LinkRedial })
	b.SetStore(progress.Store{Path: "/srv/wanrep", Free: 10, Total: 100})
	return b
}

// measured lets a board look at its disks once.
func measured(t *testing.T, b *progress.Board) *progress.Board {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go b.Run(ctx)
	for deadline := time.Now().Add(30 * time.Second); len(b.Status().Samples) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the board does not run")
		}
	}
	return b
}

func registry(b *progress.Board) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(b, facts))
	return r
}

// named returns the names of what a board's collector gives.
func named(t *testing.T, b *progress.Board) []string {
	t.Helper()
	families, err := registry(b).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", f.GetName())
		}
	}
	return names
}

// stable are the names that do not change any more.
const stable = `build_info config_last_reload_successful config_last_reload_success_timestamp_seconds
certificate_expiry_timestamp_seconds rate_limit_bytes_per_second stage_busy_seconds_total
peer_up peer_rtt_seconds peer_queue_seconds peer_window_bytes peer_lanes peer_line_rate_bytes_per_second peer_lost_packets_total peer_sent_packets_total peer_path_migrations_total
peer_connects_total peer_redial_attempts_total peer_redial_giveups_total peer_reattach_duration_seconds
disk_damaged_blocks disk_damage_found_blocks_total disk_damage_healed_blocks_total disk_points_damaged disk_points_held
disk_state disk_size_bytes disk_pending_bytes disk_replicated_bytes disk_read_bytes_total
disk_wire_sent_bytes_total disk_wire_received_bytes_total disk_written_bytes_total disk_skipped_bytes_total
disk_recovery_point_timestamp_seconds disk_rpo_seconds disk_errors_total disk_resyncs_total
disk_verify_last_success_timestamp_seconds disk_failover_test_last_success_timestamp_seconds disk_paused
disk_first_seen_timestamp_seconds store_free_bytes store_size_bytes`

func TestNames(t *testing.T) {
	s, d := measured(t, source()), measured(t, target())
	all := slices.Concat(named(t, s), named(t, d))
	for name := range strings.FieldsSeq(stable) {
		if !slices.Contains(all, "wanrep_"+name) {
			t.Errorf("no appliance has wanrep_%s", name)
		}
	}
	for _, name := range all {
		if !slices.Contains(strings.Fields(stable), strings.TrimPrefix(name, "wanrep_")) {
			t.Errorf("%s is not among the stable names", name)
		}
	}
	for role, b := range map[string]*progress.Board{"source": s, "target": d} {
		problems, err := testutil.GatherAndLint(registry(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", role, p.Metric, p.Text)
		}
	}

	// What the shipped rules and the dashboard read is there.
	used := regexp.MustCompile(`wanrep_[a-z0-9_]+`)
	for _, file := range []string{"prometheus/wanrep.rules.yml", "prometheus/wanrep.test.yml", "grafana/wanrep.json"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "configs", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		names := used.FindAllString(string(text), -1)
		if len(names) < 5 {
			t.Errorf("%s reads %d metrics", file, len(names))
		}
		for _, name := range names {
			if !slices.Contains(all, strings.TrimSuffix(name, "_bucket")) {
				t.Errorf("%s reads %s, which no appliance has", file, name)
			}
		}
	}
}

func TestValues(t *testing.T) {
	os := `disk="os",peer="paris",role="source",vm="sql01"`
	want := `# HELP wanrep_disk_skipped_bytes_total Bytes that did not have to be sent: zeros, or the same as in the point before.
# TYPE wanrep_disk_skipped_bytes_total counter
wanrep_disk_skipped_bytes_total{disk="os",peer="paris",reason="same",role="source",vm="sql01"} 30
wanrep_disk_skipped_bytes_total{disk="os",peer="paris",reason="zero",role="source",vm="sql01"} 20
# HELP wanrep_disk_recovery_point_timestamp_seconds When the newest restore point was taken; 0 is never.
# TYPE wanrep_disk_recovery_point_timestamp_seconds gauge
wanrep_disk_recovery_point_timestamp_seconds{` + os + `} 1500
# HELP wanrep_disk_rpo_seconds How old the newest restore point may become; absent without an RPO.
# TYPE wanrep_disk_rpo_seconds gauge
wanrep_disk_rpo_seconds{` + os + `} 7200
# HELP wanrep_disk_pending_bytes Bytes that still have to be read and sent; only a source knows.
# TYPE wanrep_disk_pending_bytes gauge
wanrep_disk_pending_bytes{` + os + `} 3145728
# HELP wanrep_peer_lost_packets_total QUIC packets sent to the peer that were lost.
# TYPE wanrep_peer_lost_packets_total counter
wanrep_peer_lost_packets_total{peer="paris"} 7
# HELP wanrep_peer_lanes QUIC connections of the link: more than a few where the line loses packets at random; 0 without a link.
# TYPE wanrep_peer_lanes gauge
wanrep_peer_lanes{peer="paris"} 34
# HELP wanrep_peer_line_rate_bytes_per_second What the line was seen to carry when it was full; 0 if that is not known.
# TYPE wanrep_peer_line_rate_bytes_per_second gauge
wanrep_peer_line_rate_bytes_per_second{peer="paris"} 1.2e+07
# HELP wanrep_rate_limit_bytes_per_second The most that is sent over all uplinks; 0 is no limit.
# TYPE wanrep_rate_limit_bytes_per_second gauge
wanrep_rate_limit_bytes_per_second 2.5e+06
`
	err := testutil.GatherAndCompare(registry(measured(t, source())), strings.NewReader(want),
		"wanrep_disk_skipped_bytes_total", "wanrep_disk_recovery_point_timestamp_seconds", "wanrep_disk_rpo_seconds",
		"wanrep_disk_pending_bytes", "wanrep_peer_lost_packets_total", "wanrep_peer_lanes", "wanrep_peer_line_rate_bytes_per_second", "wanrep_rate_limit_bytes_per_second")
	if err != nil {
		t.Error(err)
	}
	want = `# HELP wanrep_peer_up 0 while the line to the peer is lost or given up, else 1, also while no run needs it.
# TYPE wanrep_peer_up gauge
wanrep_peer_up{peer="lyon"} 0
# HELP wanrep_disk_written_bytes_total Bytes of content written at the target.
# TYPE wanrep_disk_written_bytes_total counter
wanrep_disk_written_bytes_total{disk="os",peer="lyon",role="target",vm="b?d"} 0
wanrep_disk_written_bytes_total{disk="os",peer="lyon",role="target",vm="sql01"} 50
`
	want += `# HELP wanrep_disk_damaged_blocks Blocks of 64 KiB of the disk, in all of its points, that are known to be damaged and are not healed yet; only a target knows.
# TYPE wanrep_disk_damaged_blocks gauge
wanrep_disk_damaged_blocks{disk="os",peer="lyon",role="target",vm="b?d"} 0
wanrep_disk_damaged_blocks{disk="os",peer="lyon",role="target",vm="sql01"} 3
# HELP wanrep_disk_damage_found_blocks_total Blocks that a scrub found damaged.
# TYPE wanrep_disk_damage_found_blocks_total counter
wanrep_disk_damage_found_blocks_total{disk="os",peer="lyon",role="target",vm="b?d"} 0
wanrep_disk_damage_found_blocks_total{disk="os",peer="lyon",role="target",vm="sql01"} 7
# HELP wanrep_disk_damage_healed_blocks_total Damaged blocks that were put back as they had been committed.
# TYPE wanrep_disk_damage_healed_blocks_total counter
wanrep_disk_damage_healed_blocks_total{disk="os",peer="lyon",role="target",vm="b?d"} 0
wanrep_disk_damage_healed_blocks_total{disk="os",peer="lyon",role="target",vm="sql01"} 4
# HELP wanrep_disk_points_damaged 1 while something is known to be wrong with the VM's points; only a target knows.
# TYPE wanrep_disk_points_damaged gauge
wanrep_disk_points_damaged{disk="",peer="lyon",role="target",vm="lost"} 1
wanrep_disk_points_damaged{disk="os",peer="lyon",role="target",vm="b?d"} 0
wanrep_disk_points_damaged{disk="os",peer="lyon",role="target",vm="sql01"} 1
# HELP wanrep_disk_points_held 1 while points stay at a target that its keep rules let go, because a person has to look at them first or they can't be removed.
# TYPE wanrep_disk_points_held gauge
wanrep_disk_points_held{disk="",peer="lyon",role="target",vm="lost"} 0
wanrep_disk_points_held{disk="os",peer="lyon",role="target",vm="b?d"} 0
wanrep_disk_points_held{disk="os",peer="lyon",role="target",vm="sql01"} 1
# HELP wanrep_disk_failover_test_last_success_timestamp_seconds When somebody last said that a failover was tested and worked; 0 is never.
# TYPE wanrep_disk_failover_test_last_success_timestamp_seconds gauge
wanrep_disk_failover_test_last_success_timestamp_seconds{disk="",peer="lyon",role="target",vm="lost"} 0
wanrep_disk_failover_test_last_success_timestamp_seconds{disk="os",peer="lyon",role="target",vm="b?d"} 0
wanrep_disk_failover_test_last_success_timestamp_seconds{disk="os",peer="lyon",role="target",vm="sql01"} 1400
`
	err = testutil.GatherAndCompare(registry(measured(t, target())), strings.NewReader(want), "wanrep_peer_up", "wanrep_disk_written_bytes_total",
		"wanrep_disk_damaged_blocks", "wanrep_disk_damage_found_blocks_total", "wanrep_disk_damage_healed_blocks_total",
		"wanrep_disk_points_damaged", "wanrep_disk_points_held", "wanrep_disk_failover_test_last_success_timestamp_seconds")
	if err != nil {
		t.Error(err)
	}
}

// scrape serves a board and returns what GET /metrics gives.
func scrape(t *testing.T, b *progress.Board) []byte {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, b, facts, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	var text []byte
	for _, ask := range []struct {
		method, path string
		want         int
	}{{"GET", "/metrics", 200}, {"POST", "/metrics", 405}, {"GET", "/", 404}, {"GET", "/debug/pprof/", 404}} {
		req, err := http.NewRequestWithContext(ctx, ask.method, "http://"+ln.Addr().String()+ask.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != ask.want {
			t.Errorf("%s %s: %s, %v; want %d", ask.method, ask.path, resp.Status, err, ask.want)
		}
		if ask.want == 200 {
			text = body
		}
	}
	return text
}

func TestServe(t *testing.T) {
	text := scrape(t, source())
	for _, want := range []string{`wanrep_build_info{goversion="go1.26",role="source",version="1.0"} 1`, "go_goroutines "} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// TestPromtool lets Prometheus' own tool look at the metrics, the rules and their
// tests.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not here (Debian: prometheus)")
	}
	run := func(stdin []byte, args ...string) {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Stdin, cmd.Dir = bytes.NewReader(stdin), filepath.Join("..", "..", "configs", "prometheus")
		if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("wanrep_disk")) {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	for _, b := range []*progress.Board{measured(t, source()), measured(t, target())} {
		var ours []byte // promtool does not like all of the Go runtime's
		for line := range bytes.Lines(scrape(t, b)) {
			if bytes.Contains(line, []byte("wanrep_")) {
				ours = append(ours, line...)
			}
		}
		run(ours, "check", "metrics")
	}
	run(nil, "check", "rules", "wanrep.rules.yml")
	run(nil, "test", "rules", "wanrep.test.yml")
}
