package v1alpha1

import (
	"strings"
	"testing"
)

// TestRules checks that invalid rules are refused with an error that names field and
// value, and that valid ones which look invalid are accepted.
func TestRules(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{`{"rules":[{"source":"192.0.2.1/24"}]}`, `rules[0].source: "192.0.2.1/24": must be a prefix without host bits, such as 192.0.2.0/24`},
		{`{"rules":[{"source":"192.0.2.1"}]}`, `rules[0].source: "192.0.2.1"`},
		{`{"rules":[{"source":"192.0.2.1/32","destination":"::/0"}]}`, `rules[0].destination: "::/0": must be of the family IPv4`},
		{`{"rules":[{"source":"192.0.2.1/32","family":"IPv6"}]}`, `rules[0].source: "192.0.2.1/32": must be of the family IPv6`},
		{`{"rules":[{"family":"ipv4"}]}`, `rules[0].family: "ipv4": must be one of IPv4, IPv6`},
		{`{"rules":[{"priority":-1}]}`, `rules[0].priority: -1`},
		{`{"rules":[{"fwmark":"1/2/3"}]}`, `rules[0].fwmark: "1/2/3"`},
		{`{"rules":[{"fwmark":"4294967296"}]}`, `rules[0].fwmark: "4294967296": must be a number below 2^32`},
		{`{"rules":[{"fwmark":1}]}`, `rules[0].fwmark: 1`},
		{`{"rules":[{"iif":"a/b"}]}`, `rules[0].iif: "a/b"`},
		{`{"rules":[{"oif":"abcdefghijklmnop"}]}`, `rules[0].oif: "abcdefghijklmnop"`},
		{`{"rules":[{"ipProto":"tpc"}]}`, `rules[0].ipProto: "tpc": must be tcp, udp`},
		{`{"rules":[{"ipProto":"256"}]}`, `rules[0].ipProto: "256"`},
		{`{"rules":[{"sourcePorts":"0"}]}`, `rules[0].sourcePorts: "0": must be a port from 1 to 65534`},
		{`{"rules":[{"destinationPorts":"9-8"}]}`, `rules[0].destinationPorts: "9-8"`},
		{`{"rules":[{"destinationPorts":"1-65535"}]}`, `rules[0].destinationPorts: "1-65535"`},
		{`{"rules":[{"source":"192.0.2.0/24","suppressPrefixLength":33}]}`, `rules[0].suppressPrefixLength: "33": must be 32 or less with IPv4`},
		{`{"rules":[{"suppressPrefixLength":-1}]}`, `rules[0].suppressPrefixLength: "-1": must be 0 to 128`},
		{`{"rules":[{"table":7},{"table":7}]}`, `rules[1]`},
		{`{"interface":{"vrf":{"name":"blue"}},"rules":[{"table":7}]}`, `rules: "1": must be empty with interface.vrf`},
		{`{"interface":{"vrf":{"name":"blue"},"sourceRouting":true}}`, `interface.sourceRouting: "true": must not be set with interface.vrf`},
		{`{"interface":{"dhcp":true,"sourceRouting":true}}`, `interface.sourceRouting: "true": must not be set with interface.dhcp or dhcp6`},
		{`{"interface":{"dhcp6":true,"sourceRouting":true}}`, `interface.sourceRouting: "true": must not be set with interface.dhcp or dhcp6`},
		{`{"rules":[{"from":"192.0.2.0/24"}]}`, `unknown field "rules[0].from"`},
	} {
		if _, err := Decode(ofClaim(tt.raw)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %s", tt.raw, err, tt.want)
		}
	}
	for _, raw := range []string{
		`{"rules":[]}`, `{"rules":[{"table":7},{"table":7,"invert":true},{"source":"0.0.0.0/0"},{"fwmark":"0/0xff"},{"destinationPorts":"65534"}]}`,
	} {
		if _, err := Decode(ofClaim(raw)); err != nil {
			t.Errorf("%s: got error %v", raw, err)
		}
	}
}
