package quicx

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

func TestPairing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		var stored []Peer
		l := w.targetWith(ListenConfig{OnPaired: func(p Peer) error {
			stored = append(stored, p)
			return nil
		}})
		echo(l)
		e := w.endpoint(w.sourceConfig(src, 1))
		code, expires := l.Offer(0)
		if until := time.Until(expires); until != OfferTTL {
			t.Errorf("the code expires in %v", until)
		}
		peer, err := e.Join(t.Context(), w.targetAddr.String(), code)
		if err != nil {
			t.Fatal(err)
		}
		want := w.peer()
		if peer.Name != want.Name || peer.Pin != want.Pin || len(peer.Addresses) != 1 || peer.Addresses[0] != want.Addresses[0] {
			t.Errorf("the source remembers %+v, want %+v", peer, want)
		}
		if len(stored) != 1 || stored[0].Name != "branch-lyon" || stored[0].Pin != src.Pin() {
			t.Errorf("the target remembers %+v", stored)
		}
		link, err := e.Dial(t.Context(), peer)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := say(t.Context(), link, "hello"); got != "hello" {
			t.Errorf("the link after pairing: %v", err)
		}
		if _, err := e.Join(t.Context(), w.targetAddr.String(), code); classOf(err) != Refused {
			t.Errorf("the code a second time: %v, want refused", err)
		}
	})
}

func TestPairingRefusals(t *testing.T) {
	addr := udpAddr("203.0.113.1", 7443).String()
	tests := []struct {
		name string
		join func(t *testing.T, w *world, l *Listener, e *Endpoint) error
		want Class
		hint string
	}{
		{"no offer", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			_, err := e.Join(t.Context(), addr, newPairCode(w.identity.pin).String())
			return err
		}, Refused, "pair offer"},
		{"expired", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			code, _ := l.Offer(time.Minute)
			time.Sleep(time.Minute)
			_, err := e.Join(t.Context(), addr, code)
			return err
		}, Refused, "pair offer"},
		{"cancelled", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			code, _ := l.Offer(0)
			l.CancelOffer()
			_, err := e.Join(t.Context(), addr, code)
			return err
		}, Refused, "pair offer"},
		{"replaced by a newer offer", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			code, _ := l.Offer(0)
			l.Offer(0)
			_, err := e.Join(t.Context(), addr, code)
			return err
		}, Auth, "pair offer"},
		{"three wrong codes, then the right one", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			code, _ := l.Offer(0)
			for range 3 {
				if _, err := e.Join(t.Context(), addr, newPairCode(w.identity.pin).String()); classOf(err) != Auth {
					t.Errorf("a wrong code: %v, want auth", err)
				}
			}
			_, err := e.Join(t.Context(), addr, code)
			return err
		}, Refused, "pair offer"},
		{"another appliance answers", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			l.Offer(0)
			_, err := e.Join(t.Context(), addr, newPairCode(testIdentity(t, "x").pin).String())
			return err
		}, Auth, "address"},
		{"the name is taken", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			if err := l.SetPeers([]Peer{{Name: "branch-lyon", Pin: testIdentity(t, "x").Pin()}}); err != nil {
				t.Fatal(err)
			}
			code, _ := l.Offer(0)
			_, err := e.Join(t.Context(), addr, code)
			return err
		}, Refused, "remove it there first"},
		{"nobody there", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			code, _ := l.Offer(0)
			l.Close()
			_, err := e.Join(t.Context(), addr, code)
			return err
		}, Dropped, "UDP"},
		{"not a code", func(t *testing.T, w *world, l *Listener, e *Endpoint) error {
			_, err := e.Join(t.Context(), addr, "wr1-hello")
			return err
		}, Local, "pair offer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				l := w.target()
				e := w.endpoint(w.sourceConfig(testIdentity(t, "branch-lyon"), 1))
				err := test.join(t, w, l, e)
				var known *Error
				if !errors.As(err, &known) || known.Class != test.want || !strings.Contains(known.Hint(), test.hint) {
					t.Errorf("got %v, want class %v with a hint of %q", err, test.want, test.hint)
				}
				if known != nil {
					t.Logf("%s\n\thint: %s", known, known.Hint())
				}
				if len(l.peers) > 1 || len(l.peers) == 1 && test.name != "the name is taken" {
					t.Errorf("the target remembers %v", l.peers)
				}
			})
		})
	}
}

// A target that cannot store the pairing does not pair, and the code is still good.
func TestPairingThatCannotBeStored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		full := errors.New("no space left on device")
		l := w.targetWith(ListenConfig{OnPaired: func(Peer) error { return full }})
		e := w.endpoint(w.sourceConfig(testIdentity(t, "branch-lyon"), 1))
		code, _ := l.Offer(0)
		if _, err := e.Join(t.Context(), w.targetAddr.String(), code); classOf(err) != Refused {
			t.Errorf("got %v, want refused", err)
		}
		if len(l.peers) != 0 {
			t.Errorf("the target lets in %v", l.peers)
		}
		full = nil
		if _, err := e.Join(t.Context(), w.targetAddr.String(), code); err != nil {
			t.Errorf("once there is space: %v", err)
		}
	})
}

// A source in the pairing protocol cannot reach the engine, whatever it sends, and
// one that sends nothing is gone after ten seconds.
func TestPairingReachesNothingElse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l := w.target()
		l.Offer(0)
		tr := &quic.Transport{Conn: w.node(udpAddr(uplinkIP(0), 5000))}
		defer tr.Conn.Close()
		defer tr.Close()
		config := clientTLS(testIdentity(t, "x"), protocolPair, only(w.identity.pin), nil)
		for _, text := range []string{"", "\x01", "\x02\x01a" + strings.Repeat("x", 32), "\x01\xff" + strings.Repeat("x", 400), "\x01\x01\x1b" + strings.Repeat("x", 32)} {
			conn, err := tr.Dial(t.Context(), w.targetAddr, config, quicConfig(time.Minute, time.Second, 1))
			if err != nil {
				t.Fatal(err)
			}
			if text != "" {
				s, err := conn.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				s.Write([]byte(text))
				if text != "\x01" {
					s.Close()
				}
			}
			began := time.Now()
			select {
			case <-conn.Context().Done():
			case <-time.After(time.Minute):
				t.Errorf("%q: the connection lives on", text)
			}
			if took := time.Since(began); took > pairTimeout+5*time.Second {
				t.Errorf("%q: it lived for %v", text, took)
			}
			conn.CloseWithError(0, "")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if link, err := l.Accept(ctx); err == nil {
			t.Errorf("the engine got %v", link)
		}
		if !l.offer.valid() || l.offer.tries != 0 {
			t.Errorf("malformed requests used up tries: %+v", l.offer)
		}
	})
}

// A proof is worth something on its own TLS connection only.
func TestProofsAreBound(t *testing.T) {
	base := transcript{code: newPairCode(Pin{1}), exporter: []byte("one"), source: Pin{2}, target: Pin{1}, sourceName: "a", targetName: "b"}
	edits := map[string]func(*transcript){
		"exporter":    func(t *transcript) { t.exporter = []byte("two") },
		"source":      func(t *transcript) { t.source = Pin{3} },
		"target":      func(t *transcript) { t.target = Pin{3} },
		"source name": func(t *transcript) { t.sourceName = "c" },
		"target name": func(t *transcript) { t.targetName = "c" },
		"names moved": func(t *transcript) { t.sourceName, t.targetName = "ab", "" },
		"secret":      func(t *transcript) { t.code.secret[0] ^= 1 },
	}
	for name, edit := range edits {
		other := base
		edit(&other)
		if bytes.Equal(base.targetProof(), other.targetProof()) {
			t.Errorf("the target's proof does not cover the %s", name)
		}
		if name != "target name" && bytes.Equal(base.sourceProof(), other.sourceProof()) {
			t.Errorf("the source's proof does not cover the %s", name)
		}
	}
	if bytes.Equal(base.sourceProof(), base.targetProof()) {
		t.Error("both sides have the same proof")
	}
}

func TestCodeForm(t *testing.T) {
	c := newPairCode(testIdentity(t, "x").pin)
	s := c.String()
	if len(s) > 60 || !strings.HasPrefix(s, "wr1-") {
		t.Errorf("code: %q", s)
	}
	for _, typed := range []string{s, " " + s + "\n", strings.ToUpper(s), strings.ReplaceAll(s, "o", "0"), s[:10] + " \n" + s[10:], strings.ReplaceAll(s[4:], "-", " - ")} {
		got, err := parsePairCode(typed)
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(typed)), "wr1-") != (err == nil) {
			t.Errorf("%q: %v", typed, err)
		}
		if err == nil && got != c {
			t.Errorf("%q was read as another code", typed)
		}
	}
	for i := 4; i < len(s); i++ { // each single typing mistake shows
		for _, r := range "ax7" {
			if typed := s[:i] + string(r) + s[i+1:]; typed != s {
				if got, err := parsePairCode(typed); err == nil && got == c {
					t.Errorf("a mistake at %d was not noticed", i)
				}
			}
		}
	}
}

func FuzzPairCode(f *testing.F) {
	f.Add(newPairCode(Pin{1, 2, 3}).String())
	f.Add("wr1-")
	f.Add("wr1-" + strings.Repeat("7", 46))
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parsePairCode(s)
		if err != nil {
			return
		}
		if again, err := parsePairCode(c.String()); err != nil || again != c {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func FuzzPairingMessages(f *testing.F) {
	tr := transcript{code: newPairCode(Pin{1}), sourceName: "branch-lyon", targetName: "dr-paris"}
	f.Add(formatJoin(tr))
	f.Add(acceptJoin(tr))
	f.Add(refuseJoin(joinWrongCode))
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, _, err := readJoin(bytes.NewReader(b)); err == nil && checkName(name) != nil {
			t.Errorf("name %q came through", name)
		}
		if name, err := readAnswer(bytes.NewReader(b), tr); err == nil && !bytes.HasPrefix(b, acceptJoin(tr)) {
			t.Errorf("took an answer without a proof, from %q", name)
		}
	})
}

func FuzzBeat(f *testing.F) {
	f.Add(formatBeat(beatAsk, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		if what, n, ok := parseBeat(b); ok && !bytes.Equal(formatBeat(what, n), b) {
			t.Errorf("%x", b)
		}
	})
}
