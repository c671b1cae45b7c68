package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"wanrep/replicate/wire"
	"wanrep/resume"
)

// PointsSchema names the form of a Points in JSON.
const PointsSchema = "wanrep.points/1"

// Points are restore points and parts, as a target lists them.
type Points struct {
	Schema string         `json:"schema"`
	Points []resume.Point `json:"points"`
	// Older is how many older points a target left out that was asked over a link.
	Older int `json:"older,omitempty"`
}

// viewPoints is what a source may know of the points of one of its VMs, as a message.
func (t *Target) viewPoints(source, vm string) (*wire.StatusReply, error) {
	points, err := t.cfg.Store.ListVM(source, vm)
	if err != nil {
		t.cfg.Log.Error("points not listed", "peer", source, "vm", vm, "err", err)
		return nil, &RefusedError{Code: wire.CodeStore, Text: "the points cannot be listed; the target's log says why"}
	}
	data, err := fittingPoints(points)
	if err != nil {
		return nil, err
	}
	return &wire.StatusReply{JSON: data}, nil
}

// fittingPoints is a document of as many points as fit into a message. The oldest,
// which come first, are left out.
func fittingPoints(all []resume.Point) ([]byte, error) {
	for older := 0; ; older += (len(all)-older)/8 + 1 {
		data, err := json.Marshal(Points{PointsSchema, append([]resume.Point{}, all[older:]...), older})
		if err != nil || len(data) <= wire.MaxStatusBytes {
			return data, err
		}
	}
}

// PeerPoints asks a target for the points of one of this source's VMs, the oldest
// first; of very many only the newest. What it returns is fit to be shown.
func (s *Source) PeerPoints(ctx context.Context, peer, vm string) (Points, error) {
	data, err := s.askPeer(ctx, peer, &wire.StatusRequest{PointsOf: vm})
	if err != nil {
		return Points{}, err
	}
	return readPoints(peer, data)
}

// readPoints makes a list of what a peer sent.
func readPoints(peer string, data []byte) (Points, error) {
	var p Points
	if err := json.Unmarshal(data, &p); err != nil {
		return p, &wire.ProtocolError{What: fmt.Sprintf("points at %s", peer), Reason: err.Error()}
	}
	clean(reflect.ValueOf(&p).Elem())
	p.Schema = PointsSchema
	return p, nil
}
