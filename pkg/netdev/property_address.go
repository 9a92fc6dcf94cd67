package netdev

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The permanent addresses. Dynamic ones are renewed by their owner.
var addressProperties = []property{{
	name: "permanent addresses, link-local ones too, with flags, label, broadcast, peer, metric, protocol, preferred lifetime, order",
	inPod: "as `addressPolicy` says: the config's, else as on the host, but without those of host scope and IPv6 addresses that another node has (`dadfailed`): " +
		"they are named in `data.omitted`, and so are IPv4 addresses with `dhcp`, and with `dhcp6` IPv6 addresses that are not link-local",
	after: "restored; for `dadfailed` ones duplicate address detection runs again",
	read:  readAddresses,
	want:  wantAddresses,
	check: func(l Link, want State, c nic.Config, add fault) {
		checkLeases(l, want, c, add)
		checkIPv6(want, c.Interface, add)
	},
	steps: addressSteps,
}}

// Link-local addresses that are newer than the kernel's own.
var lateAddressProperties = []property{{name: addressProperties[0].name, phase: linkUp, steps: lateAddressSteps}}

// checkLeases reports why a link cannot lease addresses.
func checkLeases(l Link, want State, c nic.Config, add fault) {
	ethernet := l.Encapsulation == "ether"
	if c.Interface.WantsDHCP() && !ethernet {
		add("interface.dhcp", true, "needs an Ethernet interface")
	}
	switch {
	case !c.Interface.WantsDHCP6():
	case !ethernet:
		add("interface.dhcp6", true, "needs an Ethernet interface")
	case want.MTU < minMTUIPv6:
		add("interface.dhcp6", true, "IPv6 needs an MTU of %d or more, the interface has %d", minMTUIPv6, want.MTU)
	}
}

func readAddresses(r *reader, s *State) error {
	kept, others, err := r.conn.addresses()
	if err != nil {
		return err
	}
	s.Addresses, r.dynamic = kept[s.Index], others[s.Index]
	for i := range s.Addresses {
		if s.Addresses[i].Label == s.Name {
			s.Addresses[i].Label = ""
		}
	}
	return nil
}

// wantAddresses keeps the host's permanent addresses, or takes the config's, or
// both. It omits the one that the kernel makes from the hardware address, in the
// pod too.
func wantAddresses(want *State, original State, c nic.Config) (omitted []string) {
	want.Addresses = nil
	if want.SLAAC = c.Interface.Addressing == nic.AddressingSLAAC; want.SLAAC && want.AddrGenMode == addrGenNone {
		want.AddrGenMode = 0 // routers are asked from a link-local address
	}
	for _, a := range original.Addresses {
		kernels := a.Prefix.Addr() == linkLocal(original.MAC) && original.AddrGenMode == 0
		again := slices.ContainsFunc(c.Interface.Addresses, func(o nic.Address) bool { return o.Prefix.Addr() == a.Prefix.Addr() })
		if !c.Interface.KeepsAddresses() || again {
			continue
		}
		why := staysOut(a, c.Interface)
		if why == "" && !kernels && want.withoutIPv6() && a.Prefix.Addr().Is6() {
			why = ipv6Off
		}
		if why != "" {
			omitted = append(omitted, fmt.Sprintf("address %s: %s", a.Prefix, why))
			continue
		}
		if kernels {
			continue
		}
		if rest, ok := strings.CutPrefix(a.Label, original.Name); ok {
			a.Label = want.Name + rest
		}
		if len(a.Label) > labelLen {
			a.Label = ""
		}
		want.Addresses = append(want.Addresses, podAddress(a).detected(c.Interface.WaitsForDAD()))
	}
	for _, a := range c.Interface.Addresses {
		want.Addresses = append(want.Addresses, addressOf(a, want.Name).detected(c.Interface.Detects(a)))
	}
	if len(c.Interface.Addresses) > 0 {
		want.Addresses = listed(want.Addresses)
	}
	return omitted
}

// staysOut returns why a permanent address of the host is not set in a pod that
// keeps those of the host, or "".
func staysOut(a Address, i nic.Interface) string {
	switch {
	case a.Prefix.Addr().Is4() && i.WantsDHCP():
		return "the pod leases one (interface.dhcp)"
	case a.Prefix.Addr().Is6() && !a.linkLocal6() && i.WantsDHCP6():
		return "the pod leases one (interface.dhcp6)"
	}
	if a.Prefix.Addr().Is6() && !a.linkLocal6() && i.Addressing == nic.AddressingSLAAC {
		return "the pod gets one from a router (interface.addressing)"
	}
	return a.staysOut()
}

// addressOf returns an address of the config.
func addressOf(c nic.Address, ifname string) Address {
	p := c.Prefix
	a := Address{Prefix: p, Scope: scopeOf(p.Addr()), Label: c.Label, Metric: c.Metric}
	if a.Label == ifname {
		a.Label = "" // as it is read
	}
	if p.Addr().Is4() && p.Bits() < 31 {
		a.Broadcast = nic.Broadcast(p)
	}
	if c.NoPrefixRoute {
		a.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	a.Late = a.linkLocal6() // the pod is to send from it, not from the kernel's own
	return podAddress(a)
}

// podAddress skips duplicate address detection, which would keep IPv6 addresses
// unusable for two seconds: a pod's containers start sooner.
func podAddress(a Address) Address {
	if a.Prefix.Addr().Is6() {
		a.Flags = a.Flags&^unix.IFA_F_OPTIMISTIC | unix.IFA_F_NODAD
	}
	return a
}

// detected returns the address with duplicate address detection, if it is one of
// IPv6.
func (a Address) detected(yes bool) Address {
	if yes && a.Prefix.Addr().Is6() {
		a.Flags, a.Detect = a.Flags&^unix.IFA_F_NODAD, true
	}
	return a
}

// addressSteps turns the list have into want, in want's order, which is the order
// in which the addresses were added. Only addresses before the first difference can
// stay: an address that is added again goes to the end.
func addressSteps(l Link, have, want State) []step {
	var ms []message
	for _, fam := range []int{unix.AF_INET, unix.AF_INET6} {
		of := func(as []Address) []Address {
			return slices.DeleteFunc(slices.Clone(as), func(a Address) bool {
				late := slices.ContainsFunc(want.Addresses, func(w Address) bool { return w.Late && w.Prefix == a.Prefix })
				return late || family(a.Prefix.Addr()) != fam
			})
		}
		h, w := of(have.Addresses), of(want.Addresses)
		same := 0
		for same < len(h) && same < len(w) && h[same].equal(w[same]) {
			same++
		}
		// Newest first, because the kernel removes an IPv4 address's
		// secondaries with it.
		for _, a := range slices.Backward(h[same:]) {
			ms = append(ms, a.message(l.Index, false))
		}
		for _, a := range w[same:] {
			ms = append(ms, a.add(l.Index)...)
		}
	}
	return messages(ms...)
}

// lateAddressSteps adds the late addresses that are missing.
func lateAddressSteps(l Link, have, want State) []step {
	var ms []message
	for _, a := range want.Addresses {
		if a.Late && !slices.ContainsFunc(have.Addresses, a.equal) {
			ms = append(ms, a.add(l.Index)...)
		}
	}
	return messages(ms...)
}

// add returns the requests that add the address so that it is usable at once, as
// routes with this source require. For one that another node had, duplicate address
// detection runs again.
func (a Address) add(index int) []message {
	ms := []message{a.message(index, true)}
	if a.Prefix.Addr().Is6() && a.Flags&unix.IFA_F_NODAD == 0 && !a.DADFailed && !a.Detect {
		now := a
		now.Flags |= unix.IFA_F_NODAD // the second message removes the flag again
		ms = append([]message{now.message(index, true)}, ms...)
	}
	return ms
}
