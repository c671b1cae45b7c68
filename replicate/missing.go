package replicate

import (
	"context"

	"wanrep/replicate/wire"
)

// Durable asks a target how far it has each disk of a VM's part, by the disk's name:
// what lies below is durable there. There is none without a part. It changes nothing
// at the target.
func (s *Source) Durable(ctx context.Context, peer, vm string) (map[string]int64, error) {
	attacher, err := s.cfg.Attach(peer)
	if err != nil {
		return nil, err
	}
	defer attacher.Close()
	link, err := attacher.Attach(ctx, false)
	if err != nil {
		return nil, err
	}
	welcome, err := s.look(ctx, link, peer, vm)
	link.Close(CloseDone, "the source has what it asked for")
	if err != nil {
		return nil, err
	}
	durable := map[string]int64{}
	for _, p := range welcome.Positions {
		for _, d := range p.Disks {
			if p.VM == vm {
				durable[d.Disk] = d.Durable
			}
		}
	}
	return durable, nil
}

// look greets a target for one VM and nothing else.
func (s *Source) look(ctx context.Context, link Link, peer, vm string) (*wire.Welcome, error) {
	control, err := link.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	defer context.AfterFunc(ctx, control.Abort)()
	r := &run{source: s, job: Job{Peer: peer}, vms: []*vmRun{{name: vm}}}
	welcome, err := (&session{run: r, link: link, control: control}).greet(ctx)
	if err != nil {
		return nil, err
	}
	return welcome, link.Confirmed(ctx)
}
