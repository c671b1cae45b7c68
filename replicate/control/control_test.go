package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

// fake is an appliance whose runs last until told.
type fake struct {
	started chan string   // gets the job of each run that began
	finish  chan struct{} // closed: runs end well
	join    chan Peer
	voided  chan struct{}
	events  *progress.Feed[progress.Event]
	logs    *progress.Feed[LogLine]

	mu    sync.Mutex
	peers []Peer
	asked []string // what the operator wanted
}

func newFake() *fake {
	return &fake{started: make(chan string, 8), finish: make(chan struct{}), join: make(chan Peer, 1), voided: make(chan struct{}, 1),
		events: progress.NewFeed[progress.Event](2), logs: progress.NewFeed[LogLine](2),
		peers: []Peer{{Name: "branch a/b", Addresses: []string{"192.0.2.1:7443"}, Pin: "sha256:aa"}}}
}

func (f *fake) Status() progress.Status {
	return progress.Status{Schema: progress.Schema, Role: "source", Name: "branch-lyon"}
}

func (f *fake) Run(ctx context.Context, job string) (json.RawMessage, error) {
	if job == "nope" {
		return nil, &Error{Code: NotFound, Text: `no job "nope"`, Tip: "jobs: nightly"}
	}
	f.started <- job
	select {
	case <-f.finish:
		return json.RawMessage(`{"outcome":"committed"}`), nil
	case <-ctx.Done():
		return json.RawMessage(`{"outcome":"parked"}`), fmt.Errorf("run %s: %w", job, ctx.Err())
	}
}

func (f *fake) Scrub(_ context.Context, request json.RawMessage) (json.RawMessage, error) {
	if string(request) != `{"vm":"sql01"}` {
		return nil, fmt.Errorf("scrub was asked for %s", request)
	}
	return json.RawMessage("{}"), nil
}

func (f *fake) Prune(_ context.Context, request json.RawMessage) (json.RawMessage, error) {
	return request, &Error{Code: WrongRole, Text: "not here"}
}

func (f *fake) NoteTested(_ context.Context, request json.RawMessage) (json.RawMessage, error) {
	return request, nil
}

func (f *fake) Points(context.Context) (json.RawMessage, error) {
	return nil, &Error{Code: WrongRole, Text: "a source keeps no points"}
}

func (f *fake) Offer(context.Context) (Offer, error) {
	return Offer{Code: "wr1-secret", Expires: time.Unix(1000, 0).UTC()}, nil
}

func (f *fake) Joined(ctx context.Context, o Offer) (Peer, error) {
	select {
	case p := <-f.join:
		return p, nil
	case <-ctx.Done():
		f.voided <- struct{}{}
		return Peer{}, ctx.Err()
	}
}

func (f *fake) Peers(context.Context) ([]Peer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Peer(nil), f.peers...), nil
}

func (f *fake) Remove(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.peers {
		if p.Name == name {
			f.peers = append(f.peers[:i], f.peers[i+1:]...)
			return nil
		}
	}
	return &Error{Code: NotFound, Text: "not paired with " + name}
}

func (f *fake) PeerStatus(_ context.Context, peer string) (progress.Status, error) {
	if peer != "dr/paris" {
		return progress.Status{}, &Error{Code: NotFound, Text: "not paired with " + peer}
	}
	return progress.Status{Role: "target", Name: peer}, nil
}

func (f *fake) PeerPoints(ctx context.Context, peer, vm string) (json.RawMessage, error) {
	if _, err := f.PeerStatus(ctx, peer); err != nil {
		return nil, err
	}
	return json.RawMessage(`"` + vm + `"`), nil
}

func (f *fake) Events() *progress.Feed[progress.Event] { return f.events }
func (f *fake) Logs() *progress.Feed[LogLine]          { return f.logs }

func (f *fake) Pause(_ context.Context, job, because string) error {
	if job == "nope" {
		return &Error{Code: NotFound, Text: `no job "nope"`}
	}
	return f.note("pause %q because %q", job, because)
}

func (f *fake) Resume(_ context.Context, job string) error { return f.note("resume %q", job) }
func (f *fake) Limit(_ context.Context, rate int64) error  { return f.note("limit %d", rate) }
func (f *fake) SetLogLevel(level slog.Level)               { f.note("log %v", level) }
func (f *fake) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	return nil
}

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve starts an appliance on a socket and returns a client and the way to end
// it, which reports what Serve returned.
func serve(t *testing.T, h Handler) (*Client, func() error) {
	t.Helper()
	path := filepath.Join(shortDir(t), "run", "w.sock")
	ln, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, h, slog.New(slog.DiscardHandler)) }()
	end := sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { end() })
	return &Client{Socket: path}, end
}

func TestQuestionsAndAnswers(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	ctx := t.Context()
	if s, err := c.Status(ctx); err != nil || s.Name != "branch-lyon" || s.Schema != progress.Schema {
		t.Errorf("Status = %+v, %v", s, err)
	}
	report, err := c.Prune(ctx, map[string]bool{"dry_run": true})
	if code(err) != WrongRole || string(report) != `{"dry_run":true}` {
		t.Errorf("prune: %s, %v", report, err)
	}
	if report, err = c.NoteTested(ctx, map[string]string{"vm": "sql01"}); err != nil || strings.TrimSpace(string(report)) != `{"vm":"sql01"}` {
		t.Errorf("tested: %s, %v", report, err)
	}
	if err := c.Scrub(ctx, map[string]string{"vm": "sql01"}); err != nil {
		t.Errorf("scrub: %v", err)
	}
	if _, err := c.Points(ctx); code(err) != WrongRole {
		t.Errorf("Points: got %v, want code %q", err, WrongRole)
	}
	if o, err := c.Offer(ctx); err != nil || o.Code != "wr1-secret" || !o.Expires.Equal(time.Unix(1000, 0)) {
		t.Errorf("Offer = %+v, %v", o, err)
	}
	if err := c.Remove(ctx, "branch a"); code(err) != NotFound {
		t.Errorf("Remove of a stranger: got %v, want code %q", err, NotFound)
	}
	if err := c.Remove(ctx, "branch a/b"); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if peers, err := c.Peers(ctx); err != nil || len(peers) != 0 {
		t.Errorf("Peers after Remove = %v, %v; want none", peers, err)
	}
}

func code(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func TestRunStreamsStatusThenReport(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	var seen int
	report, err := c.Run(t.Context(), "nightly", func(s progress.Status) {
		if seen++; seen == 1 {
			close(f.finish)
		}
		if s.Name != "branch-lyon" {
			t.Errorf("status of %q", s.Name)
		}
	})
	if err != nil || string(report) != `{"outcome":"committed"}` || seen == 0 {
		t.Errorf("Run = %s, %v after %d statuses", report, err, seen)
	}
	if _, err := c.Run(t.Context(), "nope", func(progress.Status) {}); code(err) != NotFound || err.(*Error).Hint() != "jobs: nightly" {
		t.Errorf("Run of no job = %v, want NotFound with its hint", err)
	}
}

func TestRunIsInterruptedAndReports(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-f.started; cancel() }()
	report, err := c.Run(ctx, "nightly", func(progress.Status) {})
	if string(report) != `{"outcome":"parked"}` || code(err) != Interrupted {
		t.Errorf("Run = %s, %v; want the parked report and code %q", report, err, Interrupted)
	}
}

func TestRunEndsWithTheAppliance(t *testing.T) {
	f := newFake()
	c, end := serve(t, f)
	go func() { <-f.started; end() }()
	report, err := c.Run(t.Context(), "nightly", func(progress.Status) {})
	if string(report) != `{"outcome":"parked"}` || code(err) != Interrupted {
		t.Errorf("Run = %s, %v; want the parked report", report, err)
	}
	if err := end(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if _, err := os.Lstat(c.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestOneRunOfAJobAtATime(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	first := make(chan error, 1)
	go func() {
		_, err := c.Run(t.Context(), "nightly", func(progress.Status) {})
		first <- err
	}()
	<-f.started
	if _, err := c.Run(t.Context(), "nightly", func(progress.Status) {}); code(err) != Busy {
		t.Errorf("second run: got %v, want code %q", err, Busy)
	}
	close(f.finish)
	if err := <-first; err != nil {
		t.Errorf("first run: %v", err)
	}
}

func TestOfferWaits(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	var shown Offer
	peer, err := c.OfferAndWait(t.Context(), func(o Offer) {
		shown = o
		f.join <- Peer{Name: "branch-lyon", Pin: "sha256:bb"}
	})
	if err != nil || peer.Name != "branch-lyon" || shown.Code != "wr1-secret" {
		t.Errorf("OfferAndWait = %+v, %v; shown %+v", peer, err, shown)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = c.OfferAndWait(ctx, func(Offer) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v, want context.Canceled", err)
	}
	select {
	case <-f.voided:
	case <-time.After(5 * time.Second):
		t.Error("the code lives on after the one who waited went away")
	}
}

func TestListen(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "w.sock")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	ln, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	if info, err := os.Lstat(path); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o660) {
		t.Errorf("mode = %v, %v; want 0660", info.Mode(), err)
	}
	ln.Close()

	c, _ := serve(t, newFake())
	_, err = Listen(t.Context(), c.Socket)
	if e, ok := errors.AsType[*InUseError](err); !ok || e.Name != "branch-lyon" || e.Role != "source" {
		t.Errorf("over a live socket: got %v, want an InUseError that names source branch-lyon", err)
	}
	if info, err := os.Stat(filepath.Dir(c.Socket)); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm()&0o007 != 0) {
		t.Errorf("the new directory is open to others: %v, %v", info.Mode(), err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), file); err == nil || !strings.Contains(err.Error(), "another kind") {
		t.Errorf("over a file: %v", err)
	}
	if data, err := os.ReadFile(file); string(data) != "precious" {
		t.Errorf("the file is %q now, %v", data, err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 108))
	if _, err := Listen(t.Context(), long); err == nil || !strings.Contains(err.Error(), "allows 10") {
		t.Errorf("too long a path: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := shortDir(t)
	stale := filepath.Join(dir, "stale")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	tests := []struct{ name, socket, want string }{
		{name: "missing", socket: filepath.Join(dir, "none"), want: "there is no such socket"},
		{name: "stale", socket: stale, want: "is gone"},
		{name: "too long", socket: filepath.Join(dir, strings.Repeat("x", 200)), want: "allows 10"},
		{name: "not named", want: "is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := (&Client{Socket: tt.socket}).Status(t.Context())
			e, ok := errors.AsType[*UnreachableError](err)
			if !ok || !strings.Contains(err.Error(), tt.want) || e.Hint() == "" {
				t.Errorf("got %v, want an UnreachableError with %q and a hint", err, tt.want)
			}
		})
	}
	t.Run("permission", func(t *testing.T) {
		if os.Geteuid() == 0 || runtime.GOOS == "windows" {
			t.Skip("this account may open every file")
		}
		c, _ := serve(t, newFake())
		os.Chmod(c.Socket, 0)
		_, err := c.Status(t.Context())
		if e, ok := errors.AsType[*UnreachableError](err); !ok || !strings.Contains(e.Hint(), "group") {
			t.Errorf("got %v, want a hint at the group", err)
		}
	})
	t.Run("cut", func(t *testing.T) {
		c := scripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{\"sche")
		if _, err := c.Status(t.Context()); !isUnreachable(err) {
			t.Errorf("got %v, want an UnreachableError", err)
		}
		if _, err := c.Run(t.Context(), "j", func(progress.Status) {}); !isUnreachable(err) {
			t.Errorf("run: got %v, want an UnreachableError", err)
		}
	})
	t.Run("foreign", func(t *testing.T) {
		c := scripted(t, "SSH-2.0-OpenSSH_9.2\r\n")
		if _, err := c.Status(t.Context()); !isUnreachable(err) {
			t.Errorf("got %v, want an UnreachableError", err)
		}
	})
}

func isUnreachable(err error) bool {
	_, ok := errors.AsType[*UnreachableError](err)
	return ok
}

// scripted is a socket where everybody gets the same answer, and then the end.
func scripted(t *testing.T, answer string) *Client {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 4096))
			io.WriteString(conn, answer)
			conn.Close()
		}
	}()
	return &Client{Socket: path}
}

func TestHostileRequests(t *testing.T) {
	c, _ := serve(t, newFake())
	post := func(path, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	tests := []struct{ name, request, want string }{
		{name: "not HTTP", request: "\x00\x01\x02\r\n\r\n", want: "400"},
		{name: "unknown path", request: "GET /etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", want: `"code":"not found"`},
		{name: "wrong method", request: post("/v1/status", ""), want: `"code":"not found"`},
		{name: "no JSON", request: post("/v1/runs", "job=nightly"), want: `"code":"bad request"`},
		{name: "unknown field", request: post("/v1/runs", `{"job":"a","shell":"rm"}`), want: `"code":"bad request"`},
		{name: "two values", request: post("/v1/runs", `{"job":"a"}{"job":"b"}`), want: `"code":"bad request"`},
		{name: "no job", request: post("/v1/runs", `{}`), want: `"code":"bad request"`},
		{name: "big body", request: post("/v1/runs", `{"job":"`+strings.Repeat("a", maxRequestBytes)+`"}`), want: "too large"},
		{name: "big header", request: "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", want: "431"},
		{name: "control characters", request: post("/v1/runs", "{\"job\":\"\x1b[2J\"}"), want: `"code":"bad request"`},
		{name: "up and away", request: "DELETE /v1/pair/..%2f..%2fetc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", want: `"code":"not found"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("unix", c.Socket)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			go io.WriteString(conn, tt.request)
			answer, _ := io.ReadAll(conn)
			if !strings.Contains(string(answer), tt.want) {
				t.Errorf("got %.400q, want %q", answer, tt.want)
			}
		})
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	c, _ := serve(t, newFake())
	var silent []net.Conn
	for range maxConnections + 8 {
		conn, err := net.Dial("unix", c.Socket)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	for _, conn := range silent {
		conn.Close()
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("after a crowd went away: %v", err)
	}
}

func TestServeTellsOfABrokenListener(t *testing.T) {
	ln, err := Listen(t.Context(), filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	err = Serve(t.Context(), ln, newFake(), slog.New(slog.DiscardHandler))
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v, want the listener's error", err)
	}
}
