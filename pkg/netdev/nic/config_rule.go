package nic

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Rule is a policy rule of the pod's network namespace: traffic that it selects is
// looked up in its table (ip-rule(8)).
type Rule struct {
	// Priority is when the rule is tried, the lowest first; 0 means one that
	// comes before the table main.
	Priority    uint32       `json:"priority,omitempty"`
	Source      netip.Prefix `json:"source,omitzero"`
	Destination netip.Prefix `json:"destination,omitzero"`
	// Table is the routing table; 0 means main (254).
	Table  uint32 `json:"table,omitempty"`
	FwMark Mark   `json:"fwmark,omitempty"`
	IIF    string `json:"iif,omitempty"` // interface in the pod that received the packet, IFNAME for the claim's own; lo: sent by the pod
	OIF    string `json:"oif,omitempty"` // interface in the pod that a socket is bound to

	IPProto          IPProto `json:"ipProto,omitempty"`
	SourcePorts      Ports   `json:"sourcePorts,omitempty"`
	DestinationPorts Ports   `json:"destinationPorts,omitempty"`

	Invert bool `json:"invert,omitempty"` // select what does not match
	// Family is IPv4 or IPv6; unset: that of Source and Destination, or of the
	// routes in the table.
	Family string `json:"family,omitempty"`
	// SuppressPrefixLength ignores routes of the table with a prefix of this length
	// or a shorter one: 0 ignores default routes.
	SuppressPrefixLength *int `json:"suppressPrefixLength,omitempty"`
}

// Mark is a firewall mark, 0x1, or one with a mask, 0x1/0xff.
type Mark string

// Parse returns the mark and the mask.
func (m Mark) Parse() (mark, mask uint32, err error) {
	text, masked, found := strings.Cut(string(m), "/")
	if !found {
		masked = "0xffffffff"
	}
	var both [2]uint64
	for i, s := range []string{text, masked} {
		if both[i], err = strconv.ParseUint(s, 0, 32); err != nil {
			return 0, 0, fmt.Errorf("must be a number below 2^32, such as 0x1, or one with a mask, such as 0x1/0xff")
		}
	}
	return uint32(both[0]), uint32(both[1]), nil
}

// Ports is a port, 443, or a range of ports, 8000-8099.
type Ports string

// maxPort is the last port that the kernel takes in a rule.
const maxPort = 65534

// Parse returns the first and the last port.
func (p Ports) Parse() (first, last uint16, err error) {
	text, end, found := strings.Cut(string(p), "-")
	if !found {
		end = text
	}
	a, errA := strconv.ParseUint(text, 10, 16)
	b, errB := strconv.ParseUint(end, 10, 16)
	if errA != nil || errB != nil || a == 0 || b < a || b > maxPort {
		return 0, 0, fmt.Errorf("must be a port from 1 to %d, or a range such as 8000-8099", maxPort)
	}
	return uint16(a), uint16(b), nil
}

// IPProto is a transport protocol, tcp, or its number.
type IPProto string

var ipProtos = map[IPProto]uint8{"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}

// Parse returns the protocol's number.
func (p IPProto) Parse() (uint8, error) {
	if n, ok := ipProtos[p]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(string(p), 10, 8)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("must be tcp, udp, sctp, icmp, icmpv6 or a number from 1 to 255")
	}
	return uint8(n), nil
}
