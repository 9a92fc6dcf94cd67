package inventory

import (
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// relationsOf returns those of a machine's link.
func relationsOf(t *testing.T, m *machine, name string) relations {
	t.Helper()
	var probes []*probe
	for _, l := range m.links {
		probes = append(probes, newProbe(l, m.sys))
	}
	newSurvey(probes, m.opts)
	for _, p := range probes {
		if p.link.Name == name {
			return p.relations
		}
	}
	t.Fatalf("no link %s", name)
	return relations{}
}

// TestPhysicalFunction checks that a virtual function names its physical one also
// while that is in a pod, not by its representors, and not without knowing.
func TestPhysicalFunction(t *testing.T) {
	pf := func(m *machine) *netdev.Link { return &m.links[m.indexOf("pf")-1] }
	for name, tt := range map[string]struct {
		change func(*machine)
		want   relations
	}{
		"on the host":            {func(*machine) {}, relations{pfName: "pf", vfIndex: 0, bond: "bond0"}},
		"in a pod":               {func(m *machine) { m.opts.Held = []Device{{Link: *pf(m)}}; m.links = m.links[2:] }, relations{pfName: "pf", bond: "bond0"}},
		"nobody knows where":     {func(m *machine) { m.links = m.links[2:] }, relations{bond: "bond0"}},
		"only a representor":     {func(m *machine) { pf(m).PortName = "pf0vf0" }, relations{bond: "bond0"}},
		"its number is missing":  {func(m *machine) { delete(m.sys, "devices/pci0000:ae/0000:ae:00.0/0000:af:00.0/virtfn0") }, relations{pfName: "pf", vfIndex: -1, bond: "bond0"}},
		"the bond is not listed": {func(m *machine) { m.links = m.links[:3] }, relations{pfName: "pf"}},
	} {
		m := fattest()
		tt.change(m)
		if got := relationsOf(t, m, "vf"); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestBond checks that a bond is found at any depth, and no ring is followed.
func TestBond(t *testing.T) {
	m := newMachine(loopback(), virtual(2, "team0", "team", 0), virtual(3, "team0.5", "vlan", 2), virtual(4, "m", "macvlan", 3),
		with(link(5, "eth1"), portOf(2, "team")), with(link(6, "eth2"), portOf(7, "bridge")), virtual(7, "br0", "bridge", 0),
		virtual(8, "a", "macvlan", 9), virtual(9, "b", "vlan", 8), with(virtual(10, "away", "macvlan", 2), far),
		virtual(11, "v0", "veth", 2))
	for name, want := range map[string]string{
		"team0": "team0", "team0.5": "team0", "m": "team0", "eth1": "team0", "eth2": "", "br0": "", "a": "", "b": "", "away": "", "v0": "", "lo": "",
	} {
		if got := relationsOf(t, m, name).bond; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
