package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// long answers with the report of work that may take long, and with empty lines
// meanwhile. When the one who asked goes away, the work is called off.
func long(work func(context.Context, json.RawMessage) (json.RawMessage, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req json.RawMessage
		if err := readJSON(r, &req); err != nil {
			plain(func(*http.Request) (any, error) { return nil, err })(w, r)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		last := make(chan line, 1)
		go func() {
			report, err := work(ctx, req)
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
}

// Prune asks for a prune and returns its report, which may be there even beside an
// error. When ctx ends, the prune is called off; what was begun is gone on with by the
// next one.
func (c *Client) Prune(ctx context.Context, request any) (json.RawMessage, error) {
	return c.long(ctx, "/v1/prune", request)
}

// Scrub asks for parts of a point to be read again. What has rotted is noted by the
// appliance, which heals it when it can.
func (c *Client) Scrub(ctx context.Context, request any) error {
	_, err := c.long(ctx, "/v1/scrub", request)
	return err
}

func (c *Client) long(ctx context.Context, path string, request any) (json.RawMessage, error) {
	var last line
	err := c.stream(ctx, http.MethodPost, path, request, func(l line) bool {
		last = l
		return l.Report == nil && l.Error == nil
	})
	if err == nil && last.Error != nil {
		err = last.Error
	}
	return last.Report, err
}
