package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"wanrep/configs"
	"wanrep/quicx"
	"wanrep/replicate/wire"
)

func TestDoctorsJudgement(t *testing.T) {
	tests := []struct {
		name string
		got  finding
		want string // the state
		text string
		hint string
	}{
		{"clocks agree", clockFinding("paris", -30*time.Millisecond, 80*time.Millisecond), findingOK, "agrees with paris to 40 ms", ""},
		{"a slow answer proves little", clockFinding("paris", 5*time.Second, 9*time.Second), findingOK, "agrees", ""},
		{"a clock is off", clockFinding("paris", 90*time.Second, 0), findingWarning, "paris is 1m30s ahead of this machine", setClock},
		{"a clock is wrong", clockFinding("paris", -2*time.Hour, 0), findingFailed, "paris is 2h00m behind this machine", setClock},
		{"a small buffer to receive", bufferFinding(212992, 8<<20), findingWarning, "208.0 KiB to receive and 8.0 MiB to send at most, 7.0 MiB wanted", fmt.Sprintf(setBuffers, 7340032)},
		{"a small buffer to send", bufferFinding(8<<20, 212992), findingWarning, "208.0 KiB to send at most, 7.0 MiB wanted", fmt.Sprintf(setBuffers, 7340032)},
		{"large buffers", bufferFinding(7<<20, 7<<20), findingOK, "7.0 MiB", ""},
		{"a roomy store", roomFinding("/srv", 100<<30), findingOK, "/srv, 100.0 GiB free", ""},
		{"a narrow store", roomFinding("/srv", 5<<30), findingWarning, "only 5.0 GiB free", "df -h " + quoted("/srv")},
		{"a full store", roomFinding("/srv", 5<<20), findingFailed, "only 5.0 MiB free", "df -h " + quoted("/srv")},
	}
	for _, tt := range tests {
		if tt.got.State != tt.want || !strings.Contains(tt.got.Text, tt.text) || !strings.Contains(tt.got.Hint, tt.hint) {
			t.Errorf("%s: got %+v; want %s, with %q and %q", tt.name, tt.got, tt.want, tt.text, tt.hint)
		}
	}
}

// TestDoctorOfAWrongClock lets the doctor examine the way to a target whose clock is
// off by as much as nobody can set the clock of a machine for a test.
func TestDoctorOfAWrongClock(t *testing.T) {
	tests := []struct {
		name        string
		off         time.Duration
		state, text string
	}{
		{"three hours behind", -3*time.Hour - 20*time.Second, findingFailed, "paris is 3h00m behind this machine"},
		{"a minute ahead", time.Minute + 300*time.Millisecond, findingWarning, "paris is 1m00s ahead of this machine"},
		{"right", 0, findingOK, "agrees with paris"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			source, target := newIdentity(t, "lyon"), newIdentity(t, "paris")
			listener, peer := newListener(t, source, target)
			defer listener.Close()
			go tellTime(t, listener, tt.off)
			all := map[string]finding{}
			d := &doctor{
				cfg:  &configs.Config{Peers: []configs.Peer{{Name: peer.Name, Addresses: peer.Addresses, Pin: peer.Pin}}},
				tell: func(f finding) { all[f.Check] = f },
			}
			d.peers(t.Context(), source, "paris")
			hint := setClock
			if tt.state == findingOK {
				hint = ""
			}
			if f := all["clock"]; f.State != tt.state || !strings.HasPrefix(f.Text, tt.text) || !strings.HasPrefix(f.Hint, hint) {
				t.Errorf("got %+v; want %s, with %q and %q", f, tt.state, tt.text, hint)
			}
		})
	}
}

// tellTime answers the first question on the first link with a time that is off.
func tellTime(t *testing.T, listener *quicx.Listener, off time.Duration) {
	link, err := listener.Accept(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	stream, err := quicLink{link}.AcceptStream(t.Context())
	if err == nil {
		_, err = wire.Read(stream)
	}
	if err == nil {
		err = wire.Write(stream, &wire.Clock{Time: time.Now().Add(off).UnixMilli()})
	}
	if err != nil {
		t.Error(err)
	}
}

func TestDoctorOfATakenPort(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for serves, want := range map[bool]finding{
		true:  {State: findingOK, Text: "is taken, which the running appliance does"},
		false: {State: findingFailed, Text: "another process has UDP " + conn.LocalAddr().String(), Hint: showListeners},
	} {
		var got finding
		d := &doctor{cfg: &configs.Config{}, serves: serves, tell: func(f finding) { got = f }}
		d.cfg.Listen.Address = conn.LocalAddr().String()
		d.listens()
		if got.State != want.State || !strings.Contains(got.Text, want.Text) || !strings.Contains(got.Hint, want.Hint) {
			t.Errorf("an appliance runs: %v: got %+v, want %+v", serves, got, want)
		}
	}
}
