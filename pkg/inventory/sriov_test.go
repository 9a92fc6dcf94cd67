package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestAwayPF checks that a virtual function is not offered while its physical one is
// in another network namespace, and only then.
func TestAwayPF(t *testing.T) {
	const pf = "devices/pci0000:ae/0000:ae:00.0/0000:af:00.1"
	for name, tt := range map[string]struct {
		change func(*machine)
		want   string
	}{
		"its link is on the host": {func(*machine) {}, ""},
		"its link is elsewhere": {func(m *machine) {
			m.links = append(m.links[:2], m.links[3:]...) // enp175s0f1
		}, "its physical function 0000:af:00.1 is in another network namespace"},
		"only a representor is on the host": {func(m *machine) {
			m.links[2].Name = "rep0"
			m.add(m.links[2], "pci0000:ae/0000:ae:00.0/0000:af:00.1", map[string]string{"phys_port_name": "pf1vf0"})
			m.links = append(m.links[:2], m.links[3:]...)
		}, "its physical function 0000:af:00.1 is in another network namespace"},
		"it has no link at all": {func(m *machine) { // as with pci-pf-stub
			m.links = append(m.links[:2], m.links[3:]...)
			for file := range m.sys {
				if len(file) > len(pf)+5 && file[:len(pf)+5] == pf+"/net/" {
					delete(m.sys, file)
				}
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := server()
			tt.change(m)
			if got := skipped(m.scan())["enp175s0f1v0"]; got != tt.want {
				t.Errorf("got reason %q, want %q", got, tt.want)
			}
		})
	}
}

// TestControlledWith checks which devices cannot have two owners.
func TestControlledWith(t *testing.T) {
	m := server()
	for port, name := range map[string]string{"pf1vf0": "rep0", "p1": "second"} {
		m.add(with(hardware(20+len(name), name, "0000:af:00.1"), func(*netdev.Link) {}), "pci0000:ae/0000:ae:00.0/0000:af:00.1", map[string]string{"phys_port_name": port, "dev_port": "1"})
	}
	got := map[string]string{}
	all := m.scan()
	for _, a := range all {
		for _, b := range all {
			if why := a.ControlledWith(b); why != "" {
				got[a.Link.Name+" and "+b.Link.Name] = why
			}
		}
	}
	want := map[string]string{
		"enp175s0f1 and enp175s0f1v0": "its virtual function pci-0000-af-01-2 is allocated",
		"second and enp175s0f1v0":     "its virtual function pci-0000-af-01-2 is allocated",
		"enp175s0f1v0 and enp175s0f1": "its physical function pci-0000-af-00-1 is allocated",
		"enp175s0f1v0 and second":     "its physical function pci-0000-af-00-1-port-1 is allocated",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
}
