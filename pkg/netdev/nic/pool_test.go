package nic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAddressRange(t *testing.T) {
	tests := []struct{ text, want, err string }{
		{"192.0.2.10-192.0.2.19/24", "192.0.2.10-192.0.2.19/24", ""},
		{"192.0.2.10-192.0.2.10/32", "192.0.2.10-192.0.2.10/32", ""}, // one address is its own network
		{"192.0.2.10-192.0.2.10/24", "192.0.2.10-192.0.2.10/24", ""},
		{"192.0.2.0/24", "192.0.2.1-192.0.2.254/24", ""},
		{"192.0.2.7/24", "192.0.2.1-192.0.2.254/24", ""},
		{"192.0.2.0/31", "192.0.2.0-192.0.2.1/31", ""},
		{"192.0.2.9/32", "192.0.2.9-192.0.2.9/32", ""},
		{"2001:db8::/126", "2001:db8::1-2001:db8::3/126", ""},
		{"2001:db8::10-2001:db8::1f/64", "2001:db8::10-2001:db8::1f/64", ""},
		{"192.0.2.19-192.0.2.10/24", "", "192.0.2.19 is above the range's end"},
		{"192.0.2.10-198.51.100.10/24", "", "192.0.2.10 is not in the network 198.51.100.0/24"},
		{"192.0.2.10-2001:db8::1/64", "", "192.0.2.10 is not in the network"},
		{"192.0.2.10-192.0.2.19", "", "must be a range"},
		{"x-192.0.2.19/24", "", `"x" is no address`},
		{"fe80::1%eth0-fe80::9/64", "", `"fe80::1%eth0" is no address`},
		{"::ffff:192.0.2.0/120", "", "must be a range"},
		{"", "", "must be a range"},
	}
	for _, tt := range tests {
		var r AddressRange
		err := r.UnmarshalText([]byte(tt.text))
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && (err != nil || r.String() != tt.want) {
			t.Errorf("%q: got %s, error %v; want %q, error %q", tt.text, r, err, tt.want, tt.err)
		}
	}
}

func TestPick(t *testing.T) {
	tests := []struct{ ranges, gateway, taken, want, err string }{
		{"192.0.2.10-192.0.2.12/24", "", "", "[192.0.2.10/24]", ""},
		{"192.0.2.10-192.0.2.12/24", "192.0.2.10", "192.0.2.11", "[192.0.2.12/24]", ""},
		{"192.0.2.10-192.0.2.10/24 192.0.2.20-192.0.2.21/24", "", "192.0.2.10", "[192.0.2.20/24]", ""},
		{"2001:db8::/64 192.0.2.0/30", "", "192.0.2.1 2001:db8::1", "[192.0.2.2/30 2001:db8::2/64]", ""},
		{"192.0.2.0/30 2001:db8::/64", "192.0.2.1", "192.0.2.2", "", "no address of [192.0.2.1-192.0.2.2/30] is free on this node"},
		{"255.255.255.254-255.255.255.255/24", "", "255.255.255.254 255.255.255.255", "", "no address of"},
	}
	for _, tt := range tests {
		var p AddressPool
		p.Gateway, _ = netip.ParseAddr(tt.gateway)
		for _, text := range strings.Fields(tt.ranges) {
			var r AddressRange
			if err := r.UnmarshalText([]byte(text)); err != nil {
				t.Fatal(err)
			}
			p.Ranges = append(p.Ranges, r)
		}
		got, err := p.Pick(func(a netip.Addr) bool { return slices.Contains(strings.Fields(tt.taken), a.String()) })
		if tt.err == "" && (err != nil || fmt.Sprint(got) != tt.want) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%+v: got %v, error %v", tt, got, err)
		}
	}
}
