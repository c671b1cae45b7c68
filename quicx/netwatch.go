package quicx

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// pollEvery is how often the interfaces are looked at where the system does not
// tell of changes.
const pollEvery = time.Second

// watchNetwork follows the machine's interfaces, addresses and routes until the
// endpoint is closed.
func (e *Endpoint) watchNetwork() {
	e.checkUplinks()
	if kernelChanges(e.ctx, e.checkUplinks) == nil {
		return
	}
	last := interfaces()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-ticker.C:
			if now := interfaces(); now != last {
				last = now
				e.checkUplinks()
			}
		}
	}
}

// interfaces describes all interfaces and addresses, to be compared.
func interfaces() string {
	all, err := net.Interfaces()
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, i := range all {
		addrs, _ := i.Addrs() // none, if the interface just went away
		parts = append(parts, fmt.Sprint(i.Name, i.Flags, addrs))
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n")
}

// checkUplinks compares each uplink with what was known of it, and tells the
// links and the redialers.
func (e *Endpoint) checkUplinks() {
	for _, u := range e.uplinks {
		usable, addressless := u.look()
		for _, o := range u.outlets() {
			o.hold(addressless)
		}
		e.noteUplink(u, usable)
	}
	e.networkChanged()
}

// look asks the system whether anything can be sent over the uplink. addressless
// is set if a socket pinned to its interface would borrow another's address.
func (u *uplink) look() (usable, addressless bool) {
	if u.Bind == "" {
		return true, false
	}
	all, err := net.Interfaces()
	if err != nil {
		return true, false // no news is good news
	}
	local, err := netip.ParseAddr(u.Bind)
	byAddress := err == nil
	for _, i := range all {
		if !byAddress && i.Name != u.Bind {
			continue
		}
		up := i.Flags&net.FlagUp != 0 && i.Flags&net.FlagRunning != 0
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, _ := netip.AddrFromSlice(n.IP)
			ip = ip.Unmap()
			// All of 127.0.0.0/8 is there when 127.0.0.1 is.
			there := ip == local || ip.IsLoopback() && local.IsLoopback() && n.Contains(local.AsSlice())
			if byAddress && there || !byAddress && !ip.IsLinkLocalUnicast() {
				return up, false
			}
		}
		if !byAddress {
			return false, true
		}
	}
	return false, false
}

// NetworkChanged says that an uplink went down or came up, in place of the system:
// for scripts and for tests, which have a network of their own.
func (e *Endpoint) NetworkChanged(uplinkName string, up bool) error {
	u := e.uplink(uplinkName)
	if u == nil {
		return fmt.Errorf("no uplink is named %q", clip(uplinkName))
	}
	e.noteUplink(u, up)
	e.networkChanged()
	return nil
}

func (e *Endpoint) uplink(name string) *uplink {
	for _, u := range e.uplinks {
		if u.Name == name {
			return u
		}
	}
	return nil
}

func (e *Endpoint) noteUplink(u *uplink, up bool) {
	if u.down.Swap(!up) == !up {
		return
	}
	event := Event{Kind: EventNetwork, Path: u.Name, Text: "uplink " + u.Name + " is up"}
	kind := noticeUp
	if !up {
		event.Level, event.Text = slog.LevelWarn, "uplink "+u.Name+" is down"
		kind = noticeDown
	}
	e.say(event)
	e.each(func(l *Link) { l.path.tell(notice{kind: kind, uplink: u}) })
}

func (e *Endpoint) networkChanged() {
	e.each(func(l *Link) { l.path.tell(notice{kind: noticeChanged}) })
	e.mu.Lock()
	defer e.mu.Unlock()
	for ch := range e.wakers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
