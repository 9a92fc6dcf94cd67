package v1alpha1

import (
	"strings"
	"testing"
)

// dranetConfigs are configs in the shape of dranet's NetworkConfig, at least one for
// each of its fields, with the error that Decode returns; none: the config works as
// it is. docs/from-dranet.md has the fields.
var dranetConfigs = []struct{ name, config, err string }{
	{"nothing", `{}`, ""},
	{"name and addresses", `{"interface":{"name":"eth99","addresses":["192.0.2.10/24","2001:db8::10/64"]}}`, ""},
	{"name of a device with an underscore", `{"interface":{"name":"mlx5_6"}}`, ""},
	{"MTU", `{"interface":{"mtu":4321}}`, ""},
	{"hardware address", `{"interface":{"hardwareAddr":"00:11:22:33:44:55"}}`, ""},
	{"type and addressing", `{"interface":{"type":"Passthrough","addressing":"Static","addresses":["192.0.2.10/24"]}}`, ""},
	{"no addresses", `{"interface":{"addressing":"Unnumbered"}}`, ""},
	{"SLAAC", `{"interface":{"addressing":"SLAAC"}}`, ""},
	{"DHCP", `{"interface":{"name":"net1","dhcp":true}}`, ""},
	{"ARP", `{"interface":{"arpIgnore":1,"arpAnnounce":2}}`, ""},
	{"forwarding", `{"interface":{"forwarding":true}}`, ""},
	{"big TCP, IPv6", `{"interface":{"gsoMaxSize":65536,"groMaxSize":65536}}`, ""},
	{"big TCP, IPv4", `{"interface":{"gsoIPv4MaxSize":65536,"groIPv4MaxSize":65536}}`, ""},
	{"BPF programs", `{"interface":{"disableEbpfPrograms":true}}`, ""},
	{"VRF", `{"interface":{"addresses":["192.0.2.10/24"],"vrf":{"name":"vrf0","table":100}},"routes":[{"destination":"0.0.0.0/0","gateway":"192.0.2.1"}]}`, ""},
	{"routes", `{"interface":{"addresses":["192.0.2.10/24"]},"routes":[{"destination":"198.51.100.0/24","gateway":"192.0.2.1"},{"destination":"203.0.113.0/24","scope":253}]}`, ""},
	{"routes with source and table", `{"routes":[{"destination":"198.51.100.0/24","gateway":"192.0.2.1","source":"192.0.2.10","scope":0,"table":100}]}`, ""},
	{"rules", `{"rules":[{"priority":100,"source":"192.0.2.0/24","destination":"198.51.100.0/24","table":100}]}`, ""},
	{"neighbors", `{"neighbors":[{"destination":"192.0.2.1","hardwareAddr":"02:00:00:00:00:01"}]}`, ""},
	{"neighbors as in its documentation", `{"neighbors":[{"ipAddress":"2001:db8::1","hardwareAddr":"02:00:00:00:00:01"}]}`, ""},
	{"features", `{"ethtool":{"features":{"tcp-segmentation-offload":true,"rx-checksum":false}}}`, ""},
	{"private flags", `{"ethtool":{"privateFlags":{"link-down-on-close":true}}}`, ""},

	{"profile", `{"profile":"gold"}`, `unknown field "profile": a profile is resolved by a provider of dranet`},
	{"DHCP by addressing", `{"interface":{"addressing":"DHCP"}}`, ""},
	{"IPVLAN", `{"interface":{"type":"IPVLAN"}}`, `interface.type: "IPVLAN": an interface is moved into one pod as a whole`},
	{"mode of IPVLAN", `{"interface":{"ipvlan":{"mode":"L2"}}}`, `unknown field "interface.ipvlan": an interface is moved as a whole`},
	{"name of the pod's network", `{"interface":{"name":"eth0"}}`, `interface.name: "eth0"`},
	{"multicast hardware address", `{"interface":{"hardwareAddr":"01:00:5e:00:00:01"}}`, `interface.hardwareAddr: "01:00:5e:00:00:01"`},
	{"neighbor with two addresses", `{"neighbors":[{"destination":"192.0.2.2","ipAddress":"192.0.2.1","hardwareAddr":"02:00:00:00:00:01"}]}`,
		`neighbors[0].ipAddress: "192.0.2.1": is another name of destination, which is "192.0.2.2"`},
}

// TestDranetConfigs checks that configs written for dranet work as they are, and that
// the few that do not are refused with a sentence.
func TestDranetConfigs(t *testing.T) {
	for _, c := range dranetConfigs {
		_, err := Decode(ofClaim(c.config))
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %s: got error %v, want %q", c.name, c.config, err, c.err)
		}
	}
}
