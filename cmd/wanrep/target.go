package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"wanrep/configs"
	"wanrep/diskio/durable"
	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// A targetAppliance is the one that keeps the replicas.
type targetAppliance struct {
	cfg      *configs.Config
	board    *progress.Board
	dir      durable.FS
	state    durable.FS
	store    *resume.Store
	listener *quicx.Listener
	engine   *replicate.Target
	peers    *peerBook
	pairing  pairing
}

var _ appliance = (*targetAppliance)(nil)

func openTarget(cfg *configs.Config, log *slog.Logger) (_ *targetAppliance, err error) {
	identity, err := loadIdentity(cfg)
	if err != nil {
		return nil, err
	}
	t := &targetAppliance{cfg: cfg, board: progress.NewBoard(cfg.Role, cfg.Name, readVersion().Version), peers: &peerBook{file: cfg.File}}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if t.state, err = durable.OS(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	if t.dir, err = openStoreDir(cfg.Store.Path); err != nil {
		return nil, err
	}
	t.store, err = resume.Open(t.dir, resume.Config{
		Format: vhdxstore.Format{}, Software: softwareVersion(), Signer: identity.Signer(), Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", cfg.Store.Path, err)
	}
	t.listener, err = quicx.Listen(quicx.ListenConfig{
		Identity:    identity,
		Address:     cfg.Listen.Address,
		Peers:       linkPeers(cfg.Peers),
		StateDir:    cfg.StateDir,
		MaxStreams:  replicate.MaxStreams,
		IdleTimeout: time.Duration(cfg.Link.IdleTimeout),
		KeepAlive:   time.Duration(cfg.Link.Keepalive),
		OnPaired:    t.paired,
		OnEvent:     tellEvents(t.board),
		Log:         log,
	})
	if isAddrInUse(err) {
		return nil, fail(exitFailed, "another process has the port; set [listen] address to one that is free", "%w", err)
	}
	if err != nil {
		return nil, err
	}
	t.engine = replicate.NewTarget(replicate.TargetConfig{
		Name: cfg.Name, Software: softwareVersion(), Store: t.store, State: t.state, Board: t.board,
		Space: func() (s progress.Store, err error) {
			s.Path = cfg.Store.Path
			s.Free, s.Total, err = durable.Space(cfg.Store.Path)
			return s, err
		}, Retention: retentionRules(cfg.Retention), Log: log,
		Scrub: replicate.ScrubRules{
			Every: time.Duration(cfg.Scrub.Every), Sample: float64(cfg.Scrub.Sample), MaxRate: int64(cfg.Scrub.MaxRate),
		},
	})
	for _, p := range cfg.Peers {
		t.board.Link(p.Name, func(*progress.Link) {})
	}
	return t, nil
}

// openStoreDir opens a store's directory, which is made if its parent is there: a
// mistyped path or a file system that is not mounted should not become a store.
func openStoreDir(path string) (durable.FS, error) {
	dir, err := durable.OS(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeStoreDir(path); err != nil {
			return nil, fail(exitFailed, "make the directory, or set [store] path", "make the store's directory: %w", err)
		}
		dir, err = durable.OS(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the store's directory: %w", err)
	}
	return dir, nil
}

func makeStoreDir(path string) error {
	parent, err := durable.OS(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := parent.Mkdir(filepath.Base(path), 0o750); err != nil {
		return err
	}
	return parent.SyncDir(".")
}

// Serve receives what the sources send.
func (t *targetAppliance) Serve(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beside.Go(func() { t.board.Run(ctx) })
	watch := newLinkWatch(t.board)
	return t.engine.Serve(ctx, func(ctx context.Context) (replicate.Link, error) {
		got, err := t.listener.Accept(ctx)
		if err != nil {
			return nil, err
		}
		beside.Go(func() { watch.follow(got) })
		return quicLink{got}, nil
	})
}

// Close ends all links and frees the store.
func (t *targetAppliance) Close() error {
	var errs []error
	if t.listener != nil {
		errs = append(errs, t.listener.Close())
	}
	if t.store != nil {
		errs = append(errs, t.store.Close())
	}
	for _, dir := range []durable.FS{t.dir, t.state} {
		if dir != nil {
			errs = append(errs, dir.Close())
		}
	}
	return errors.Join(errs...)
}

// Status returns the newest snapshot of the board.
func (t *targetAppliance) Status() progress.Status { return t.board.Snapshot() }

// Run tells that a target has no jobs.
func (t *targetAppliance) Run(context.Context, string) (json.RawMessage, error) {
	return nil, &control.Error{Code: control.WrongRole, Text: "a target runs no jobs", Tip: "run the job at its source"}
}

// Points lists the store.
func (t *targetAppliance) Points(context.Context) (json.RawMessage, error) {
	points, err := t.store.List()
	if err != nil {
		return nil, fmt.Errorf("list the store: %w", err)
	}
	if points == nil {
		points = []resume.Point{}
	}
	return json.Marshal(replicate.Points{Schema: replicate.PointsSchema, Points: points})
}

// Prune removes the points that the keep rules let go, or tells which.
func (t *targetAppliance) Prune(ctx context.Context, request json.RawMessage) (json.RawMessage, error) {
	var r replicate.PruneRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, &control.Error{Code: control.BadRequest, Text: fmt.Sprintf("read the request: %.200v", err)}
	}
	report, pruning := t.engine.Prune(ctx, r)
	doc, err := json.Marshal(report)
	return doc, errors.Join(pruning, err)
}

// NoteTested notes in the store that a failover was tested.
func (t *targetAppliance) NoteTested(_ context.Context, request json.RawMessage) (json.RawMessage, error) {
	var r replicate.TestedRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, &control.Error{Code: control.BadRequest, Text: fmt.Sprintf("read the request: %.200v", err)}
	}
	report, err := t.engine.NoteTested(r)
	if err != nil {
		return nil, fmt.Errorf("note that point %.32q was tested: %w", r.Point, err)
	}
	return json.Marshal(report)
}

// Scrub reads parts of a point again and notes what is damaged.
func (t *targetAppliance) Scrub(ctx context.Context, request json.RawMessage) (json.RawMessage, error) {
	var r replicate.ScrubRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, &control.Error{Code: control.BadRequest, Text: fmt.Sprintf("read the request: %.200v", err)}
	}
	return json.RawMessage("{}"), t.engine.Scrub(ctx, r)
}

// paired keeps a pairing before the source is told that it succeeded. Whichever
// copy of a source has the code is the source from now on.
func (t *targetAppliance) paired(p quicx.Peer) error {
	if err := t.peers.add(configs.Peer{Name: p.Name, Pin: p.Pin}); err != nil {
		return err
	}
	if err := t.engine.Forget(p.Name); err != nil {
		return err
	}
	t.board.Link(p.Name, func(*progress.Link) {})
	t.pairing.joined(control.Peer{Name: p.Name, Addresses: []string{}, Pin: p.Pin})
	return nil
}

// Offer makes a one-time code.
func (t *targetAppliance) Offer(context.Context) (control.Offer, error) {
	code, expires := t.listener.Offer(quicx.OfferTTL)
	o := control.Offer{Code: code, Expires: expires.UTC()}
	t.pairing.offered(o)
	return o, nil
}

// Joined waits until a source has used the code.
func (t *targetAppliance) Joined(ctx context.Context, o control.Offer) (control.Peer, error) {
	p, err := t.pairing.wait(ctx, o)
	if ctx.Err() != nil && t.pairing.withdraw(o) {
		t.listener.CancelOffer()
	}
	return p, err
}

// Peers returns the sources that may attach.
func (t *targetAppliance) Peers(context.Context) ([]control.Peer, error) {
	peers, err := t.peers.list()
	return controlPeers(peers), err
}

// Remove forgets a source and ends its links.
func (t *targetAppliance) Remove(_ context.Context, name string) error {
	if err := t.peers.remove(name); err != nil {
		return err
	}
	peers, err := t.peers.list()
	if err != nil {
		return err
	}
	return t.listener.SetPeers(linkPeers(peers))
}
