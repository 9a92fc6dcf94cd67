package netdev

import (
	"context"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// oddHost has a veth, and links that cannot have all that a veth can.
const oddHost = `
	ip link set h0 up
	ip addr add 192.0.2.1/24 dev h0
	ip addr add 2001:db8::1/64 dev h0 nodad
	ip link set p0 mtu 1400 address 02:00:00:00:00:a0
	ip link add m0 link p0 type macvlan mode bridge
	ip link add m1 link p0 address 02:00:00:00:00:a1 up type macvlan mode bridge
	ip link add f0 type ifb
	ip tuntap add t0 mode tun`

// oddConfigs are configs that a link cannot have, with the errors, and similar
// ones that work.
var oddConfigs = []struct{ link, config, refused string }{
	{"h0", `{"interface":{"mtu":70000}}`, `interface.mtu: "70000": the interface takes 65535 at most`},
	{"h0", `{"interface":{"mtu":65535}}`, ""},
	{"h0", `{"interface":{"mtu":1000}}`, `interface.mtu: "1000"`},
	{"h0", `{"interface":{"mtu":68,"addresses":["10.9.0.1/24"]}}`, ""},
	{"f0", `{"interface":{"mtu":70000}}`, ""},
	{"m0", `{"interface":{"mtu":1401}}`, `interface.mtu: "1401": the interface takes 1400 at most`},
	{"m0", `{"interface":{"mtu":1400}}`, ""},
	{"t0", `{"interface":{"mtu":70000}}`, `interface.mtu: "70000"`},
	{"h0", `{"interface":{"mtu":1000,"addresses":["10.9.0.1/24"]},"routes":[{"destination":"2001:db8:1::/48"}]}`, `routes[0].destination: "2001:db8:1::/48"`},
	{"h0", `{"interface":{"mtu":1000,"addresses":["10.9.0.1/24"]},"neighbors":[{"destination":"2001:db8::5","hardwareAddr":"02:00:00:00:00:01"}]}`, `neighbors[0].destination: "2001:db8::5"`},

	{"h0", `{"interface":{"hardwareAddr":"02:00:00:00:00:01"}}`, ""},
	{"h0", `{"interface":{"hardwareAddr":"02"}}`, `interface.hardwareAddr: "02": must have 6 bytes`},
	{"h0", `{"interface":{"hardwareAddr":"02:00:00:00:00:00:00:aa"}}`, `interface.hardwareAddr: "02:00:00:00:00:00:00:aa": must have 6 bytes`},
	{"h0", `{"interface":{"hardwareAddr":"02:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:aa"}}`, `interface.hardwareAddr: "02:00:00:`},
	{"f0", `{"interface":{"hardwareAddr":"02:00:00:00:00:01"}}`, `interface.hardwareAddr: "02:00:00:00:00:01"`},
	{"m0", `{"interface":{"hardwareAddr":"02:00:00:00:00:01"}}`, ""},
	{"m0", `{"interface":{"hardwareAddr":"02:00:00:00:00:a0"}}`, `interface.hardwareAddr: "02:00:00:00:00:a0"`},
	{"m0", `{"interface":{"hardwareAddr":"02:00:00:00:00:a1"}}`, `interface.hardwareAddr: "02:00:00:00:00:a1"`},
	{"t0", `{"interface":{"hardwareAddr":"02:00:00:00:00:01"}}`, `interface.hardwareAddr: "02:00:00:00:00:01"`},

	{"h0", `{"neighbors":[{"destination":"192.0.2.9","hardwareAddr":"02:00"}]}`, `neighbors[0].hardwareAddr: "02:00": must have 6 bytes`},
	{"h0", `{"neighbors":[{"destination":"192.0.2.1","hardwareAddr":"02:00:00:00:00:01"},{"destination":"fe80::9","hardwareAddr":"02:00:00:00:00:01"}]}`, ""},
	{"t0", `{"neighbors":[{"destination":"192.0.2.9","hardwareAddr":"02:00:00:00:00:01"}]}`, `neighbors[0].hardwareAddr: "02:00:00:00:00:01": must have 0 bytes`},

	{"h0", `{"interface":{"addresses":["192.0.2.1/24","192.0.2.2/24","10.0.0.1/24","192.0.2.3/24","10.0.0.2/24"]}}`, ""},
	{"h0", `{"interface":{"addresses":["10.0.0.1/8","10.1.0.1/16","10.1.0.1/32"]}}`, `interface.addresses[2]: "10.1.0.1/32": duplicate`},
	{"h0", `{"interface":{"addresses":["10.0.0.1/8","10.1.0.1/16","10.1.0.2/32"]}}`, ""},
	{"h0", `{"interface":{"addresses":["2001:db8::1/64","fd00::1/64","2001:db8::2/64","2001:db8::3/128","::1.2.3.4/96"]}}`, ""},
	{"h0", `{"interface":{"addresses":["192.0.2.4/31","192.0.2.6/32"]}}`, ""},
	{"h0", `{"interface":{"addresses":["169.254.10.1/30"]},"routes":[{"destination":"10.0.0.0/8","gateway":"169.254.10.2"}]}`, ""},
	{"h0", `{"interface":{"addresses":["169.254.10.1/30","192.0.2.1/24","169.254.10.2/30","169.254.77.1/32"]}}`, ""},
	{"h0", `{"interface":{"addresses":["2001:db8::1/64","fec0::1/64","fe80::1/64","fe80::2/128","2001:db8::2/64"]}}`, ""},
	{"h0", `{"interface":{"addresses":["fe80::1/64"]},"routes":[{"destination":"2001:db8:1::/48","gateway":"fe80::9","source":"fe80::1"}]}`, ""},
	{"h0", `{"interface":{"addresses":["fe80::1/64"]},"routes":[{"destination":"2001:db8:1::/48","gateway":"fe80::1"}]}`, `routes[0].gateway: "fe80::1": is the interface's own address`},
	{"h0", `{"interface":{"hardwareAddr":"02:00:00:00:00:01","addresses":["fe80::ff:fe00:1/64"]}}`, ""},
	{"m0", `{"interface":{"addresses":["fe80::1/64","169.254.10.1/30"]}}`, ""},
	{"t0", `{"interface":{"addresses":["fe80::1/64","169.254.10.1/30"]}}`, ""},

	{"h0", `{"routes":[{"destination":"192.0.2.0/24"}]}`, ""},
	{"h0", `{"routes":[{"destination":"192.0.2.0/24","source":"192.0.2.1"}]}`, ""},
	{"h0", `{"routes":[{"destination":"192.0.2.0/24","gateway":"192.0.2.9"}]}`, `routes[0].destination: "192.0.2.0/24": the kernel adds this route with the interface's address 192.0.2.1/24`},
	{"h0", `{"interface":{"addresses":["192.0.2.1/24","192.0.2.2/24"]},"routes":[{"destination":"192.0.2.0/24","source":"192.0.2.2"}]}`, `routes[0].destination: "192.0.2.0/24"`},
	{"h0", `{"routes":[{"destination":"192.0.2.0/24","table":77},{"destination":"192.0.2.1/32"},{"destination":"192.0.2.0/25"}]}`, ""},
	{"h0", `{"routes":[{"destination":"2001:db8::/64"},{"destination":"fe80::/64"},{"destination":"fe80::9/128","gateway":"fe80::8"}]}`, ""},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.1"}]}`, ""},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.255"}]}`, `routes[0].gateway: "192.0.2.255"`},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.0"}]}`, ""}, // the lowest address is an ordinary one since Linux 5.14
	{"h0", `{"routes":[{"destination":"2001:db8:1::/48","gateway":"2001:db8::1"}]}`, `routes[0].gateway: "2001:db8::1": is the interface's own address`},
	{"h0", `{"interface":{"hardwareAddr":"02:00:00:00:00:01"},"routes":[{"destination":"2001:db8:1::/48","gateway":"fe80::ff:fe00:1"}]}`, `routes[0].gateway: "fe80::ff:fe00:1": is the interface's own address`},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.5"},{"destination":"10.0.0.0/8","gateway":"192.0.2.6"},{"destination":"10.0.0.0/8"}]}`, ""},
	{"h0", `{"routes":[{"destination":"2001:db8:1::/48","gateway":"2001:db8::8"},{"destination":"2001:db8:1::/48"},{"destination":"2001:db8:1::/48","gateway":"2001:db8::9"}]}`, ""},
	{"h0", `{"routes":[{"destination":"2001:db8:1::/48","gateway":"2001:db8::9"},{"destination":"2001:db8::9/128","gateway":"2001:db8::8"}]}`, `routes[0].gateway: "2001:db8::9": is itself behind the gateway 2001:db8::8`},
	{"h0", `{"routes":[{"destination":"192.0.2.9/32","gateway":"192.0.2.8"},{"destination":"10.0.0.0/8","gateway":"192.0.2.9"}]}`, ""},
	{"h0", `{"routes":[{"destination":"224.0.0.0/4"},{"destination":"ff00::/8"},{"destination":"0.0.0.0/8"},{"destination":"255.255.255.255/32"},{"destination":"240.0.0.0/4"},{"destination":"::1/128"}]}`, ""},
	{"h0", `{"interface":{"addresses":["2001:db8::1/64"]},"routes":[{"destination":"10.0.0.0/8"}]}`, ""},
	{"h0", `{"interface":{"addresses":["2001:db8::1/64"]},"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.5"}]}`, `routes[0].gateway: "192.0.2.5": the interface's addresses do not reach the gateway`},
	{"h0", `{"interface":{"addresses":["10.9.0.1/24"]},"routes":[{"destination":"2001:db8:1::/48"},{"destination":"::/0","gateway":"fe80::1"}]}`, ""},
	{"h0", `{"interface":{"addresses":["10.9.0.1/32"]},"routes":[{"destination":"0.0.0.0/0","gateway":"10.9.0.9"}]}`, `routes[0].gateway: "10.9.0.9"`},
	{"h0", `{"interface":{"addresses":["10.9.0.1/32"]},"routes":[{"destination":"0.0.0.0/0","gateway":"10.9.0.9"},{"destination":"10.9.0.9/32"}]}`, ""},
	{"h0", `{"interface":{"addresses":["10.9.0.1/32"]},"routes":[{"destination":"0.0.0.0/0","gateway":"10.9.0.9"},{"destination":"10.9.0.9/32","table":77}]}`, `routes[0].gateway: "10.9.0.9"`},
	{"h0", `{"interface":{"addresses":["2001:db8:7::1/128"]},"routes":[{"destination":"::/0","gateway":"2001:db8:7::9","table":77},{"destination":"2001:db8:7::9/128"}]}`, ""},
	{"h0", `{"interface":{"addresses":["2001:db8:7::1/128"]},"routes":[{"destination":"::/0"},{"destination":"2001:db8:8::/48","gateway":"2001:db8:7::9"}]}`, ""},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","source":"192.0.2.9"}]}`, `routes[0].source: "192.0.2.9": the interface does not have this address`},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","table":253},{"destination":"10.0.0.0/8","table":4294967295},{"destination":"2001:db8:1::/48","table":4294967295}]}`, ""},
	{"h0", `{"interface":{"addresses":["10.9.0.1/24"]},"routes":[{"destination":"10.0.0.0/8","multipath":[{"gateway":"10.9.0.2"},{"gateway":"192.0.2.5"}]}]}`, `routes[0].multipath[1].gateway: "192.0.2.5": the interface's addresses do not reach the gateway`},
	{"h0", `{"interface":{"addresses":["10.9.0.1/24"]},"routes":[{"destination":"10.0.0.0/8","multipath":[{"gateway":"10.9.0.2"},{"gateway":"192.0.2.5","onLink":true}]}]}`, ""},
	{"h0", `{"interface":{"addresses":["10.9.0.1/24"]},"routes":[{"destination":"10.0.0.0/8","multipath":[{"gateway":"10.9.0.2"},{"gateway":"10.9.0.255","onLink":true}]}]}`, `routes[0].multipath[1].gateway: "10.9.0.255": is the broadcast address`},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.1","onLink":true}]}`, `routes[0].gateway: "192.0.2.1": is the interface's own address`},
	{"h0", `{"routes":[{"destination":"2001:db8:1::/48","gateway":"2001:db8::9","onLink":true},{"destination":"2001:db8::9/128","gateway":"2001:db8::8"}]}`, ""},
	{"h0", `{"routes":[{"destination":"192.0.2.0/24","gateway":"192.0.2.9","metric":7},{"destination":"2001:db8::/64","gateway":"2001:db8::9","metric":7}]}`, ""},
	{"h0", `{"routes":[{"destination":"2001:db8:1::/48","multipath":[{"gateway":"2001:db8::8"},{"gateway":"2001:db8::1"}]}]}`, `routes[0].multipath[1].gateway: "2001:db8::1": is the interface's own address`},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","mtu":65520,"metric":4294967295,"protocol":255},{"destination":"2001:db8:1::/48","mtu":65520,"metric":4294967295}]}`, ""},
	{"h0", `{"interface":{"mtu":1000,"addresses":["10.9.0.1/24"]},"routes":[{"destination":"2001:db8:1::/48","type":"blackhole"}]}`, ""},
	{"f0", `{"interface":{"sourceRouting":true}}`, `interface.sourceRouting: "true": the interface has no address that is valid beyond its link`},
	{"h0", `{"interface":{"sourceRouting":true,"addresses":["169.254.10.1/30"]}}`, `interface.sourceRouting: "true"`},
	{"h0", `{"interface":{"sourceRouting":true},"routes":[{"destination":"0.0.0.0/0","gateway":"192.0.2.9"},{"destination":"0.0.0.0/0","gateway":"192.0.2.8"},{"destination":"::/0","multipath":[{"gateway":"2001:db8::8","weight":2},{"gateway":"fe80::7"}]}]}`, ""},
	{"h0", `{"interface":{"sourceRouting":true,"addresses":["10.9.0.1/32"]},"routes":[{"destination":"10.9.0.9/32"},{"destination":"0.0.0.0/0","gateway":"10.9.0.9"}]}`, ""},
	{"h0", `{"interface":{"sourceRouting":false},"routes":[{"destination":"10.0.0.0/8","table":100003}]}`, ""},
	{"h0", `{"routes":[{"destination":"10.0.0.0/8","table":255}]}`, `routes[0].table: "255"`},
}

// TestOddConfigs checks that a config is either refused by field and value
// before a link is touched, or attaches.
func TestOddConfigs(t *testing.T) {
	w := newWorld(t, oddHost, "")
	for _, tt := range oddConfigs {
		p, err := w.odd(tt.link, tt.config)
		switch {
		case tt.refused != "":
			if err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s %s: got error %v, want one with %s", tt.link, tt.config, err, tt.refused)
			}
		case err != nil:
			t.Errorf("%s %s: got error %v", tt.link, tt.config, err)
		default:
			done, err := Attach(context.Background(), w.host, w.pod, []Plan{p})
			if err != nil {
				t.Errorf("%s %s: Attach: %v", tt.link, tt.config, err)
				continue
			}
			p.ID = done[0].ID
			w.detach(p)
		}
	}
	w.asBefore()
}

// odd does what Prepare does, without touching the link.
func (w *world) odd(name, config string) (p Plan, err error) {
	c, err := v1alpha1.Decode(v1alpha1.Parameters{Raw: []byte(config)})
	if err != nil {
		return p, err
	}
	l, err := w.host.conn.linkByName(name)
	if err != nil {
		w.t.Fatal(err)
	}
	p.ID = Identify(l, "nd-test-"+name)
	if p.Original, l, err = Read(context.Background(), w.host, p.ID); err != nil {
		w.t.Fatal(err)
	}
	p.Want, _, err = Desired(l, p.Original, c)
	return p, err
}

// TestInfiniBand checks the same for a link that no kernel of a test has.
func TestInfiniBand(t *testing.T) {
	ib := make(nic.HardwareAddr, 20)
	settings := Settings{MAC: ib, MTU: 2044}
	l := Link{Name: "ib0", Encapsulation: "infiniband", Settings: settings, MinMTU: 68, MaxMTU: 4092}
	original := State{Name: "ib0", Settings: settings}
	if _, _, err := Desired(l, original, nic.Config{}); err != nil {
		t.Errorf("no config: got error %v", err)
	}
	own := append(nic.HardwareAddr{2}, ib[1:]...)
	_, _, err := Desired(l, original, nic.Config{Interface: nic.Interface{HardwareAddr: own}})
	if err == nil || !strings.Contains(err.Error(), `interface.hardwareAddr: "`+own.String()+`": the hardware address of this kind of interface (infiniband) cannot be set`) {
		t.Errorf("got error %v", err)
	}
}
