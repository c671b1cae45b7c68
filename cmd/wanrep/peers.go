package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"wanrep/configs"
	"wanrep/diskio/durable"
	"wanrep/quicx"
	"wanrep/replicate/control"
)

// A peerBook is the [[peer]] tables of an appliance's config file, which is the
// only place where pairings are kept. The file is read anew each time, so that a
// running appliance sees what a command wrote.
type peerBook struct {
	file string

	mu sync.Mutex
}

func (b *peerBook) list() ([]configs.Peer, error) {
	cfg, err := configs.Load(b.file)
	if err != nil {
		return nil, err
	}
	return cfg.Peers, nil
}

// find returns a paired peer.
func (b *peerBook) find(name string) (configs.Peer, error) {
	peers, err := b.list()
	if err != nil {
		return configs.Peer{}, err
	}
	i := slices.IndexFunc(peers, func(p configs.Peer) bool { return p.Name == name })
	if i < 0 || peers[i].Pin == "" {
		return configs.Peer{}, notPaired(name)
	}
	return peers[i], nil
}

// notPaired says that there is no pairing with a peer.
func notPaired(name string) error {
	return &control.Error{Code: codeNotPaired, Text: fmt.Sprintf("not paired with %q", name),
		Tip: "run wanrep pair offer at the target, then wanrep pair join ADDRESS at the source; wanrep pair list shows who is known"}
}

// add keeps a pairing, in place of an older one of the same name.
func (b *peerBook) add(p configs.Peer) error {
	return b.edit(func(text []byte) ([]byte, error) { return configs.WithPeer(b.file, text, p) })
}

// remove forgets a pairing.
func (b *peerBook) remove(name string) error {
	return b.edit(func(text []byte) ([]byte, error) {
		text, found, err := configs.WithoutPeer(b.file, text, name)
		if err == nil && !found {
			err = &control.Error{Code: control.NotFound, Text: fmt.Sprintf("there is no pairing with %q", name), Tip: "wanrep pair list shows who is known"}
		}
		return text, err
	})
}

// edit replaces the file in one step and leaves its mode and its owner as they
// are: an administrator pairs, and the appliance's own account must still read it.
func (b *peerBook) edit(change func([]byte) ([]byte, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	path, err := filepath.EvalSymlinks(b.file)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if text, err = change(text); err != nil {
		return err
	}
	if err := replaceFile(path, text, info); err != nil {
		return &control.Error{Code: control.Failed, Text: fmt.Sprintf("write the pairing to %s: %v", path, err),
			Tip: "the appliance's account must be able to write to the file's directory"}
	}
	return nil
}

func replaceFile(path string, text []byte, like fs.FileInfo) error {
	dir, err := durable.OS(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := durable.WriteFile(dir, filepath.Base(path), text, like.Mode().Perm()); err != nil {
		return err
	}
	return keepOwner(path, like)
}

// linkPeers are peers as links know them; those that are named but not paired yet
// are left out.
func linkPeers(peers []configs.Peer) []quicx.Peer {
	var out []quicx.Peer
	for _, p := range peers {
		if p.Pin != "" {
			out = append(out, quicx.Peer{Name: p.Name, Addresses: p.Addresses, Pin: p.Pin})
		}
	}
	return out
}

// controlPeers are peers as commands print them.
func controlPeers(peers []configs.Peer) []control.Peer {
	out := []control.Peer{}
	for _, p := range peers {
		out = append(out, control.Peer{Name: p.Name, Addresses: append([]string{}, p.Addresses...), Pin: p.Pin})
	}
	return out
}
