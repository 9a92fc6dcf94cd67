package nic

import (
	"fmt"
	"net/netip"
	"strings"
)

// AddressPool are addresses of which an interface gets one per family.
type AddressPool struct {
	Ranges []AddressRange `json:"ranges,omitempty"`
	// Gateway is no pod's address, and the gateway of the config's routes of its
	// family that have none and are not of scope link.
	Gateway netip.Addr `json:"gateway,omitzero"`
}

// AddressRange is a range of addresses of one network. Its text is
// FIRST-LAST/BITS, as in 192.0.2.10-192.0.2.19/24, or a prefix: then it is all
// addresses of that network that a host can have.
type AddressRange struct {
	First, Last netip.Addr
	Bits        int // prefix length of the addresses
}

// String returns FIRST-LAST/BITS; the empty text for the zero value.
func (r AddressRange) String() string {
	if !r.First.IsValid() {
		return ""
	}
	return fmt.Sprintf("%s-%s/%d", r.First, r.Last, r.Bits)
}

// MarshalText implements encoding.TextMarshaler.
func (r AddressRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *AddressRange) UnmarshalText(text []byte) error {
	first, last, isRange := strings.Cut(string(text), "-")
	prefix, err := netip.ParsePrefix(last)
	if !isRange {
		prefix, err = netip.ParsePrefix(first)
	}
	if err != nil || prefix.Addr().Is4In6() {
		return fmt.Errorf("must be a range such as 192.0.2.10-192.0.2.19/24, or a prefix")
	}
	if !isRange {
		*r = wholeNetwork(prefix.Masked())
		return nil
	}
	from, err := netip.ParseAddr(first)
	switch {
	case err != nil || from.Zone() != "":
		return fmt.Errorf("must be a range such as 192.0.2.10-192.0.2.19/24: %q is no address", first)
	case !prefix.Contains(from):
		return fmt.Errorf("%s is not in the network %s of the range's end", from, prefix.Masked())
	case prefix.Addr().Less(from):
		return fmt.Errorf("%s is above the range's end", from)
	}
	*r = AddressRange{from, prefix.Addr(), prefix.Bits()}
	return nil
}

// wholeNetwork returns the addresses of a network that a host can have: all but
// the network's own and, of IPv4, the broadcast address (RFC 3021 has neither in
// a /31, RFC 6164 in a /127).
func wholeNetwork(p netip.Prefix) AddressRange {
	r := AddressRange{p.Addr(), p.Addr(), p.Bits()}
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	r.Last, _ = netip.AddrFromSlice(last)
	if r.First.BitLen()-r.Bits > 1 {
		r.First = r.First.Next()
		if r.First.Is4() {
			r.Last = r.Last.Prev()
		}
	}
	return r
}

// Pick returns for each family the first address of the ranges, in their order,
// that is not taken; and an error that names the ranges of a family without one.
func (p AddressPool) Pick(taken func(netip.Addr) bool) ([]netip.Prefix, error) {
	var picked []netip.Prefix
	var full []string
	for _, is4 := range []bool{true, false} {
		var ranges []AddressRange
		for _, r := range p.Ranges {
			if r.First.Is4() == is4 {
				ranges = append(ranges, r)
			}
		}
		a, ok := firstFree(ranges, func(a netip.Addr) bool { return a == p.Gateway || taken(a) })
		switch {
		case ok:
			picked = append(picked, a)
		case len(ranges) > 0:
			full = append(full, fmt.Sprint(ranges))
		}
	}
	if len(full) > 0 {
		return nil, fmt.Errorf("no address of %s is free on this node", strings.Join(full, " and of "))
	}
	return picked, nil
}

func firstFree(ranges []AddressRange, taken func(netip.Addr) bool) (netip.Prefix, bool) {
	for _, r := range ranges {
		for a := r.First; a.IsValid() && !r.Last.Less(a); a = a.Next() {
			if !taken(a) {
				return netip.PrefixFrom(a, r.Bits), true
			}
		}
	}
	return netip.Prefix{}, false
}
