package v1alpha1

import (
	"strings"
	"testing"
)

// TestRoutes checks that invalid routes are refused with an error that names field and
// value, and that valid ones which look invalid are accepted.
func TestRoutes(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{`{"routes":[{"destination":"10.0.0.0/8","mtu":67}]}`, `routes[0].mtu: "67": must be 68 to 65520`},
		{`{"routes":[{"destination":"2001:db8::/32","mtu":1279}]}`, `routes[0].mtu: "1279": must be 1280 or more with IPv6`},
		{`{"routes":[{"destination":"10.0.0.0/8","onLink":true}]}`, `routes[0].onLink: "true": must be absent without a gateway`},
		{`{"routes":[{"destination":"10.0.0.0/8","type":"local"}]}`, `routes[0].type: "local": must be one of unicast, blackhole`},
		{`{"routes":[{"destination":"10.0.0.0/8","type":"blackhole","gateway":"192.0.2.9"}]}`, `routes[0].gateway: "blackhole": must be absent`},
		{`{"routes":[{"destination":"10.0.0.0/8","type":"throw","source":"192.0.2.9","mtu":1400,"protocol":4}]}`, `routes[0].mtu: "throw": must be absent`},
		{`{"routes":[{"destination":"10.0.0.0/8","type":"throw"},{"destination":"10.0.0.0/8","gateway":"192.0.2.9"}]}`, `routes[1].metric: "0": must differ from that of the other route to 10.0.0.0/8`},
		{`{"routes":[{"destination":"10.0.0.0/8","type":"throw"},{"destination":"10.0.0.0/8","type":"blackhole"}]}`, `routes[1]: "10.0.0.0/8": duplicate`},
		{`{"routes":[{"destination":"10.0.0.0/8","protocol":2}]}`, `routes[0].protocol: "2": must be 3 to 255`},
		{`{"routes":[{"destination":"10.0.0.0/8","protocol":9}]}`, `routes[0].protocol: "9": must not be that of router advertisements`},
		{`{"routes":[{"destination":"10.0.0.0/8","metric":-1}]}`, `routes[0].metric: -1`},
		{`{"routes":[{"destination":"10.0.0.0/8","multipath":[{"gateway":"192.0.2.9"}]}]}`, `routes[0].multipath: "1": must have two gateways or more`},
		{`{"routes":[{"destination":"10.0.0.0/8","multipath":[]}]}`, `routes[0].multipath: "0": must have two`},
		{`{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.7","multipath":[{"gateway":"192.0.2.9"},{"gateway":"192.0.2.8"}]}]}`, `routes[0].gateway: "192.0.2.7": must be absent with multipath`},
		{`{"routes":[{"destination":"10.0.0.0/8","multipath":[{"gateway":"192.0.2.9"},{"gateway":"192.0.2.9"}]}]}`, `routes[0].multipath[1].gateway: "192.0.2.9": duplicate`},
		{`{"routes":[{"destination":"10.0.0.0/8","multipath":[{"gateway":"192.0.2.9"},{"gateway":"2001:db8::1"}]}]}`, `routes[0].multipath[1].gateway: "2001:db8::1": must be of the same family`},
		{`{"routes":[{"destination":"10.0.0.0/8","multipath":[{"gateway":"192.0.2.9"},{"weight":2}]}]}`, `routes[0].multipath[1].gateway: "": required`},
		{`{"routes":[{"destination":"10.0.0.0/8","multipath":[{"gateway":"192.0.2.9"},{"gateway":"192.0.2.8","weight":257}]}]}`, `routes[0].multipath[1].weight: "257": must be 1 to 256`},
	} {
		if _, err := Decode(ofClaim(tt.raw)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %s", tt.raw, err, tt.want)
		}
	}
	for _, raw := range []string{
		`{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.9"},{"destination":"10.0.0.0/8","gateway":"192.0.2.9","metric":1}]}`,
		`{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.9"},{"destination":"10.0.0.0/8","type":"blackhole","metric":1}]}`,
		`{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.9"},{"destination":"10.0.0.0/8","type":"blackhole","table":1}]}`,
	} {
		if _, err := Decode(ofClaim(raw)); err != nil {
			t.Errorf("%s: got error %v", raw, err)
		}
	}
}
