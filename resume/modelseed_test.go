package resume_test

import (
	"pgregory.net/rapid"

	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// Import takes a seed of the VM, in whatever state its disks are.
func (m *model) Import(t *rapid.T) {
	rarely(t)
	if m.part != nil || m.committing { // what a Begin finds then, Begin looks for
		t.Skip("begun, or perhaps committed")
	}
	if !m.opened(t) {
		return
	}
	vm := drawVM(t)
	from := crashfs.New()
	seed, dir, err := resume.ExportSeed(t.Context(), from, plain{}, seedOf, seedFrom(0, vm...))
	if err != nil {
		t.Fatal(err)
	}
	m.settleHas(vm)
	at, err := m.store.ImportSeed(t.Context(), from, dir, seed)
	m.settleAcked(vm)
	m.deciding, m.name = vm, at.Point
	if err != nil {
		m.failed(t, err)
		return
	}
	for _, d := range at.Disks {
		if d.Durable != d.Size {
			t.Fatalf("disk %s was imported up to %d of %d", d.Identity, d.Durable, d.Size)
		}
		m.acked[d.Identity] = d.Durable
	}
}
