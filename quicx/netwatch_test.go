package quicx

import (
	"net"
	"runtime"
	"testing"
)

// An uplink is down if its address or interface is not there, and not otherwise.
func TestLookAtUplink(t *testing.T) {
	lo := ""
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 && i.Flags&net.FlagUp != 0 {
			lo = i.Name
		}
	}
	tests := []struct {
		bind        string
		usable      bool
		addressless bool
	}{
		{"", true, false},
		{"127.0.0.1", true, false},
		{"127.0.0.2", true, false},
		{"192.0.2.77", false, false}, // nobody has it: it is for documentation
		{"2001:db8::77", false, false},
		{lo, true, false},
		{"wwan99", false, false},
	}
	for _, test := range tests {
		if runtime.GOOS != "linux" && runtime.GOOS != "windows" && test.bind == "127.0.0.2" {
			continue
		}
		u := &uplink{Uplink: Uplink{Name: "a", Bind: test.bind}}
		if usable, addressless := u.look(); usable != test.usable || addressless != test.addressless {
			t.Errorf("bind %q: usable %v, without an address %v", test.bind, usable, addressless)
		}
	}
}
