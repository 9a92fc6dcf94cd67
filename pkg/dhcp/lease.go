package dhcp

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Family is the version of IP that a lease is for.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Lease is what one interface has leased, or has lost and wants again: then it
// has no address. It holds nothing that its server has sent and that was not
// checked.
type Lease struct {
	Family  Family       `json:"family"`
	Address netip.Prefix `json:"address,omitzero"` // not set: none is leased at present
	Server  netip.Addr   `json:"server,omitzero"`
	// ServerMAC is the hardware address from which the server's answers come,
	// its own or a router's (IPv4).
	ServerMAC nic.HardwareAddr `json:"serverMAC,omitempty"`
	ServerID  []byte           `json:"serverID,omitempty"` // its DUID (IPv6)

	// Since is when the server was asked (Uptime). From then count: T1, after
	// which the server is asked to renew the lease; T2, after which any server
	// is; how long the address is preferred; and how long it is valid.
	Since     time.Duration `json:"since"`
	T1        time.Duration `json:"t1,omitempty"`
	T2        time.Duration `json:"t2,omitempty"`
	Preferred time.Duration `json:"preferred,omitempty"`
	Valid     time.Duration `json:"valid,omitempty"`
	// Tried is when the server was asked last without success (Uptime).
	Tried time.Duration `json:"tried,omitempty"`

	Routes  []nic.Route  `json:"routes,omitempty"` // destination and gateway
	MTU     int          `json:"mtu,omitempty"`
	DNS     []netip.Addr `json:"dns,omitempty"`
	Search  []string     `json:"search,omitempty"`
	Ignored []string     `json:"ignored,omitempty"` // of what the server sent, with the reason
}

// Action is what is to be done with a lease.
type Action uint8

// The actions.
const (
	Wait    Action = iota // nothing yet
	Acquire               // there is none: ask any server for one
	Renew                 // ask its server to extend it
	Rebind                // ask any server to extend it
	Expire                // its time is over: the address must not be used any more
)

const (
	acquirePause = 10 * time.Second // between two tries to get a lease again
	longestPause = time.Minute      // the least, of a long lease, between two tries to extend it (RFC 2131, 4.4.5)
	shortest     = time.Second      // the same of a short one
)

// Uptime is the time since the machine's boot, with the time that it slept.
func Uptime() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail
	return time.Duration(ts.Nano())
}

// Next returns what is to be done with the lease now, and, if that is to wait,
// when to ask again.
func (l Lease) Next(now time.Duration) (do Action, at time.Duration) {
	if !l.Address.IsValid() {
		if at = l.Tried + acquirePause; l.Tried == 0 || now >= at {
			return Acquire, now
		}
		return Wait, at
	}
	t1, t2, end := l.Since+l.T1, l.Since+l.T2, l.Since+l.Valid
	if now >= end {
		return Expire, now
	}
	do, start, limit := Renew, t1, t2
	if now >= t2 {
		do, start, limit = Rebind, t2, end
	}
	at = start
	if l.Tried >= start { // half of what is left, as RFC 2131 has it
		least := min(longestPause, max(shortest, l.Valid/10))
		at = min(l.Tried+max(least, (limit-l.Tried)/2), limit)
	}
	if now >= at {
		return do, now
	}
	return Wait, at
}

// Until returns when an attempt to extend the lease must end: then there is
// something else to do.
func (l Lease) Until(do Action) time.Duration {
	if do == Renew {
		return l.Since + l.T2
	}
	return l.Since + l.Valid
}

// Asked returns the lease after a server was asked in vain.
func (l Lease) Asked(now time.Duration) Lease {
	l.Tried = now
	return l
}

// Lost returns what is left of a lease that is over: the wish for another one.
func (l Lease) Lost() Lease { return Lease{Family: l.Family} }

// Dynamic returns what the interface has of the lease.
func (l Lease) Dynamic(now time.Duration) nic.Dynamic {
	left := func(d time.Duration) time.Duration { return max(0, l.Since+d-now) }
	return nic.Dynamic{Address: l.Address, Preferred: left(l.Preferred), Valid: left(l.Valid), Routes: l.Routes, MTU: l.MTU}
}

// Field is the field of a claim's config, below interface, that asks for a lease
// of the family.
func (f Family) Field() string {
	if f == IPv6 {
		return "dhcp6"
	}
	return "dhcp"
}
