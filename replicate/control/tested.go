package control

import (
	"context"
	"encoding/json"
	"net/http"
)

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
