package vhd

import (
	"encoding/binary"
	"io/fs"
	"strings"
	"testing"

	"errors"
)

func TestCheckTellsAllThatIsWrong(t *testing.T) {
	const table = footerBytes + headerBytes
	tests := []struct {
		name   string
		damage func(b []byte) []byte
		want   []string // sections
	}{
		{name: "nothing", damage: func(b []byte) []byte { return b }},
		{name: "the footer is lost", want: []string{"footer"}, damage: func(b []byte) []byte { return b[:len(b)-footerBytes] }},
		{name: "the copy is damaged", want: []string{"copy of the footer"}, damage: func(b []byte) []byte { b[70] ^= 1; return b }},
		{name: "the copy is another's", want: []string{"copy of the footer"}, damage: func(b []byte) []byte {
			b[70] ^= 1
			reseal(b[:footerBytes], footerChecksum)
			return b
		}},
		{name: "no footer at all", want: []string{"footer"}, damage: func(b []byte) []byte { clear(b[:512]); return b[:len(b)-footerBytes] }},
		{name: "the header", want: []string{"dynamic disk header"}, damage: func(b []byte) []byte { b[600] ^= 1; return b }},
		{name: "two blocks and the copy", want: []string{"block allocation table", "block allocation table", "copy of the footer"}, damage: func(b []byte) []byte {
			b[70] ^= 1
			binary.BigEndian.PutUint32(b[table+2*4:], 0x1000000)
			binary.BigEndian.PutUint32(b[table+3*4:], 1)
			return b
		}},
		{name: "cut", want: []string{"footer"}, damage: func(b []byte) []byte { return b[:100] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := inDir(t, "disk.vhd")[0]
			smallDisk(t, path)
			rewrite(t, path, tt.damage)
			problems, err := Check(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, p.Section)
			}
			if strings.Join(got, ", ") != strings.Join(tt.want, ", ") {
				t.Errorf("got %+v, want %q", problems, tt.want)
			}
		})
	}
}

func TestCheckOfAChain(t *testing.T) {
	paths, _ := chain(t)
	if problems, err := Check(paths[2], Options{}); err != nil || len(problems) > 0 {
		t.Errorf("a whole chain: %+v, %v", problems, err)
	}
	rewrite(t, paths[0], func(b []byte) []byte { return b[:1000] })
	problems, err := Check(paths[2], Options{})
	if err != nil || len(problems) != 1 || problems[0].Section != "parent locator" {
		t.Errorf("without its base: %+v, %v", problems, err)
	}
}

func TestCheckHasALimit(t *testing.T) {
	path := inDir(t, "disk.vhd")[0]
	makeDisk(t, path, Spec{VirtualSize: 1000 * smallBlock, BlockSize: smallBlock}, write{0, noise(1, 512)})
	rewrite(t, path, func(b []byte) []byte {
		for at := range 1000 {
			binary.BigEndian.PutUint32(b[footerBytes+headerBytes+at*entryBytes:], 0xfffffff0)
		}
		return b
	})
	problems, err := Check(path, Options{})
	if err != nil || len(problems) != maxProblems {
		t.Errorf("%d problems, %v; want %d", len(problems), err, maxProblems)
	}
	if _, err := Check(path+".gone", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
