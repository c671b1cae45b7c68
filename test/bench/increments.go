package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"wanrep/diskio"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

// build builds wanrep in a directory and returns its path.
func build(ctx context.Context, dir string) (string, error) {
	wanrep := filepath.Join(dir, "wanrep")
	if runtime.GOOS == "windows" {
		wanrep += ".exe"
	}
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", wanrep, "wanrep/cmd/wanrep").CombinedOutput(); err != nil {
		return "", usageError{fmt.Errorf("build wanrep: %w\n%s", err, text)}
	}
	return wanrep, nil
}

// increments measures runs of a sparse disk after some of its content changed.
func increments(ctx context.Context, wanrep, dir string, size, content int64, runs int, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	p := &pairOfAppliances{wanrep: wanrep, dir: dir, size: size, content: content, random: rand.NewChaCha8([32]byte{2})}
	if err := p.set(ctx); err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel() // which ends the target
		p.target.Wait()
	}()
	if _, err := p.run(ctx); err != nil { // the first sends all
		return err
	}
	fmt.Fprintf(out, "| a run of a disk of %d GiB with %d MiB of content | changed, MiB | read, MiB | data sent, MiB | sent : changed | seconds | against 0 %% |\n"+
		"| --- | --- | --- | --- | --- | --- | --- |\n", size>>30, content>>20)
	var unchanged float64
	for _, percent := range []int64{0, 1, 2, 5} {
		var took []float64
		var r runReport
		var changed int64
		for range runs {
			var err error
			if changed, err = p.change(percent); err != nil {
				return err
			}
			s, err := seconds(func() (err error) { r, err = p.run(ctx); return err })
			if err != nil {
				return err
			}
			took = append(took, s)
		}
		if percent == 0 {
			unchanged = spreadOf(took).median
		}
		ratio := "-"
		disk := r.VMs[0].Disks[0]
		if changed > 0 {
			ratio = fmt.Sprintf("%.2f", float64(disk.Data)/float64(changed))
		}
		fmt.Fprintf(out, "| %d %% of the content changed | %.1f | %.1f | %.1f | %s | %v | %.2f |\n", percent, mebi(changed), mebi(disk.Read),
			mebi(disk.Data), ratio, spreadOf(took), spreadOf(took).median/unchanged)
	}
	return nil
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }

// A pairOfAppliances is a target that serves and a source whose job is run by hand, on
// this machine.
type pairOfAppliances struct {
	wanrep, dir   string
	size, content int64
	random        *rand.ChaCha8
	target        *exec.Cmd
}

func (p *pairOfAppliances) config(name string) string {
	return filepath.Join(p.dir, name, "wanrep.toml")
}

func (p *pairOfAppliances) disk(name string) string { return filepath.Join(p.dir, name+".raw") }

// set makes both appliances and the disk, starts the target and pairs the two.
func (p *pairOfAppliances) set(ctx context.Context) error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	if err := p.makeDisk(); err != nil {
		return err
	}
	return p.pair(ctx, jobOf("os"), "")
}

// pair makes both appliances, whose configs get some tables more, starts the target and
// pairs the two.
func (p *pairOfAppliances) pair(ctx context.Context, source, target string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for _, args := range [][]string{
		{"init", "target", "--dir", filepath.Join(p.dir, "target"), "--name", "target", "--listen", address},
		{"init", "source", "--dir", filepath.Join(p.dir, "source"), "--name", "source"},
	} {
		if _, err := p.output(ctx, "", args...); err != nil {
			return err
		}
	}
	if err := errors.Join(p.configure("source", source), p.configure("target", target)); err != nil {
		return err
	}
	if err := p.serve(ctx); err != nil {
		return err
	}
	text, err := p.output(ctx, "", "pair", "offer", "--config", p.config("target"), "--json")
	var offer struct{ Code string }
	if err == nil {
		err = json.Unmarshal(text, &offer)
	}
	if err != nil {
		return err
	}
	_, err = p.output(ctx, offer.Code, "pair", "join", address, "--config", p.config("source"), "--code-file", "-")
	return err
}

func freePort() (int, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}

// jobOf is the job j, which sends one VM of raw disks. Their paths are those of disk,
// from the config's directory.
func jobOf(disks ...string) string {
	var list []string
	for _, name := range disks {
		list = append(list, fmt.Sprintf("{ name = %q, path = \"../%s.raw\" }", name, name))
	}
	return "[[job]]\nname = \"j\"\npeer = \"target\"\nvms = [\"vm\"]\n\n[[vm]]\nname = \"vm\"\ndisks = [" + strings.Join(list, ", ") + "]\n"
}

// configure adds tables to a config.
func (p *pairOfAppliances) configure(name, tables string) error {
	f, err := os.OpenFile(p.config(name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + tables)
	return errors.Join(err, f.Close())
}

// serve starts the target, which ends with ctx, and waits until it is ready.
func (p *pairOfAppliances) serve(ctx context.Context) error {
	p.target = exec.CommandContext(ctx, p.wanrep, "serve", "--config", p.config("target"))
	if err := p.target.Start(); err != nil {
		return err
	}
	for range 1000 {
		if _, err := p.status(ctx, "target"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("the target does not answer")
}

// status asks a running appliance.
func (p *pairOfAppliances) status(ctx context.Context, name string) (progress.Status, error) {
	client := control.Client{Socket: filepath.Join(p.dir, name, "wanrep.sock")}
	return client.Status(ctx)
}

// piece is how much content lies together. Changes are spread over all of it.
const piece = 1 << 20

// at returns where the n-th block of content is on the disk.
func (p *pairOfAppliances) at(n int64) int64 {
	pieces := p.content / piece
	off := n * diskio.BlockBytes
	return off/piece*(p.size/pieces/piece*piece) + off%piece
}

func (p *pairOfAppliances) makeDisk() error {
	f, err := os.Create(p.disk("os"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(p.size); err != nil {
		return err
	}
	return p.write(f, 1)
}

// change gives that share of the content's blocks another content.
func (p *pairOfAppliances) change(percent int64) (bytes int64, err error) {
	if percent == 0 {
		return 0, nil
	}
	f, err := os.OpenFile(p.disk("os"), os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	every := 100 / percent
	return (p.content/diskio.BlockBytes + every - 1) / every * diskio.BlockBytes, p.write(f, every)
}

// write writes every n-th block of the content.
func (p *pairOfAppliances) write(f *os.File, every int64) error {
	b := make([]byte, diskio.BlockBytes)
	for n := int64(0); n < p.content/diskio.BlockBytes; n += every {
		p.random.Read(b)
		if _, err := f.WriteAt(b, p.at(n)); err != nil {
			return err
		}
	}
	return nil
}

// A runReport is what is used of the document of "wanrep run --json".
type runReport struct {
	Outcome string
	VMs     []struct {
		Disks []struct{ Read, Data int64 }
	}
}

func (p *pairOfAppliances) run(ctx context.Context) (r runReport, err error) {
	text, err := p.output(ctx, "", "run", "j", "--config", p.config("source"), "--json")
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err == nil && (r.Outcome != "committed" || len(r.VMs) != 1 || len(r.VMs[0].Disks) != 1) {
		err = fmt.Errorf("the run ended so: %s", text)
	}
	return r, err
}

// output runs a command that has to succeed and returns its stdout.
func (p *pairOfAppliances) output(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.wanrep, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("wanrep %s: %w\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.Bytes(), nil
}
