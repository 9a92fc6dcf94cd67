package netdev

import (
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestIPv6InThePod checks whether a link has IPv6 in pods with and without it, what
// is reported, and that it ignores routers unless the config says otherwise.
func TestIPv6InThePod(t *testing.T) {
	const (
		onHost = "ip link set h0 up\nip addr add 192.0.2.7/24 dev h0\nip addr add 2001:db8::7/64 dev h0 nodad\nip -6 route add 2001:db8:1::/48 via 2001:db8::fe dev h0"
		off    = "sysctl -qw net.ipv6.conf.default.disable_ipv6=1"
		has    = "inet6 2001:db8::7/64"
		note   = "the pod has IPv6 switched off: it is on for this interface"
		lost   = "address 2001:db8::7/64: IPv6 is switched off in the pod by interface.disableIPv6"
	)
	for _, tt := range []struct {
		name, inPod, config string
		has                 bool
		omitted             []string
		sysctls             map[string]string
	}{
		{name: "on", has: true, sysctls: map[string]string{"disable_ipv6": "0", "accept_ra": "0"}},
		{name: "off in the pod", inPod: off, has: true, omitted: []string{note}, sysctls: map[string]string{"disable_ipv6": "0", "accept_ra": "0"}},
		{name: "off in the pod, no IPv6 address", inPod: off, config: `,"addresses":["192.0.2.8/24"]`, omitted: []string{"route 2001:db8:1::/48"}, sysctls: map[string]string{"disable_ipv6": "1", "accept_ra": "0"}},
		{name: "off in the pod, switched on", inPod: off, config: `,"disableIPv6":false`, has: true, sysctls: map[string]string{"disable_ipv6": "0"}},
		{name: "off in the pod, switched on without an address", inPod: off, config: `,"disableIPv6":false,"addresses":["192.0.2.8/24"]`, omitted: []string{"route 2001:db8:1::/48"}, sysctls: map[string]string{"disable_ipv6": "0"}},
		{name: "off in the pod, switched off", inPod: off, config: `,"disableIPv6":true`, omitted: []string{lost, "route 2001:db8:1::/48"}, sysctls: map[string]string{"disable_ipv6": "1"}},
		{name: "on in the pod, switched off", config: `,"disableIPv6":true`, omitted: []string{lost, "route 2001:db8:1::/48"}, sysctls: map[string]string{"disable_ipv6": "1", "accept_ra": "0"}},
		{name: "routers are accepted", config: `,"acceptRA":true`, has: true, sysctls: map[string]string{"accept_ra": "1"}},
		{name: "routers are accepted, forwarding", config: `,"acceptRA":true,"forwarding":true`, has: true, sysctls: map[string]string{"accept_ra": "2"}},
		{name: "routers are accepted, forwarding in the pod", inPod: "sysctl -qw net.ipv6.conf.all.forwarding=1", config: `,"acceptRA":true`, has: true, sysctls: map[string]string{"accept_ra": "2"}},
		{name: "routers are not accepted", config: `,"acceptRA":false`, has: true, sysctls: map[string]string{"accept_ra": "0"}},
		{name: "the sysctl is set", config: `,"sysctls":{"net.ipv6.conf.IFNAME.accept_ra":"2"}`, has: true, sysctls: map[string]string{"accept_ra": "2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, onHost, tt.inPod)
			p := w.plan("h0", `{"interface":{"name":"net1"`+tt.config+`}}`)
			a := w.attach(p)[0]
			p.ID = a.ID
			omitted := append(slices.Clone(w.omitted), a.Omitted...)
			if len(omitted) != len(tt.omitted) {
				t.Errorf("omitted: got %q, want %q", omitted, tt.omitted)
			}
			for _, want := range tt.omitted {
				if !slices.ContainsFunc(omitted, func(o string) bool { return strings.HasPrefix(o, want) }) {
					t.Errorf("omitted: got %q, want %q", omitted, want)
				}
			}
			if got := strings.Contains(w.Pod.Run("ip addr show net1"), has); got != tt.has {
				t.Errorf("has its IPv6 address: got %t, want %t", got, tt.has)
			}
			for name, want := range tt.sysctls {
				if got := strings.TrimSpace(w.Pod.Run("cat /proc/sys/net/ipv6/conf/net1/" + name)); got != want {
					t.Errorf("%s: got %s, want %s", name, got, want)
				}
			}
			w.detach(p)
			w.asBefore()
		})
	}
}

// TestIPv6Refused checks that what needs IPv6 is refused by its name for a link that
// has none in the pod.
func TestIPv6Refused(t *testing.T) {
	w := newWorld(t, "", "")
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal(err)
	}
	original, l, err := Read(t.Context(), w.host, Identify(l, "nd-test-0"))
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		`{"interface":{"disableIPv6":true,"addresses":["192.0.2.1/24","2001:db8::1/64"]}}`:                              `interface.addresses[1]: "2001:db8::1/64": IPv6 is switched off in the pod by interface.disableIPv6`,
		`{"interface":{"disableIPv6":true,"acceptRA":true}}`:                                                            `interface.acceptRA: "true": IPv6 is switched off`,
		`{"interface":{"disableIPv6":true,"dhcp6":true}}`:                                                               `interface.dhcp6: "true": IPv6 is switched off`,
		`{"interface":{"disableIPv6":true},"routes":[{"destination":"2001:db8::/64"}]}`:                                 `routes[0].destination: "2001:db8::/64": IPv6 is switched off`,
		`{"interface":{"disableIPv6":false,"mtu":1000}}`:                                                                `interface.disableIPv6: "false": IPv6 needs an MTU of 1280 or more`,
		`{"interface":{"acceptRA":true,"mtu":1000}}`:                                                                    `interface.acceptRA: "true": IPv6 needs an MTU of 1280 or more`,
		`{"interface":{"disableIPv6":true},"neighbors":[{"destination":"fe80::1","hardwareAddr":"02:00:00:00:00:01"}]}`: `neighbors[0].destination: "fe80::1": IPv6 is switched off`,
	} {
		c, err := v1alpha1.Decode(v1alpha1.Parameters{Raw: []byte(config)})
		if err == nil {
			_, _, err = Desired(l, original, c)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %s", config, err, want)
		}
	}
}
