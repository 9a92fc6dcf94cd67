package v1alpha1

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	minMTU6 = 1280 // RFC 8200
)

// validations are what the table of fields cannot say, by area.
var validations = []func(nic.Config, faultFunc){
	validateMode,
	validateInterface,
	validateAddresses,
	validateDHCP,
	validateType,
	validateSysctls,
	validateVRF,
	validateRoutes,
	validateRules,
	validateNeighbors,
	validateEthtool,
	validateVF,
	validatePool,
}

// validate returns an error that names each invalid field with its value, in one
// line.
func validate(c nic.Config) error {
	var faults []string
	faulty := map[string]bool{}
	fault := func(field string, value any, format string, args ...any) {
		faulty[field] = true
		faults = append(faults, fmt.Sprintf("%s: %q: %s", field, fmt.Sprint(value), fmt.Sprintf(format, args...)))
	}
	for _, check := range validations {
		check(c, fault)
	}
	checkFields(c, func(field string, value any, format string, args ...any) {
		if !faulty[field] { // the first reason is the more precise one
			fault(field, value, format, args...)
		}
	})
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}

// faultFunc notes that the value of a field is invalid, and why.
type faultFunc func(field string, value any, format string, args ...any)

func validateInterface(c nic.Config, fault faultFunc) {
	i := c.Interface
	check := nic.CheckName
	if nic.IsTemplate(i.Name) {
		check = nic.CheckTemplate
	}
	if err := check(i.Name); err != nil && i.Name != "" {
		fault("interface.name", i.Name, "%v", err)
	}
	if i.MTU != 0 && i.MTU < minMTU6 && has6(i) {
		fault("interface.mtu", i.MTU, "must be %d or more with IPv6 addresses", minMTU6)
	}
	if len(i.HardwareAddr) > 0 && !i.HardwareAddr.Unicast() {
		fault("interface.hardwareAddr", i.HardwareAddr, "must be a unicast hardware address and not zero")
	}
}

func has6(i nic.Interface) bool {
	return slices.ContainsFunc(i.Addresses, func(a nic.Address) bool { return a.Prefix.Addr().Is6() })
}

func validateNeighbors(c nic.Config, fault faultFunc) {
	for i, n := range c.Neighbors {
		field := fmt.Sprintf("neighbors[%d]", i)
		checkAddr(field+".destination", n.Destination, true, fault)
		if slices.ContainsFunc(c.Neighbors[:i], func(o nic.Neighbor) bool { return o.Destination == n.Destination }) {
			fault(field+".destination", n.Destination, "duplicate")
		}
		if !n.HardwareAddr.Unicast() {
			fault(field+".hardwareAddr", n.HardwareAddr, "must be a unicast hardware address")
		}
	}
}

func checkAddr(field string, a netip.Addr, required bool, fault faultFunc) {
	switch {
	case !a.IsValid() && required:
		fault(field, "", "required")
	case a.IsValid() && (a.Zone() != "" || !unicast(a)):
		fault(field, a, "must be a unicast address without a zone")
	}
}

// notUnicast are the IPv4 addresses that no link can have, beside multicast and
// loopback (RFC 6890): "this network", and the reserved ones, which include
// 255.255.255.255.
var notUnicast = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4")}

// unicast reports whether a link, or a neighbor of it, can have the address.
func unicast(a netip.Addr) bool {
	return !a.Is4In6() && !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback() &&
		!slices.ContainsFunc(notUnicast, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isNetworkOrBroadcast reports whether an IPv4 address is that of its network or
// the network's broadcast address.
func isNetworkOrBroadcast(a netip.Addr, bits int) bool {
	p := netip.PrefixFrom(a, bits)
	return a == p.Masked().Addr() || a == nic.Broadcast(p)
}
