package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

func TestNames(t *testing.T) {
	m := newMachine(link(2, "eth0"), link(3, "eth0.100"), link(4, "ETH0"), link(5, "net-eth0"), link(6, "pci-1"), link(7, "ünï"))
	function := func(bdf string) string { return "pci0000:00/" + bdf }
	for _, bdf := range []string{"0000:01:00.0", "0000:02:00.0", "0000:03:00.0"} {
		m.device("pci", function(bdf), nil)
	}
	m.device("auxiliary", "pci0000:00/0000:03:00.0/mlx5_core.sf.4", nil)
	ports := func(index int, name, bdf string, files map[string]string) {
		m.add(hardware(index, name, bdf), function(bdf), files)
	}
	ports(10, "p0", "0000:01:00.0", map[string]string{"dev_port": "0"})
	ports(11, "p1", "0000:01:00.0", map[string]string{"dev_port": "1"})
	ports(12, "x0", "0000:02:00.0", nil) // the driver does not number its ports
	ports(13, "x1", "0000:02:00.0", nil)
	ports(14, "up0", "0000:03:00.0", map[string]string{"phys_port_name": "p0", "dev_port": "0"})
	ports(15, "rep0", "0000:03:00.0", map[string]string{"phys_port_name": "pf0vf0", "dev_port": "0"})
	m.add(with(link(16, "sf0"), func(l *netdev.Link) { l.Parent, l.ParentBus = "mlx5_core.sf.4", "auxiliary" }),
		"pci0000:00/0000:03:00.0/mlx5_core.sf.4", nil)
	m.add(with(hardware(17, "ib0.8001", "0000:01:00.0"), func(l *netdev.Link) { l.Kind, l.Lower = "ipoib", 10 }), function("0000:01:00.0"), nil)

	want := map[string]string{
		"eth0": "eth0", "eth0.100": "net-mv2gqmbogeyda", "ETH0": "net-ivkeqma", "net-eth0": "net-nzsxillforuda",
		"pci-1": "net-obrwsljr", "ünï": "net-yo6g5q5p",
		"p0": "pci-0000-01-00-0", "p1": "pci-0000-01-00-0-port-1",
		"x0": "x0", "x1": "x1",
		"up0": "pci-0000-03-00-0", "rep0": "pci-0000-03-00-0-port-pf0vf0",
		"sf0": "sf0", "ib0.8001": "net-nfrdalrygaydc",
	}
	got := map[string]string{}
	for _, d := range m.scan() {
		got[d.Link.Name] = d.Name
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// FuzzNames checks that each device gets a unique name that the API server
// accepts, whatever the names, functions and ports of the links.
func FuzzNames(f *testing.F) {
	f.Add("eth0", "ETH0", "0000:01:00.0", "1", "pf0vf0")
	f.Add("net-mv2gq", "eth", "10000:e1:00.f", "65535", "c1pf0sf99999")
	f.Add("-", "pci-0000-01-00", "0000:01:00.0", "0", "")
	f.Add("..", "a.b", "../..", "-1", "pf")
	f.Fuzz(func(t *testing.T, a, b, function, port, portName string) {
		a, b = a[:min(len(a), 15)], b[:min(len(b), 15)] // IFNAMSIZ
		if a == b || a == "" || b == "" {
			return // not two links
		}
		m := newMachine(hardware(2, a, function), hardware(3, b, function), virtual(4, "a.very.long.if", "dummy", 0))
		for i, l := range m.links {
			m.file("class/net/"+l.Name+"/ifindex", "2")
			m.file("class/net/"+l.Name+"/dev_port", port)
			m.links[i].PortName = portName
		}
		seen := map[string]bool{}
		for _, d := range m.scan() {
			if seen[d.Name] || !dnsLabel.MatchString(d.Name) {
				t.Errorf("link %q has the name %q, which is not a DNS label or not unique", d.Link.Name, d.Name)
			}
			seen[d.Name] = true
		}
	})
}
