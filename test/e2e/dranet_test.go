//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dranetPods are pods whose claims were written for dranet, with only the driver's
// name, the class and the domain of the attributes changed: one for each file of
// dranet/. All start at the same time, on NICs of their own.
var dranetPods = map[string]struct {
	pod     string
	nics    []string // of the node
	sees    []sight
	refused string // in the event of a pod that the node's kernel or the NIC's driver does not allow
}{
	"01-template.yaml": {pod: "dranet-template", nics: []string{"nic01"}, sees: []sight{
		{"ip -oneline address show dev nic01", "inet 10.20.31.1/24", "inet6 2001:db8:f031::1/64"}, // the host's
		{"ip neighbor show dev nic01 nud permanent", "10.20.31.9 lladdr 02:00:00:00:00:09"},
		{"ip route show table 731", "default via 10.20.31.254 dev nic01"},
	}},
	"02-name-address.yaml": {pod: "dranet-address", nics: []string{"nic02"}, sees: []sight{
		{"ip -oneline address show dev eth99", "inet 192.0.2.13/24", "inet6 2001:db8:2::13/64"},
	}},
	"03-device-name.yaml": {pod: "dranet-device-name", nics: []string{"mlx5_6"}, sees: []sight{
		{"ip link show dev mlx5_6", "mtu 1400"},
	}},
	"04-mtu-mac.yaml": {pod: "dranet-mtu-mac", nics: []string{"nic04"}, sees: []sight{
		{"ip link show dev net1", "mtu 1321", "link/ether 00:11:22:33:44:55"},
	}},
	"05-arp.yaml": {pod: "dranet-arp", nics: []string{"nic05"}, sees: []sight{
		{"grep -H . /proc/sys/net/ipv4/conf/net1/arp_ignore /proc/sys/net/ipv4/conf/net1/arp_announce", "arp_ignore:1", "arp_announce:2"},
		{"grep -H . /proc/sys/net/ipv4/conf/eth0/arp_ignore /proc/sys/net/ipv4/conf/eth0/arp_announce", "arp_ignore:0", "arp_announce:0"},
	}},
	"06-routes.yaml": {pod: "dranet-routes", nics: []string{"nic06"}, sees: []sight{
		{"ip route show", "203.0.113.0/24 via 192.0.2.1 dev net1", "198.51.100.0/25 dev net1", "scope link"},
		{"ip route show table 106", "198.51.100.128/25 via 192.0.2.1 dev net1", "src 192.0.2.14"},
		{"ip -6 route show", "2001:db8:66::/48 via 2001:db8:6::1 dev net1"},
	}},
	"07-rules.yaml": {pod: "dranet-rules", nics: []string{"nic07"}, sees: []sight{
		{"ip rule", "1007:\tfrom 192.0.2.15 lookup 107", "1008:\tfrom all to 198.51.100.0/24 lookup 107"},
		{"ip route get 198.51.100.9", "via 192.0.2.1 dev net1 table 107"},
		{"cat /proc/sys/net/ipv4/conf/net1/forwarding", "1"},
	}},
	"08-neighbors.yaml": {pod: "dranet-neighbors", nics: []string{"nic08"}, sees: []sight{
		{"ip neighbor show dev net1 nud permanent", "192.0.2.1 lladdr 02:00:00:00:08:01", "2001:db8:8::1 lladdr 02:00:00:00:08:02"},
	}},
	"09-big-tcp.yaml": {pod: "dranet-big-tcp", nics: []string{"nic09"}, sees: []sight{
		// The cluster's ip(8) does not print IPv4's sizes. The driver reads them back.
		{"ip -details link show dev net1", "gso_max_size 185000", "gro_max_size 150000"},
	}},
	"10-ethtool.yaml": {pod: "dranet-ethtool", nics: []string{"nic10"}, sees: []sight{
		{"ethtool --show-features net1", "tcp-segmentation-offload: off", "generic-receive-offload: on"},
	}},
	"11-private-flags.yaml": {pod: "dranet-private-flags", nics: []string{"nic11"}, refused: "ethtool.privateFlags"},
	// No host program is on the NIC: pkg/netdev tests that it comes back.
	"12-bpf.yaml": {pod: "dranet-bpf", nics: []string{"nic12"}, sees: []sight{{"ip -details link show dev net1 | grep -c xdp || true", "0"}}},
	"13-dhcp.yaml": {pod: "dranet-dhcp", nics: []string{"nic13"}, sees: []sight{
		{"ip -oneline address show dev net1", "inet 192.0.2.50/24"},
		{"ip route show", "203.0.113.0/24 via 192.0.2.1 dev net1"},
	}},
	"14-vrf.yaml": {pod: "dranet-vrf", nics: []string{"nic14"}, refused: "interface.vrf.name: \"vrf14\"", sees: []sight{
		{"ip link show dev net1", "master vrf14"},
		{"ip route show vrf vrf14", "default via 192.0.2.1 dev net1"},
	}},
	"15-addressing.yaml": {pod: "dranet-addressing", nics: []string{"nic15"}, sees: []sight{
		{"ip -oneline address show dev net1", "inet 192.0.2.18/24"},
	}},
	"16-unnumbered.yaml": {pod: "dranet-unnumbered", nics: []string{"nic16"}, sees: []sight{
		{"ip -oneline -4 address show dev net1"},
		{"ip -oneline -6 address show dev net1 scope global"},
	}},
	"17-two-devices.yaml": {pod: "dranet-two", nics: []string{"nic17a", "nic17b"}, sees: []sight{
		{"ls /sys/class/net", "nic17a", "nic17b"},
	}},
}

// sight is a command in the pod, and what its output must have; with nothing, the
// output must be empty.
type sight []string

// TestDranet applies claims that were written for dranet, and checks what their pods
// see, and that all NICs are restored.
func TestDranet(t *testing.T) {
	files, err := filepath.Glob("dranet/*.yaml")
	if err != nil || len(files) != len(dranetPods) {
		t.Errorf("found %d files in dranet/, want one for each of %d pods (%v)", len(files), len(dranetPods), err)
	}
	var nics []*nic
	var manifests []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, string(text))
		for _, name := range dranetPods[filepath.Base(file)].nics {
			nics = append(nics, &nic{node: "n1", name: name, n: 31 + len(nics)})
		}
	}
	makeNICs(t, nics...)
	byName := func(name string) *nic {
		return nics[slices.IndexFunc(nics, func(n *nic) bool { return n.name == name })]
	}
	serveDHCP(t, byName("nic13"))
	noVRF := strings.TrimSpace(onNode(t, "n1", "sh", "-c", "ip link add vrf14 type vrf table 114 2> /dev/null && ip link delete vrf14 || echo none")) != ""
	apply(t, strings.Join(manifests, "---\n"))
	for _, file := range files {
		p := dranetPods[filepath.Base(file)]
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			if p.refused != "" && (p.sees == nil || noVRF) {
				eventOf(t, p.pod, "FailedPrepareDynamicResources", p.refused)
				return
			}
			ready(t, p.pod)
			for _, s := range p.sees {
				out := kubectl(t, "exec", p.pod, "--", "sh", "-c", s[0])
				if err := hasAll(out, s[1:]); err != nil || len(s) == 1 && strings.TrimSpace(out) != "" {
					t.Errorf("%s: got %q, want %q", s[0], out, s[1:])
				}
			}
		})
	}
}

// TestFromMultus applies the claim in docs/from-multus.md, and checks in the pod what
// the CNI plugins that it replaces would have set.
func TestFromMultus(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/from-multus.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<!-- claim: TestFromMultus")
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	manifest, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/from-multus.md has no claim")
	}
	makeNICs(t, &nic{node: "n1", name: "eth1", n: 1})
	apply(t, manifest)
	ready(t, "from-multus")
	for _, s := range []sight{
		{"ip link show dev net1", "mtu 1400", "link/ether 02:00:00:00:00:aa", "qlen 2000"},
		{"ip -oneline address show dev net1", "inet 198.51.100.10/24"},
		{"cat /proc/sys/net/ipv4/conf/net1/rp_filter", "2"},
		{"ip route show", "default via", "dev eth0", "203.0.113.0/24 via 198.51.100.1 dev net1", "mtu 1300"},
		{"ip route get 8.8.8.8 from 198.51.100.10", "via 198.51.100.1 dev net1"},
		{"ip route get 8.8.8.8", "dev eth0"},
	} {
		out := kubectl(t, "exec", "from-multus", "--", "sh", "-c", s[0])
		if err := hasAll(out, s[1:]); err != nil {
			t.Errorf("%s: got %q, want %q", s[0], out, s[1:])
		}
	}
}

// TestDranetRefused checks that what does not exist here is refused when the claim is
// created, with a sentence.
func TestDranetRefused(t *testing.T) {
	for config, want := range map[string]string{
		`{profile: gold}`:                               "a profile is resolved by a provider of dranet",
		`{interface: {type: IPVLAN}}`:                   "an interface is moved into one pod as a whole",
		`{interface: {type: IPVLAN, ipvlan: {}}}`:       "see interface.type",
		`{interface: {name: eth0}}`:                     "cannot be used in a pod",
		`{interface: {vrf: {name: v, table: default}}}`: "must be a whole number",
	} {
		_, err := command(nicClaim("refused", "none", config), "test/cluster/kubectl", "apply", "--dry-run=server", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", config, err, want)
		}
	}
}
