package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"wanrep/replicate/progress"
)

// loopbackGoal is the least that a job may reach of the rate of a raw stream.
const loopbackGoal = 0.9

// loopback measures how much of the rate of a raw QUIC stream is left when a whole
// job runs over it: disk to disk, over the loopback interface, in turn with the raw
// stream.
func loopback(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("loopback", flag.ContinueOnError)
	pairs := flags.Int("pairs", 7, "measurements of each")
	size := flags.Int64("size", 1024, "MiB of content")
	wanrep := flags.String("wanrep", "", "the binary to measure; default: it is built")
	parent := flags.String("dir", "/dev/shm", "where the disk and the store are; a tmpfs, or their disk is measured")
	only := flags.String("only", "", "one kind of content: random or mixed")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	dir, err := os.MkdirTemp(*parent, "wanrep-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *wanrep == "" {
		if *wanrep, err = buildWanrep(ctx, dir); err != nil {
			return err
		}
	}
	fmt.Fprint(out, loopbackHead)
	missed := 0
	for _, kind := range contents {
		if *only != "" && *only != kind.name {
			continue
		}
		b := &disk2disk{wanrep: *wanrep, dir: dir, size: *size << 20}
		line, met, err := b.row(ctx, kind, max(1, *pairs))
		if err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		if !met {
			missed++
		}
		fmt.Fprintln(out, line)
	}
	if missed > 0 {
		return fmt.Errorf("%d rows are below %.1f of the raw stream", missed, loopbackGoal)
	}
	return nil
}

// contents are what the disks hold.
var contents = []content{
	{"random", "random bytes", func(r *rand.ChaCha8) io.Reader { return r }},
	{"mixed", "text, records and random bytes", func(r *rand.ChaCha8) io.Reader { return &mixed{random: r} }},
}

type content struct {
	name, title string
	from        func(*rand.ChaCha8) io.Reader
}

// mixed is content as disks have it: of four runs of 64 KiB two are text, one is
// records of numbers, and one cannot be compressed. LZ4 makes about half of it.
type mixed struct {
	random *rand.ChaCha8
	run    int
	left   []byte
}

func (m *mixed) Read(p []byte) (int, error) {
	if len(m.left) == 0 {
		m.left = m.next()
	}
	n := copy(p, m.left)
	m.left = m.left[n:]
	return n, nil
}

func (m *mixed) next() []byte {
	const runBytes = 64 << 10
	m.run++
	b := make([]byte, runBytes)
	switch m.run % 4 {
	case 0:
		m.random.Read(b)
	case 1:
		for at := 0; at < runBytes; at += 16 {
			m.random.Read(b[at : at+4]) // a number, and fields that are hardly used
		}
	default:
		copyText(b, rand.New(m.random))
	}
	return b
}

// copyText fills b with words of a small vocabulary, the first ones more often.
func copyText(b []byte, r *rand.Rand) {
	for at := 0; at < len(b); {
		n := r.IntN(1+r.IntN(4096)) + 1000
		at += copy(b[at:], fmt.Sprintf("%x ", n*n*7919))
	}
}

// disk2disk measures jobs and raw streams.
type disk2disk struct {
	wanrep, dir string
	size        int64
}

// A pass is one transfer. Rates are in bytes of content a second, CPU in seconds a
// GB of content at each end.
type pass struct{ rate, sender, receiver, whole, wire float64 }

const loopbackHead = `| 1 GB is 10⁹ bytes of content | raw QUIC stream, MB/s | job, MB/s | job : raw | whole job : raw | raw: CPU s/GB, sender + receiver | job: CPU s/GB, source + target | on the wire | goal | met |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`

func (b *disk2disk) row(ctx context.Context, kind content, pairs int) (line string, met bool, err error) {
	disk := filepath.Join(b.dir, kind.name+".raw")
	if err := fill(disk, b.size, kind); err != nil {
		return "", false, err
	}
	defer os.Remove(disk)
	var raw, job [5][]float64
	var ratio, whole []float64
	for i := range pairs {
		var r, j pass
		measure := []func() error{
			func() (err error) { r, err = b.raw(ctx); return err },
			func() (err error) { j, err = b.job(ctx, disk); return err },
		}
		for n := range measure { // who is first takes turns
			if err := measure[(n+i)%2](); err != nil {
				return "", false, err
			}
		}
		for n, of := range []func(pass) float64{
			func(p pass) float64 { return p.rate / 1e6 }, func(p pass) float64 { return p.sender },
			func(p pass) float64 { return p.receiver }, func(p pass) float64 { return p.whole }, func(p pass) float64 { return p.wire },
		} {
			raw[n], job[n] = append(raw[n], of(r)), append(job[n], of(j))
		}
		ratio, whole = append(ratio, j.rate/r.rate), append(whole, j.whole/r.rate)
	}
	rates := func(v []float64) string {
		s := spreadOf(v)
		return fmt.Sprintf("%.0f (%.0f to %.0f)", s.median, s.least, s.most)
	}
	met = spreadOf(ratio).median >= loopbackGoal
	cells := []string{
		kind.title, rates(raw[0]), rates(job[0]), spreadOf(ratio).String(), spreadOf(whole).String(),
		fmt.Sprintf("%v + %v", spreadOf(raw[1]), spreadOf(raw[2])), fmt.Sprintf("%v + %v", spreadOf(job[1]), spreadOf(job[2])),
		fmt.Sprintf("%.2f", spreadOf(job[4]).median), fmt.Sprintf("≥ %.1f", loopbackGoal), yes(met),
	}
	return "| " + strings.Join(cells, " | ") + " |", met, nil
}

func fill(path string, size int64, kind content) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, kind.from(rand.NewChaCha8([32]byte{1})), size)
	return errors.Join(err, f.Close())
}

// raw sends as many bytes as the disk has over a raw stream.
func (b *disk2disk) raw(ctx context.Context) (pass, error) {
	self, err := os.Executable()
	if err != nil {
		return pass{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	receiver := exec.CommandContext(ctx, self, "raw-receive")
	receiver.Stderr = os.Stderr
	pipe, err := receiver.StdoutPipe()
	if err != nil {
		return pass{}, err
	}
	if err := receiver.Start(); err != nil {
		return pass{}, err
	}
	says := bufio.NewReader(pipe)
	port, err := says.ReadString('\n')
	if err != nil {
		return pass{}, errors.Join(err, receiver.Wait())
	}
	sender := exec.CommandContext(ctx, self, "raw-send", strings.TrimSpace(port), fmt.Sprint(b.size))
	sender.Stderr = os.Stderr
	if err := sender.Start(); err != nil {
		cancel()
		return pass{}, errors.Join(err, receiver.Wait())
	}
	var report rawReport
	err = json.NewDecoder(says).Decode(&report)
	if err := errors.Join(err, receiver.Wait(), sender.Wait()); err != nil {
		return pass{}, err
	}
	gb := float64(b.size) / 1e9
	return pass{rate: float64(b.size) / report.Seconds, sender: usedBy(sender.ProcessState) / gb, receiver: report.CPU / gb}, nil
}

// job runs a job between two new appliances.
func (b *disk2disk) job(ctx context.Context, disk string) (p pass, err error) {
	dir, err := os.MkdirTemp(b.dir, "job-")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	port, err := freePort()
	if err != nil {
		return p, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	target, err := newSite(ctx, b.wanrep, "", dir, "target", "paris", []string{"--listen", address}, "")
	if err != nil {
		return p, err
	}
	source, err := newSite(ctx, b.wanrep, "", dir, "source", "lyon", nil, "[[job]]\nname = \"now\"\npeer = \"paris\"\nvms = [\"sql01\"]\n"+
		fmt.Sprintf("[[vm]]\nname = \"sql01\"\ndisks = [{ name = \"os\", path = %q }]\n", disk))
	if err != nil {
		return p, err
	}
	serving, err := target.serve(ctx)
	if serving != nil {
		defer serving.kill()
	}
	if err != nil {
		return p, err
	}
	if err := source.pair(ctx, target, address); err != nil {
		return p, err
	}
	return b.runJob(ctx, source, serving)
}

func (b *disk2disk) runJob(ctx context.Context, source *site, serving *process) (p pass, err error) {
	spent, err := cpuOf(serving.cmd.Process.Pid)
	if err != nil {
		return p, err
	}
	received := newMeter(ctx)
	received.follow(serving.cmd.Process.Pid)
	run, err := source.start(ctx, "run", "now", "--config", source.config, "--json")
	if err != nil {
		received.close()
		return p, err
	}
	defer run.kill()
	document, err := run.wait(ctx)
	received.close()
	if err != nil {
		return p, err
	}
	after, err := cpuOf(serving.cmd.Process.Pid)
	if err != nil {
		return p, err
	}
	var report struct {
		Duration float64
		VMs      []struct{ Disks []progress.DiskTotals }
	}
	if err := json.Unmarshal(document, &report); err != nil {
		return p, fmt.Errorf("read the report: %w", err)
	}
	if len(report.VMs) != 1 || len(report.VMs[0].Disks) != 1 || report.VMs[0].Disks[0].Data != b.size {
		return p, fmt.Errorf("the job sent something else than the disk: %s", document)
	}
	size, gb := float64(b.size), float64(b.size)/1e9
	return pass{
		rate: size / received.span().Seconds(), whole: size / report.Duration,
		sender: usedBy(run.cmd.ProcessState) / gb, receiver: (after - spent).Seconds() / gb,
		wire: float64(report.VMs[0].Disks[0].Wire) / size,
	}, nil
}
