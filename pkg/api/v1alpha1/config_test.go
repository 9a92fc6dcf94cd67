package v1alpha1

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

var cmpNetip = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func plain(prefix string) nic.Address { return nic.Address{Prefix: netip.MustParsePrefix(prefix)} }

func ofClaim[T ~string | ~[]byte](raw T) Parameters { return Parameters{Raw: []byte(raw)} }

func TestDecode(t *testing.T) {
	whole := `{"apiVersion":"dra-netdev.github.io/v1alpha1","kind":"NetDeviceConfig",
		"interface":{"name":"net1","addresses":["192.0.2.1/24","2001:db8::1/64"],"mtu":9000,"hardwareAddr":"02:00:00:00:00:01"},
		"routes":[{"destination":"198.51.100.0/24","gateway":"192.0.2.254","source":"192.0.2.1","table":100},{"destination":"203.0.113.0/24","scope":253}],
		"neighbors":[{"destination":"192.0.2.9","hardwareAddr":"02:00:00:00:00:09"}]}`
	want := nic.Config{
		Interface: nic.Interface{
			Name:      "net1",
			Addresses: []nic.Address{plain("192.0.2.1/24"), plain("2001:db8::1/64")},
			MTU:       9000, HardwareAddr: nic.HardwareAddr{2, 0, 0, 0, 0, 1},
		},
		Routes: []nic.Route{
			{Destination: netip.MustParsePrefix("198.51.100.0/24"), Gateway: netip.MustParseAddr("192.0.2.254"), Source: netip.MustParseAddr("192.0.2.1"), Table: 100},
			{Destination: netip.MustParsePrefix("203.0.113.0/24"), Scope: 253},
		},
		Neighbors: []nic.Neighbor{{Destination: netip.MustParseAddr("192.0.2.9"), HardwareAddr: nic.HardwareAddr{2, 0, 0, 0, 0, 9}}},
	}
	got, err := Decode(ofClaim(whole))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpNetip); d != "" {
		t.Errorf("Decode (-want +got):\n%s", d)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(ofClaim(text))
	if d := cmp.Diff(got, again, cmpNetip); err != nil || d != "" {
		t.Errorf("what was decoded does not encode back: %v\n%s", err, d)
	}
}

func TestDecodeLaterWins(t *testing.T) {
	got, err := Decode(
		Parameters{"nic", []byte(`{"interface":{"name":"class0","mtu":9000,"addresses":["192.0.2.1/24"]},"routes":[{"destination":"0.0.0.0/0","gateway":"192.0.2.254"}]}`)},
		ofClaim(`{"interface":{"name":"claim0","addresses":["192.0.2.2/24"]}}`))
	want := nic.Config{
		Interface: nic.Interface{Name: "claim0", MTU: 9000, Addresses: []nic.Address{plain("192.0.2.2/24")}},
		Routes:    []nic.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.0.2.254")}},
	}
	if d := cmp.Diff(want, got, cmpNetip); err != nil || d != "" {
		t.Errorf("err %v (-want +got):\n%s", err, d)
	}
}

// TestDecodeRefuses checks that invalid input is refused with an error that names
// the field and the value.
func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ raw, want string }{
		{`{"interface":{"nane":"x"}}`, `unknown field "interface.nane"`},
		{`{"interface":{"Name":"x"}}`, `unknown field "interface.Name"`},
		{`{"interface":{"name":"a","name":"b"}}`, `duplicate field "interface.name"`},
		{`{"apiVersion":"resource.example/v1"}`, `apiVersion: "resource.example/v1"`},
		{`{"kind":"NetworkConfig"}`, `kind: "NetworkConfig"`},
		{`{"interface":{"mtu":"big"}}`, `interface.mtu: "big"`},
		{`{"interface":{"mtu":67}}`, `interface.mtu: "67"`},
		{`{"interface":{"mtu":1000,"addresses":["2001:db8::1/64"]}}`, `interface.mtu: "1000"`},
		{`{"interface":{"addresses":["192.0.2.1/24","192.0.2.300/24"]}}`, `interface.addresses[1]: "192.0.2.300/24"`},
		{`{"interface":{"addresses":["192.0.2.1"]}}`, `interface.addresses[0]: "192.0.2.1"`},
		{`{"interface":{"addresses":["224.0.0.1/24"]}}`, `interface.addresses[0]: "224.0.0.1/24"`},
		{`{"interface":{"addresses":["192.0.2.0/24"]}}`, `interface.addresses[0]: "192.0.2.0/24": must be a host address`},
		{`{"interface":{"addresses":["192.0.2.255/24"]}}`, `interface.addresses[0]: "192.0.2.255/24"`},
		{`{"interface":{"addresses":["192.0.2.7/0"]}}`, `interface.addresses[0]: "192.0.2.7/0"`},
		{`{"interface":{"addresses":["2001:db8::7/0"]}}`, `interface.addresses[0]: "2001:db8::7/0"`},
		{`{"interface":{"addresses":["0.1.2.3/8"]}}`, `interface.addresses[0]: "0.1.2.3/8"`},
		{`{"interface":{"addresses":["240.0.0.1/24"]}}`, `interface.addresses[0]: "240.0.0.1/24"`},
		{`{"interface":{"addresses":["255.255.255.255/32"]}}`, `interface.addresses[0]: "255.255.255.255/32"`},
		{`{"interface":{"addresses":["127.0.0.9/8"]}}`, `interface.addresses[0]: "127.0.0.9/8"`},
		{`{"interface":{"addresses":["::1/128"]}}`, `interface.addresses[0]: "::1/128"`},
		{`{"interface":{"addresses":["::ffff:192.0.2.1/120"]}}`, `interface.addresses[0]: "::ffff:192.0.2.1/120"`},
		{`{"interface":{"hardwareAddr":"ff:ff:ff:ff:ff:ff"}}`, `interface.hardwareAddr: "ff:ff:ff:ff:ff:ff"`},
		{`{"routes":[{"destination":"10.0.0.0/8","gateway":"0.0.0.9"}]}`, `routes[0].gateway: "0.0.0.9"`},
		{`{"routes":[{"destination":"10.0.0.0/8","gateway":"240.0.0.9"}]}`, `routes[0].gateway: "240.0.0.9"`},
		{`{"routes":[{"destination":"10.0.0.0/8","gateway":"255.255.255.255"}]}`, `routes[0].gateway: "255.255.255.255"`},
		{`{"routes":[{"destination":"10.0.0.0/8","gateway":"127.0.0.1"}]}`, `routes[0].gateway: "127.0.0.1"`},
		{`{"routes":[{"destination":"10.0.0.0/8","gateway":"224.0.0.1"}]}`, `routes[0].gateway: "224.0.0.1"`},
		{`{"routes":[{"destination":"10.0.0.0/8","source":"0.0.0.9"}]}`, `routes[0].source: "0.0.0.9"`},
		{`{"routes":[{"destination":"10.0.0.0/8"},{"destination":"10.0.0.0/8","table":254}]}`, `routes[1]: "10.0.0.0/8": duplicate`},
		{`{"neighbors":[{"destination":"192.0.2.9","hardwareAddr":"02:00:00:00:00:09"},{"destination":"192.0.2.9","hardwareAddr":"02:00:00:00:00:08"}]}`, `neighbors[1].destination: "192.0.2.9": duplicate`},
		{`{"neighbors":[{"destination":"255.255.255.255","hardwareAddr":"02:00:00:00:00:09"}]}`, `neighbors[0].destination: "255.255.255.255"`},
		{`{"neighbors":[{"destination":"127.0.0.9","hardwareAddr":"02:00:00:00:00:09"}]}`, `neighbors[0].destination: "127.0.0.9"`},
		{`{"interface":{"addresses":["192.0.2.1/24","192.0.2.1/25"]}}`, `interface.addresses[1]: "192.0.2.1/25": duplicate`},
		{`{"interface":{"hardwareAddr":"01:00:5e:00:00:01"}}`, `interface.hardwareAddr: "01:00:5e:00:00:01"`},
		{`{"interface":{"hardwareAddr":"00:00:00:00:00:00"}}`, `interface.hardwareAddr: "00:00:00:00:00:00"`},
		{`{"interface":{"hardwareAddr":"zz"}}`, `interface.hardwareAddr: "zz"`},
		{`{"interface":{"bandwidth":{"ingress":"100 M"}}}`, `interface.bandwidth.ingress: "100 M": must be 1k to 1P`},
		{`{"interface":{"bandwidth":{"egress":"999"}}}`, `interface.bandwidth.egress: "999": must be 1k to 1P`},
		{`{"interface":{"bandwidth":{"egress":"2P"}}}`, `interface.bandwidth.egress: "2P": must be 1k to 1P`},
		{`{"interface":{"bandwidth":{"egress":100000}}}`, `interface.bandwidth.egress: 100000`},
		{`{"interface":{"allowLoss":["qdiscs"]}}`, `interface.allowLoss: "[qdiscs]": a claim cannot set it, only a device class`},
		{`{"interface":{"name":"abcdefghijklmnop"}}`, `interface.name: "abcdefghijklmnop": must have 1 to 15 bytes, has 16`},
		{`{"interface":{"name":"eth0"}}`, `interface.name: "eth0"`},
		{`{"interface":{"name":"lo"}}`, `interface.name: "lo"`},
		{`{"interface":{"name":"all"}}`, `interface.name: "all"`},
		{`{"interface":{"name":"net%s"}}`, `interface.name: "net%s": must have only letters, digits, '.', '_' and '-', has '%'`},
		{`{"interface":{"name":"net%d.%d"}}`, `interface.name: "net%d.%d": must have %d once`},
		{`{"interface":{"name":"abcdefghijklm%d"}}`, `interface.name: "abcdefghijklm%d": with %d as 999: must have 1 to 15 bytes, has 16`},
		{`{"interface":{"name":"$(reboot);"}}`, `interface.name: "$(reboot);": must have only letters, digits, '.', '_' and '-', has '$'`},
		{"{\"interface\":{\"name\":\"a`b`\"}}", "interface.name: \"a`b`\": must have only letters"},
		{`{"interface":{"name":"it's"}}`, `interface.name: "it's": must have only letters`},
		{`{"interface":{"name":"a\"b"}}`, `interface.name: "a\"b": must have only letters`},
		{`{"interface":{"name":"a@b"}}`, `interface.name: "a@b": must have only letters, digits, '.', '_' and '-', has '@'`},
		{`{"interface":{"name":"näs0"}}`, `interface.name: "näs0": must have only letters, digits, '.', '_' and '-', has 'ä'`},
		{`{"interface":{"name":"a\u00a0b"}}`, `interface.name: "a\u00a0b": must have only letters`},
		{`{"interface":{"name":"a\\b"}}`, `interface.name: "a\\b": must have only letters`},
		{`{"interface":{"name":"."}}`, `interface.name: ".": cannot be used: it is the name of a directory`},
		{`{"interface":{"name":".."}}`, `interface.name: "..": cannot be used: it is the name of a directory`},
		{`{"interface":{"name":"a b"}}`, `interface.name: "a b"`},
		{`{"routes":[{"gateway":"192.0.2.1"}]}`, `routes[0].destination`},
		{`{"routes":[{"destination":"192.0.2.1/24"}]}`, `routes[0].destination: "192.0.2.1/24": has host bits set; want 192.0.2.0/24`},
		{`{"routes":[{"destination":"0.0.0.0/0","gateway":"2001:db8::1"}]}`, `routes[0].gateway: "2001:db8::1"`},
		{`{"routes":[{"destination":"0.0.0.0/0","gateway":"fe80::1%eth1"}]}`, `routes[0].gateway: "fe80::1%eth1"`},
		{`{"routes":[{"destination":"0.0.0.0/0","scope":7}]}`, `routes[0].scope: "7"`},
		{`{"routes":[{"destination":"0.0.0.0/0","table":255}]}`, `routes[0].table: "255"`},
		{`{"routes":[{"destination":"2001:db8::/32","scope":253}]}`, `routes[0].scope: "253": must be absent: IPv6 routes have no scope`},
		{`{"routes":[{"destination":"192.0.2.0/24"},{"destination":"192.0.2.0/24"}]}`, `routes[1]: "192.0.2.0/24": duplicate`},
		{`{"neighbors":[{"address":"192.0.2.9","hardwareAddr":"02:00:00:00:00:09"}]}`, `unknown field "neighbors[0].address"`},
		{`{"neighbors":[{"hardwareAddr":"02:00:00:00:00:09"}]}`, `neighbors[0].destination`},
		{`{"neighbors":[{"destination":"192.0.2.9"}]}`, `neighbors[0].hardwareAddr`},
		{`{"interface":{"gsoMaxSize":1023}}`, `interface.gsoMaxSize: "1023": must be 1024 to 524280`},
		{`{"interface":{"groIPv4MaxSize":524281}}`, `interface.groIPv4MaxSize: "524281": must be 1024 to 524280`},
		{`{"interface":{"txQueueLength":-1}}`, `interface.txQueueLength: "-1": must be 0 to 100000`},
		{`{"interface":{"vrf":{"table":100}}}`, `interface.vrf.name: "": required`},
		{`{"interface":{"vrf":{"name":"a"},"dhcp":true}}`, `interface.dhcp: "true": must not be set with interface.vrf`},
		{`{"interface":{"vrf":{"name":"a"},"sourceRouting":true}}`, `interface.sourceRouting: "true": must not be set with interface.vrf`},
		{`{"interface":{"vrf":{"name":"eth0"}}}`, `interface.vrf.name: "eth0": cannot be used`},
		{`{"interface":{"vrf":{"name":"net%d"}}}`, `interface.vrf.name: "net%d"`},
		{`{"interface":{"name":"a","vrf":{"name":"a"}}}`, `interface.vrf.name: "a": is the name of the interface`},
		{`{"interface":{"vrf":{"name":"a","table":254}}}`, `interface.vrf.table: "254"`},
		{`{"interface":{"vrf":{"name":"blue"}},"rules":[{"source":"10.0.0.0/8","table":1541}]}`, `rules[0].table: "1541": is the table`},
		{`{"interface":{"vrf":{"name":"a"},"dhcp6":true}}`, `interface.dhcp6: "true": must not be set with interface.vrf`},
		{`{"interface":{"vrf":{"name":"blue"}},"routes":[{"destination":"10.0.0.0/8","table":1541}]}`, `routes[0].table: "1541": is the table that follows from the name of the VRF blue`},
		{`{"interface":{"arpIgnore":4}}`, `interface.arpIgnore: "4": must be one of 0, 1, 2, 3, 8`},
		{`{"interface":{"arpAnnounce":-1}}`, `interface.arpAnnounce: "-1": must be one of 0, 1, 2`},
		{`{"interface":{"forwarding":"yes"}}`, `interface.forwarding: "yes"`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.all.forwarding":"1"}}}`, `interface.sysctls.net.ipv4.conf.all.forwarding: "1": must be a name that matches`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.eth0.forwarding":"1"}}}`, `interface.sysctls.net.ipv4.conf.eth0.forwarding`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.IFNAME/../all.forwarding":"1"}}}`, `must be a name that matches`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.IFNAME...forwarding":"1"}}}`, `must be a name that matches`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.IFNAME.":"1"}}}`, `must be a name that matches`},
		{`{"interface":{"sysctls":{"kernel.core_pattern":"1"}}}`, `must be a name that matches`},
		{`{"interface":{"sysctls":{"net.core.IFNAME.somaxconn":"1"}}}`, `must be a name that matches`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.IFNAME.rp_filter":"1\n2"}}}`, `interface.sysctls.net.ipv4.conf.IFNAME.rp_filter: "1\n2": must be a number`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.IFNAME.rp_filter":""}}}`, `rp_filter: "": must be a number`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.IFNAME.rp_filter":2}}}`, `interface.sysctls.net.ipv4.conf.IFNAME.rp_filter: 2`},
		{`{"interface":{"arpIgnore":1,"sysctls":{"net.ipv4.conf.IFNAME.arp_ignore":"2"}}}`, `interface.sysctls.net.ipv4.conf.IFNAME.arp_ignore: "2": interface.arpIgnore sets net.ipv4.conf.IFNAME.arp_ignore to 1`},
		{`{"interface":{"forwarding":false,"sysctls":{"net.ipv6.conf.IFNAME.forwarding":"1"}}}`, `interface.forwarding sets net.ipv6.conf.IFNAME.forwarding to 0`},
		{`{"ethtool":{"features":{"tso":"on"}}}`, `ethtool.features.tso: "on"`},
		{`{"ethtool":{"features":{"a b":true}}}`, `ethtool.features.a b`},
		{`{"ethtool":{"features":{"tso":true,"tcp-segmentation-offload":false}}}`, `ethtool.features.tso: "true": tcp-segmentation-offload is the same feature and has false`},
		{`{"ethtool":{"privateFlags":{"":true}}}`, `ethtool.privateFlags.`},
		{`{"ethtool":{"rings":{"rx":-1}}}`, `ethtool.rings.rx: -1`},
		{`{"ethtool":{"rings":{"big":1}}}`, `unknown field "ethtool.rings.big"`},
		{`{"ethtool":{"channels":{"combined":0,"rx":0}}}`, `ethtool.channels: "0": one queue at least must receive, and one send`},
		{`{"ethtool":{"coalesce":{"rxUsecs":4294967296}}}`, `ethtool.coalesce.rxUsecs: 4294967296`},
		{`{"ethtool":{"speed":0}}`, `ethtool.speed: "0": must be 1 to 2147483647`},
		{`{"ethtool":{"speed":1000,"duplex":"both"}}`, `ethtool.duplex: "both": must be one of half, full`},
		{`{"ethtool":{"duplex":"half"}}`, `ethtool.duplex: "half": needs ethtool.speed`},
		{`{"ethtool":{"autoneg":false}}`, `ethtool.autoneg: "false": needs ethtool.speed`},
		{`{"interface":{"addressPool":{"ranges":["192.0.2.0/24"]}}}`, `interface.addressPool: "[192.0.2.1-192.0.2.254/24]": a claim cannot set it, only a device class`},
		{`[]`, `decode NetDeviceConfig`},
	}
	for _, tt := range tests {
		t.Run(tt.raw, func(t *testing.T) {
			_, err := Decode(ofClaim(tt.raw))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %s", err, tt.want)
			}
		})
	}
}

// TestDecodeClass checks what only a device class can set.
func TestDecodeClass(t *testing.T) {
	tests := []struct{ raw, want string }{
		{`{"interface":{"addressPool":{"ranges":["192.0.2.10-192.0.2.19/24","2001:db8::/64"],"gateway":"192.0.2.1"}}}`, ``},
		{`{"interface":{"addressPool":{"ranges":["2001:db8::/64"],"gateway":"fe80::1"}}}`, ``},
		{`{"interface":{"allowLoss":["qdiscs","qdisc"]}}`, `interface.allowLoss[1]: "qdisc": must be one of `},
		{`{"interface":{"allowLoss":["qdiscs","filters"]}}`, ``},
		{`{"interface":{"addressPool":{"gateway":"192.0.2.1"}}}`, `interface.addressPool.ranges: "": required with a gateway`},
		{`{"interface":{"addressPool":{"ranges":["192.0.2.10"]}}}`, `interface.addressPool.ranges[0]: "192.0.2.10": must be a range`},
		{`{"interface":{"addressPool":{"ranges":["192.0.2.0-192.0.2.9/24"]}}}`, `interface.addressPool.ranges[0]: "192.0.2.0-192.0.2.9/24": must be host addresses`},
		{`{"interface":{"addressPool":{"ranges":["224.0.0.1-224.0.0.9/24"]}}}`, `interface.addressPool.ranges[0]: "224.0.0.1-224.0.0.9/24": must be unicast`},
		{`{"interface":{"addressPool":{"ranges":["192.0.2.0/24"],"gateway":"198.51.100.1"}}}`, `interface.addressPool.gateway: "198.51.100.1": is in the network of none`},
		{`{"interface":{"addressPool":{"ranges":["192.0.2.0/24"],"gateway":"fe80::1"}}}`, `interface.addressPool.gateway: "fe80::1": is in the network of none`},
		{`{"interface":{"dhcp":true,"addressPool":{"ranges":["2001:db8::/64"]}}}`, ``},
		{`{"interface":{"dhcp":true,"addressPool":{"ranges":["192.0.2.0/24"]}}}`, `interface.addressPool.ranges[0]: "192.0.2.1-192.0.2.254/24": cannot be set together with interface.dhcp`},
		{`{"interface":{"addresses":["192.0.2.1/24"],"addressPool":{"ranges":["192.0.2.0/24"]}}}`, `interface.addressPool.ranges: "[192.0.2.1-192.0.2.254/24]": cannot be set together with interface.addresses`},
	}
	for _, tt := range tests {
		_, err := Decode(Parameters{"pool", []byte(tt.raw)})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", tt.raw, err, tt.want)
		}
	}
}

// TestDecodeTakes checks that valid input which looks invalid is accepted.
func TestDecodeTakes(t *testing.T) {
	for _, raw := range []string{
		`{"interface":{"addresses":["192.0.2.4/31"]}}`, `{"interface":{"addresses":["192.0.2.5/31"]}}`, `{"interface":{"addresses":["192.0.2.0/32"]}}`,
		`{"interface":{"addresses":["2001:db8::/64"]}}`, `{"interface":{"addresses":["2001:db8::/127"]}}`, `{"interface":{"addresses":["fec0::1/64"]}}`,
		`{"interface":{"addresses":["169.254.10.1/30"]}}`, `{"interface":{"addresses":["fe80::1/64"]}}`, `{"interface":{"addresses":["10.1.0.0/8"]}}`,
		`{"neighbors":[{"destination":"192.0.2.9","ipAddress":"192.0.2.9","hardwareAddr":"02:00:00:00:00:09"}]}`,
		`{"interface":{"name":"net%d"}}`, `{"interface":{"name":"rail%d.a"}}`,
		`{"routes":[{"destination":"240.0.0.0/4"}]}`, `{"routes":[{"destination":"224.0.0.0/4"}]}`,
		`{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.8"},{"destination":"10.0.0.0/8","gateway":"192.0.2.9"}]}`,
		`{"routes":[{"destination":"10.0.0.0/8"},{"destination":"10.0.0.0/8","table":100}]}`,
	} {
		if _, err := Decode(ofClaim(raw)); err != nil {
			t.Errorf("%s: got error %v", raw, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"interface":{"name":"net1","addresses":["192.0.2.1/24"],"hardwareAddr":"02:00:00:00:00:01"}}`))
	f.Add([]byte(`{"routes":[{"destination":"::/0","gateway":"fe80::1"}]}`))
	f.Add([]byte(`{"claimMaySet":["interface.name","routes"]}`))
	f.Add([]byte(`{"interface":{"name":"net2"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		fuzzClass(t, raw)
		c, err := Decode(ofClaim(raw))
		if err != nil {
			return
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("decoded but does not encode: %v", err)
		}
		again, err := Decode(ofClaim(text))
		if d := cmp.Diff(c, again, cmpNetip, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%s encodes to %s: %v\n%s", raw, text, err, d)
		}
	})
}

// fuzzClass checks that with a class that lets claims set only the name, all
// other fields are the class's, whatever the claim has; and that a class with any
// parameters lets a claim set the fields in its list and no others.
func fuzzClass(t *testing.T, raw []byte) {
	class := Parameters{"fixed", []byte(`{"claimMaySet":["interface.name"],"interface":{"name":"net1","mtu":1400,"addresses":["192.0.2.1/24"]},"neighbors":[]}`)}
	want, err := Decode(class)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(class, ofClaim(raw)); err == nil {
		want.Interface.Name = got.Interface.Name
		if d := cmp.Diff(want, got, cmpNetip); d != "" {
			t.Errorf("the claim %s has set more than its name:\n%s", raw, d)
		}
	}
	c, err := decodeOne(raw)
	if _, alone := Decode(Parameters{"any", raw}); err != nil || alone != nil {
		return
	}
	_, err = Decode(Parameters{"any", raw}, ofClaim(`{"interface":{"name":"net2"}}`))
	if may := c.ClaimMaySet == nil || slices.Contains(c.ClaimMaySet, "interface") || slices.Contains(c.ClaimMaySet, "interface.name"); may != (err == nil) {
		t.Errorf("the class %s lets a claim set its name: %v, want %v", raw, err == nil, may)
	}
}
