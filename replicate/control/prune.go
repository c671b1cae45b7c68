package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// prune answers with the report of a prune, which may take long, and with empty lines
// meanwhile. When the one who asked goes away, the prune is called off.
func (s *server) prune(w http.ResponseWriter, r *http.Request) {
	var req json.RawMessage
	if err := readJSON(r, &req); err != nil {
		plain(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	last := make(chan line, 1)
	go func() {
		report, err := s.h.Prune(ctx, req)
		l := line{Report: report}
		if err != nil {
			l.Error = asError(err)
		}
		last <- l
	}()
	out := newStream(w)
	quiet := time.NewTicker(quietEvery)
	defer quiet.Stop()
	for {
		select {
		case l := <-last:
			out.send(l)
			return
		case <-quiet.C:
			if !out.send(line{}) {
				cancel()
			}
		}
	}
}

// Prune asks for a prune and returns its report, which may be there even beside an
// error. When ctx ends, the prune is called off; what was begun is gone on with by the
// next one.
func (c *Client) Prune(ctx context.Context, request any) (json.RawMessage, error) {
	var last line
	err := c.stream(ctx, http.MethodPost, "/v1/prune", request, func(l line) bool {
		last = l
		return l.Report == nil && l.Error == nil
	})
	if err == nil && last.Error != nil {
		err = last.Error
	}
	return last.Report, err
}

func (s *server) tested(r *http.Request) (any, error) {
	var req json.RawMessage
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	return s.h.NoteTested(r.Context(), req)
}

// NoteTested says that a failover was tested, or takes that back, and returns what is
// known of the point then.
func (c *Client) NoteTested(ctx context.Context, request any) (json.RawMessage, error) {
	var report json.RawMessage
	err := c.ask(ctx, http.MethodPost, "/v1/tested", request, &report)
	return report, err
}
