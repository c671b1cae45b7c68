package replicate

import (
	"testing"

	"wanrep/replicate/wire"
	"wanrep/resume"
)

func TestJudge(t *testing.T) {
	a, b, c := [16]byte{1}, [16]byte{2}, [16]byte{3}
	seen := resume.Process{Starts: 15, Nonce: b}
	tests := []struct {
		name  string
		last  resume.Process
		hello wire.Hello
		in    bool
	}{
		{"the first", resume.Process{}, wire.Hello{Starts: 1, Process: a}, true},
		{"the first, that does not tell", resume.Process{}, wire.Hello{}, true},
		{"the same", seen, wire.Hello{Starts: 15, Process: b, Before: [][16]byte{a}}, true},
		{"the next", seen, wire.Hello{Starts: 16, Process: c, Before: [][16]byte{b, a}}, true},
		{"one that started often meanwhile", seen, wire.Hello{Starts: 99, Process: c, Before: [][16]byte{a, b}}, true},
		{"an older one", seen, wire.Hello{Starts: 12, Process: a}, false},
		{"the one before, that still runs", seen, wire.Hello{Starts: 14, Process: a}, false},
		{"as many starts of a copy", seen, wire.Hello{Starts: 15, Process: c, Before: [][16]byte{a}}, false},
		{"more starts of a copy", seen, wire.Hello{Starts: 99, Process: c, Before: [][16]byte{a}}, false},
		{"a count that went back", seen, wire.Hello{Starts: 14, Process: c, Before: [][16]byte{b, a}}, false},
		{"one that does not tell", seen, wire.Hello{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			no := judge(test.last, &test.hello)
			if (no == nil) != test.in {
				t.Errorf("judged %v, want in: %v", no, test.in)
			}
			if no != nil && no.Code != wire.CodeCopy {
				t.Errorf("the code is %q", no.Code)
			}
		})
	}
}
