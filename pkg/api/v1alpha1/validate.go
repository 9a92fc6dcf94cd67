package v1alpha1

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	minMTU     = 68   // RFC 791
	minMTU6    = 1280 // RFC 8200
	maxMTU     = 1<<31 - 1
	tableMain  = 254 // RT_TABLE_MAIN
	tableLocal = 255 // RT_TABLE_LOCAL
	maxAddrs   = 16  // a claim's status holds no more (KEP-4817)
)

// routeScopes are the scopes that a route may ask for, see rtnetlink(7).
var routeScopes = map[uint8]string{0: "universe", 253: "link"}

// Validate returns every fault, each with its field and value.
func (c NetDeviceConfig) Validate() error {
	var errs []error
	fault := func(field string, value any, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %q: %s", field, fmt.Sprint(value), fmt.Sprintf(format, args...)))
	}
	c.Interface.validate(fault)
	for i, r := range c.Routes {
		r.validate(fmt.Sprintf("routes[%d]", i), fault)
		if slices.ContainsFunc(c.Routes[:i], func(o Route) bool {
			return o.Destination == r.Destination && o.Gateway == r.Gateway && o.table() == r.table()
		}) {
			fault(fmt.Sprintf("routes[%d]", i), r.Destination, "is there twice")
		}
	}
	for i, n := range c.Neighbors {
		field := fmt.Sprintf("neighbors[%d]", i)
		checkAddr(field+".destination", n.Destination, true, fault)
		if slices.ContainsFunc(c.Neighbors[:i], func(o Neighbor) bool { return o.Destination == n.Destination }) {
			fault(field+".destination", n.Destination, "is there twice")
		}
		if !n.HardwareAddr.unicast() {
			fault(field+".hardwareAddr", n.HardwareAddr, "must be a unicast hardware address")
		}
	}
	return errors.Join(errs...)
}

type faultFunc func(field string, value any, format string, args ...any)

func (i Interface) validate(fault faultFunc) {
	if i.Name != "" {
		if err := CheckName(i.Name); err != nil {
			fault("interface.name", i.Name, "%v", err)
		}
	}
	seen := map[netip.Addr]bool{}
	has6 := false
	for n, p := range i.Addresses {
		field := fmt.Sprintf("interface.addresses[%d]", n)
		switch a := p.Addr(); {
		case !p.IsValid() || p.Bits() == 0 || !unicast(a):
			fault(field, p, "must be a unicast address with its prefix length, such as 192.0.2.1/24")
		case a.Is4() && p.Bits() < 31 && (a == p.Masked().Addr() || a == Broadcast(p)):
			fault(field, p, "is the address of the network itself, or its broadcast address")
		case seen[a]:
			fault(field, p, "is there twice")
		default:
			seen[a] = true
			has6 = has6 || a.Is6()
		}
	}
	if len(i.Addresses) > maxAddrs {
		fault("interface.addresses", len(i.Addresses), "at most %d addresses fit into a claim's status", maxAddrs)
	}
	switch {
	case i.MTU != 0 && (i.MTU < minMTU || i.MTU > maxMTU):
		fault("interface.mtu", i.MTU, "must be %d or more", minMTU)
	case i.MTU != 0 && i.MTU < minMTU6 && has6:
		fault("interface.mtu", i.MTU, "IPv6 addresses need %d or more", minMTU6)
	}
	if len(i.HardwareAddr) > 0 && !i.HardwareAddr.unicast() {
		fault("interface.hardwareAddr", i.HardwareAddr, "must be a unicast hardware address that is not zero")
	}
}

// table is the routing table by its number.
func (r Route) table() uint32 {
	if r.Table == 0 {
		return tableMain
	}
	return r.Table
}

func (r Route) validate(field string, fault faultFunc) {
	if !r.Destination.IsValid() || r.Destination.Addr().Is4In6() {
		fault(field+".destination", r.Destination, "must be a prefix such as 198.51.100.0/24")
		return
	}
	if r.Destination != r.Destination.Masked() {
		fault(field+".destination", r.Destination, "has host bits set; want %s", r.Destination.Masked())
	}
	checkAddr(field+".gateway", r.Gateway, false, fault)
	checkAddr(field+".source", r.Source, false, fault)
	for name, a := range map[string]netip.Addr{"gateway": r.Gateway, "source": r.Source} {
		if a.IsValid() && a.Is4() != r.Destination.Addr().Is4() {
			fault(field+"."+name, a, "is of another family than the destination %s", r.Destination)
		}
	}
	if _, ok := routeScopes[r.Scope]; !ok {
		fault(field+".scope", r.Scope, "must be 0 (universe) or 253 (link)")
	}
	if r.Scope != 0 && r.Destination.Addr().Is6() {
		fault(field+".scope", r.Scope, "IPv6 routes have no scope")
	}
	if r.Scope != 0 && r.Gateway.IsValid() {
		fault(field+".scope", r.Scope, "a route of scope link has no gateway, this one has %s", r.Gateway)
	}
	if r.Table == tableLocal {
		fault(field+".table", r.Table, "the local table is the kernel's own")
	}
}

func checkAddr(field string, a netip.Addr, required bool, fault faultFunc) {
	switch {
	case !a.IsValid() && required:
		fault(field, "", "is required")
	case a.IsValid() && (a.Zone() != "" || !unicast(a)):
		fault(field, a, "must be a unicast address without a zone")
	}
}

// notUnicast are the IPv4 addresses beside multicast and loopback that no link
// can have (RFC 6890): "this network", and the reserved ones with 255.255.255.255.
var notUnicast = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4")}

// unicast reports whether a link, or a neighbor of it, can have the address.
func unicast(a netip.Addr) bool {
	return !a.Is4In6() && !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback() &&
		!slices.ContainsFunc(notUnicast, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Broadcast returns the last address of an IPv4 prefix.
func Broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// reservedNames cannot be given to a link in a pod: the kernel's directories
// under /proc/sys/net, the loopback, and the pod's own interface.
var reservedNames = map[string]string{
	".":       "is a directory",
	"..":      "is a directory",
	"all":     "is taken by the kernel's settings for all interfaces",
	"default": "is taken by the kernel's settings for new interfaces",
	"lo":      "is the loopback interface",
	"eth0":    "is the interface of the pod's own network",
}

// nameRunes are what a name may be made of: those of POSIX's portable file names.
const nameRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// CheckName says why a link in a pod cannot have this name, or returns nil. It
// is stricter than the kernel's dev_valid_name (net/core/dev.c). A link whose
// pod ends comes to the host by this name, where udev and ifup scripts see it:
// no character of it may mean anything to a shell. "all" and "default" leave a
// link without its IP settings.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > 15 {
		return fmt.Errorf("must have 1 to 15 bytes, has %d", len(name))
	}
	if why, ok := reservedNames[name]; ok {
		return errors.New("cannot be used: " + why)
	}
	for _, r := range name {
		if !strings.ContainsRune(nameRunes, r) {
			return fmt.Errorf("must have only letters, digits, '.', '_' and '-', has %q", r)
		}
	}
	return nil
}
