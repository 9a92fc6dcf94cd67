package v1alpha1

import (
	"strings"
	"testing"
)

// TestDHCP checks which configs can lease addresses, and which families.
func TestDHCP(t *testing.T) {
	for _, tt := range []struct {
		raw       string
		four, six bool
		want      string // the error
	}{
		{`{}`, false, false, ``},
		{`{"interface":{"dhcp":true}}`, true, false, ``},
		{`{"interface":{"dhcp":false,"dhcp6":true}}`, false, true, ``},
		{`{"interface":{"dhcp":true,"dhcp6":true,"addresses":["192.0.2.1/24"]}}`, true, true, ``},
		{`{"interface":{"addressing":"DHCP"}}`, true, false, ``},
		{`{"interface":{"addressing":"DHCP","dhcp":true,"dhcp6":true}}`, true, true, ``},
		{`{"interface":{"addressing":"DHCP","dhcp":false}}`, false, false, `interface.addressing: "DHCP": is the same as interface.dhcp: true, which is false`},
		{`{"interface":{"addressing":"Unnumbered","dhcp6":true}}`, false, false, `interface.addressing: "Unnumbered": must be absent with interface.dhcp6`},
		{`{"interface":{"dhcp6":true,"vrf":{"name":"a"}}}`, false, false, `interface.dhcp6: "true": must not be set with interface.vrf`},
		{`{"interface":{"dhcp6":true,"sourceRouting":true}}`, false, false, `interface.sourceRouting: "true": must not be set with interface.dhcp6`},
		{`{"interface":{"dhcp6":true,"mtu":1000}}`, false, false, `interface.mtu: "1000": must be 1280 or more with interface.dhcp6`},
		{`{"interface":{"dhcp6":true,"addressPool":{"ranges":["2001:db8::/64"]}}}`, false, false, `cannot be set together with interface.dhcp6`},
		{`{"interface":{"dhcp6":true,"addressPool":{"ranges":["192.0.2.0/24"]}}}`, false, true, ``},
		{`{"interface":{"dhcp":"yes"}}`, false, false, `interface.dhcp`},
		{`{"interface":{"dhcp6":1}}`, false, false, `interface.dhcp6`},
	} {
		c, err := Decode(Parameters{"class", []byte(tt.raw)}) // which can set all fields
		switch {
		case tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got error %v, want %q", tt.raw, err, tt.want)
		case err == nil && (c.Interface.WantsDHCP() != tt.four || c.Interface.WantsDHCP6() != tt.six):
			t.Errorf("%s: leases IPv4 %v, IPv6 %v", tt.raw, c.Interface.WantsDHCP(), c.Interface.WantsDHCP6())
		}
	}
}
