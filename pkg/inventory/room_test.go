package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// fattest has a physical function, a virtual one and a VLAN that have all that an
// attribute can show of their kind.
func fattest() *machine {
	m := newMachine(loopback())
	const pf, vf = "pci0000:ae/0000:ae:00.0/0000:af:00.0", "pci0000:ae/0000:ae:00.0/0000:af:00.1"
	for _, where := range []string{pf, vf} {
		m.device("pci", where, map[string]string{
			"vendor": "0x15b3", "device": "0x101d", "subsystem_device": "0x0016", "numa_node": "1", "sriov_totalvfs": "0"})
		m.link("devices/"+where+"/driver", "bus/pci/drivers/mlx5_core")
	}
	m.link("bus/pci/drivers/mlx5_core/module", "module/mlx5_core")
	m.file("module/mlx5_core/version", "24.10-1.1.4\n")
	m.file("devices/"+pf+"/sriov_totalvfs", "16\n")
	m.file("devices/"+pf+"/sriov_numvfs", "1\n")
	m.link("devices/"+pf+"/virtfn0", "devices/"+vf)
	m.link("devices/"+vf+"/physfn", "devices/"+pf)
	everything := func(l *netdev.Link) {
		addresses("192.0.2.7/24", "2001:db8::7/64")(l)
		l.Alias, l.PermMAC, l.SwitchID, l.PortName, l.RxQueues, l.TxQueues, l.MaxMTU = "x", nic.HardwareAddr{2, 0, 0, 0, 0, 1}, "0a", "p0", 8, 8, 9978
		l.Facts = nic.Facts{Speed: 100000, Duplex: "full", Firmware: "22.43.2566", EswitchMode: "switchdev", Filters: []string{"f"}, Programs: []string{"p"}, EBPF: true}
	}
	m.add(with(with(hardware(2, "pf", "0000:af:00.0"), everything), portOf(5, "bond")), pf, nil)
	m.add(with(with(hardware(3, "vf", "0000:af:00.1"), everything), portOf(5, "bond")), vf, nil)
	m.links = append(m.links, with(with(virtual(4, "bond0.7", "vlan", 5), everything), func(l *netdev.Link) { l.VLAN = 7 }), virtual(5, "bond0", "bond", 0))
	for i, where := range []string{pf, vf} {
		dir := fmt.Sprintf("devices/%s/infiniband/mlx5_%d", where, i)
		m.link(fmt.Sprintf("class/infiniband/mlx5_%d", i), dir)
		m.file(dir+"/ports/1/link_layer", "Ethernet\n")
	}
	return m
}

// TestRoom checks that all attributes which a kind of device must have are there,
// that the most useful of the others are, and that a device never has more
// than maxOwn.
func TestRoom(t *testing.T) {
	want := map[string]string{ // spare ones
		"pf":      "",
		"vf":      "",
		"bond0.7": "ebpf vlan bond duplex tcxProgramNames tcFilterNames",
	}
	for _, d := range fattest().scan() {
		name := d.Link.Name
		if _, known := want[name]; !known {
			continue
		}
		p := probeOf(t, fattest(), name)
		for _, a := range attributes {
			if _, ok := d.Attributes[a.name]; ok != a.on.has(p) {
				t.Errorf("%s: has %s: %t, in its place: %t", name, a.name, ok, a.on.has(p))
			}
		}
		var extra []string
		for _, a := range spare {
			if _, ok := d.Attributes[a.name]; ok {
				extra = append(extra, string(a.name))
			}
		}
		if got := strings.Join(extra, " "); got != want[name] {
			t.Errorf("%s: got the spare attributes %q, want %q", name, got, want[name])
		}
		if n := len(d.Attributes) + len(d.capacity()); n > maxOwn || len(d.capacity()) != len(capacities) {
			t.Errorf("%s: %d attributes and capacities, want at most %d", name, n, maxOwn)
		}
	}
}

// TestRoomWithoutSpeed checks that an attribute does not come or go with the speed,
// also where the last place is taken.
func TestRoomWithoutSpeed(t *testing.T) {
	full := 0
	for _, machine := range []func() *machine{server, node, fattest} {
		names := map[string]string{} // of the attributes of each device
		for _, speed := range []int{0, 1000} {
			m := machine()
			for i := range m.links {
				m.links[i].Speed, m.links[i].EswitchMode = speed, ""
			}
			for _, d := range m.scan() {
				got := fmt.Sprint(slices.Sorted(maps.Keys(d.Attributes)))
				if before, ok := names[d.Name]; ok && before != got {
					t.Errorf("%s: with a speed it has %s, without %s", d.Name, got, before)
				}
				names[d.Name] = got
				if len(d.Attributes)+len(capacities) == maxOwn {
					full++
				}
			}
		}
	}
	if full == 0 {
		t.Error("no device has as many attributes as there are places")
	}
}

func TestAttributeNamesAreUnique(t *testing.T) {
	var names []resourceapi.QualifiedName
	for _, a := range slices.Concat(attributes, spare) {
		if slices.Contains(names, a.name) {
			t.Errorf("two rows have the name %s", a.name)
		}
		names = append(names, a.name)
	}
}

// probeOf returns the probe of a machine's link.
func probeOf(t *testing.T, m *machine, name string) *probe {
	t.Helper()
	for _, l := range m.links {
		if l.Name == name {
			p := newProbe(l, m.sys)
			newSurvey([]*probe{p}, m.opts)
			return p
		}
	}
	t.Fatalf("no link %s", name)
	return nil
}
