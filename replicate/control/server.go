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
	"sync"
	"time"

	"wanrep/replicate/progress"
)

// Serve answers requests on ln until ctx ends, then lets those under way
// finish, closes ln and returns nil. Runs see ctx end and park first.
func Serve(ctx context.Context, ln net.Listener, h Handler, log *slog.Logger) error {
	s := &server{h: h, runs: map[string]context.CancelFunc{}}
	return serveRoutes(ctx, ln, s.routes(), log)
}

// ServeReadOnly is Serve for a socket that changes nothing and tells no secrets: the
// status, the points and the events.
func ServeReadOnly(ctx context.Context, ln net.Listener, a Appliance, log *slog.Logger) error {
	return serveRoutes(ctx, ln, readOnlyRoutes(a), log)
}

func serveRoutes(ctx context.Context, ln net.Listener, routes http.Handler, log *slog.Logger) error {
	hs := &http.Server{
		Handler:           http.MaxBytesHandler(routes, maxRequestBytes),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		if hs.Shutdown(end) != nil {
			hs.Close()
		}
	})
	err := hs.Serve(&limited{Listener: ln, free: make(chan struct{}, maxConnections)})
	if stop() { // Serve ended by itself: the listener broke
		hs.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	<-ended
	return nil
}

type server struct {
	h Handler

	mu sync.Mutex
	// runs are those asked for here, by job.
	runs map[string]context.CancelFunc
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	addReadable(mux, s.h)
	mux.HandleFunc("GET /v1/logs", s.logs)
	mux.HandleFunc("GET /v1/goroutines", plain(goroutines))
	mux.HandleFunc("GET /v1/peers/{name}/status", plain(s.peerStatus))
	mux.HandleFunc("GET /v1/peers/{name}/points", plain(s.peerPoints))
	mux.HandleFunc("POST /v1/prune", long(s.h.Prune))
	mux.HandleFunc("POST /v1/scrub", long(s.h.Scrub))
	mux.HandleFunc("POST /v1/tested", plain(s.tested))
	mux.HandleFunc("POST /v1/pause", plain(s.pause))
	mux.HandleFunc("POST /v1/resume", plain(s.resume))
	mux.HandleFunc("PUT /v1/limit", plain(s.limit))
	mux.HandleFunc("PUT /v1/log-level", plain(s.level))
	mux.HandleFunc("GET /v1/pair", plain(s.peers))
	mux.HandleFunc("DELETE /v1/pair/{name}", plain(s.remove))
	mux.HandleFunc("DELETE /v1/runs/{job}", plain(s.interrupt))
	mux.HandleFunc("POST /v1/runs", s.run)
	mux.HandleFunc("POST /v1/pair/offer", s.offer)
	mux.HandleFunc("/", plain(func(r *http.Request) (any, error) {
		return nil, &Error{Code: NotFound, Text: fmt.Sprintf("the appliance knows no %.20q of %.80q", r.Method, r.URL.Path),
			Tip: "the command and the running appliance may be of different versions; compare wanrep version with wanrep status"}
	}))
	return mux
}

// addReadable adds what a read-only socket answers too.
func addReadable(mux *http.ServeMux, a Appliance) {
	mux.HandleFunc("GET /v1/status", plain(func(*http.Request) (any, error) { return a.Status(), nil }))
	mux.HandleFunc("GET /v1/points", plain(func(r *http.Request) (any, error) { return a.Points(r.Context()) }))
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		follow(w, r, a.Events(), func(e progress.Event) line { return line{Event: &e} })
	})
}

func readOnlyRoutes(a Appliance) http.Handler {
	mux := http.NewServeMux()
	addReadable(mux, a)
	mux.HandleFunc("/", plain(func(*http.Request) (any, error) {
		return nil, &Error{Code: ReadOnly, Text: "this socket only tells the status, the points and the events",
			Tip: "for anything else use the appliance's [control] socket"}
	}))
	return mux
}

// plain makes a handler of one question with one answer.
func plain(answer func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
		w.Header().Set("Content-Type", "application/json")
		v, err := answer(r)
		if err != nil {
			e := asError(err)
			w.WriteHeader(httpStatus(e.Code))
			v = errorAnswer{e}
		}
		json.NewEncoder(w).Encode(v)
	}
}

func (s *server) peerStatus(r *http.Request) (any, error) {
	return s.h.PeerStatus(r.Context(), r.PathValue("name"))
}

func (s *server) peerPoints(r *http.Request) (any, error) {
	vm := r.URL.Query().Get("vm")
	if vm == "" {
		return nil, &Error{Code: BadRequest, Text: "no VM is named"}
	}
	return s.h.PeerPoints(r.Context(), r.PathValue("name"), vm)
}

func (s *server) peers(r *http.Request) (any, error) {
	peers, err := s.h.Peers(r.Context())
	return peersAnswer{peers}, err
}

func (s *server) remove(r *http.Request) (any, error) {
	return struct{}{}, s.h.Remove(r.Context(), r.PathValue("name"))
}

func (s *server) interrupt(r *http.Request) (any, error) {
	s.mu.Lock()
	cancel, ok := s.runs[r.PathValue("job")]
	s.mu.Unlock()
	if !ok {
		return nil, &Error{Code: NotFound, Text: fmt.Sprintf("no run of job %.80q was asked for here", r.PathValue("job"))}
	}
	cancel()
	return struct{}{}, nil
}

// run runs a job and tells the status meanwhile.
func (s *server) run(w http.ResponseWriter, r *http.Request) {
	var req runRequest
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	err := readJSON(r, &req)
	if err == nil {
		err = s.begin(req.Job, cancel)
	}
	if err != nil {
		plain(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	defer s.end(req.Job)

	last := make(chan line, 1)
	go func() {
		var l line
		report, err := s.h.Run(ctx, req.Job)
		l.Report = report
		if err != nil {
			l.Error = asError(err)
		}
		last <- l
	}()
	out := newStream(w)
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		status := s.h.Status()
		if !out.send(line{Status: &status}) {
			cancel() // nobody reads: the run parks
		}
		select {
		case l := <-last:
			out.send(l)
			return
		case <-tick.C:
		}
	}
}

func (s *server) begin(job string, cancel context.CancelFunc) error {
	if job == "" {
		return &Error{Code: BadRequest, Text: "no job is named"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.runs[job]; ok {
		return &Error{Code: Busy, Text: fmt.Sprintf("job %q runs already", job), Tip: "wanrep top shows it"}
	}
	s.runs[job] = cancel
	return nil
}

func (s *server) end(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, job)
}

// offer makes a code and, if asked to, waits until it is used. When the one who
// waits goes away, the code is void.
func (s *server) offer(w http.ResponseWriter, r *http.Request) {
	var req offerRequest
	err := readJSON(r, &req)
	var o Offer
	if err == nil {
		o, err = s.h.Offer(r.Context())
	}
	if err != nil {
		plain(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	out := newStream(w)
	if !out.send(line{Offer: &o}) || !req.Wait {
		return
	}
	peer, err := s.h.Joined(r.Context(), o)
	if err != nil {
		out.send(line{Error: asError(err)})
		return
	}
	out.send(line{Joined: &peer})
}

// readJSON reads the whole body as one value, strictly.
func readJSON(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
		err = errors.New("something follows the request")
	}
	return &Error{Code: BadRequest, Text: fmt.Sprintf("read the request: %.200v", err)}
}

// stream sends lines; a reader that does not take one in time ends it.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newStream(w http.ResponseWriter) *stream {
	rc := http.NewResponseController(w)
	// The request is read; what is left of its deadline would end the stream.
	rc.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &stream{w: w, rc: rc}
}

func (s *stream) send(l line) bool {
	s.rc.SetWriteDeadline(time.Now().Add(answerTimeout))
	return json.NewEncoder(s.w).Encode(l) == nil && s.rc.Flush() == nil
}

// limited is a listener whose connections are counted: with maxConnections open
// the next waits in the kernel's queue.
type limited struct {
	net.Listener
	free chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	// A client that stays silent is cut after headerTimeout, so this ends.
	l.free <- struct{}{}
	release := sync.OnceFunc(func() { <-l.free })
	conn, err := l.Listener.Accept()
	if err != nil {
		release()
		return nil, err
	}
	return &counted{Conn: conn, release: release}, nil
}

type counted struct {
	net.Conn
	release func()
}

func (c *counted) Close() error {
	defer c.release()
	return c.Conn.Close()
}
