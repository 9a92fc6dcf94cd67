package inventory

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// machine is a host: its links and its sysfs.
type machine struct {
	links []netdev.Link
	sys   fstest.MapFS
	opts  Options
}

func newMachine(links ...netdev.Link) *machine {
	return &machine{links: links, sys: fstest.MapFS{}}
}

func (m *machine) scan() []Device { return Scan(m.links, m.sys, m.opts) }

// add adds a link and its sysfs directory, as the kernel makes it: a directory
// below the device in /sys/devices and symbolic links to it.
func (m *machine) add(l netdev.Link, device string, files map[string]string) {
	if name, ok := files["phys_port_name"]; ok { // the kernel reports it with the link too
		l.PortName = name
	}
	m.links = append(m.links, l)
	dir := path.Join("devices/virtual/net", l.Name)
	if device != "" {
		dir = path.Join("devices", device, "net", l.Name)
		m.sys[path.Join(dir, "device")] = &fstest.MapFile{Data: []byte("../../../" + path.Base(device)), Mode: fs.ModeSymlink}
	}
	m.link(path.Join("class/net", l.Name), dir)
	m.file(path.Join(dir, "ifindex"), fmt.Sprintf("%d\n", l.Index))
	for name, content := range files {
		m.file(path.Join(dir, name), content+"\n")
	}
}

// device adds a device on a bus to sysfs.
func (m *machine) device(bus, where string, files map[string]string) {
	dir := path.Join("devices", where)
	m.link(path.Join("bus", bus, "devices", path.Base(where)), dir)
	m.link(path.Join(dir, "subsystem"), path.Join("bus", bus))
	for name, content := range files {
		m.file(path.Join(dir, name), content+"\n")
	}
}

func (m *machine) file(name, content string) { m.sys[name] = &fstest.MapFile{Data: []byte(content)} }

func (m *machine) link(name, target string) {
	relative, err := filepath.Rel(path.Dir(name), target)
	if err != nil {
		panic(err)
	}
	m.sys[name] = &fstest.MapFile{Data: []byte(relative), Mode: fs.ModeSymlink}
}

// hardware is an Ethernet link on a PCI function.
func hardware(index int, name, function string) netdev.Link {
	l := link(index, name)
	l.Parent, l.ParentBus = function, "pci"
	return l
}

// virtual is a link of a kind; lower is the index of its lower link, or 0.
func virtual(index int, name, kind string, lower int) netdev.Link {
	l := link(index, name)
	l.Kind, l.Lower = kind, lower
	return l
}

func link(index int, name string) netdev.Link {
	l := netdev.Link{Index: index, Name: name, Encapsulation: "ether", State: "up", LowerNetNSID: -1}
	l.MTU, l.Up, l.MAC = 1500, true, nic.HardwareAddr{2, 0, 0x5e, 0x10, 0, byte(index)}
	return l
}

func loopback() netdev.Link {
	l := netdev.Link{Index: 1, Name: "lo", Encapsulation: "loopback", State: "unknown", Immutable: true, LowerNetNSID: -1}
	l.MTU, l.Up = 65536, true
	return l
}

func with(l netdev.Link, change func(*netdev.Link)) netdev.Link {
	change(&l)
	return l
}

func uplink(l *netdev.Link) { l.HasRoute, l.Uplink = true, true }

// worse gives a link a default route that is not the best one.
func worse(l *netdev.Link) { l.HasRoute = true }

func portOf(master int, kind string) func(*netdev.Link) {
	return func(l *netdev.Link) { l.Master, l.MasterKind = master, kind }
}

func far(l *netdev.Link) { l.LowerNetNSID = 0 }

func addresses(list ...string) func(*netdev.Link) {
	return func(l *netdev.Link) {
		for _, a := range list {
			l.Addresses = append(l.Addresses, netip.MustParsePrefix(a))
		}
	}
}

// server has two NICs on two NUMA nodes. The second has two virtual functions, and
// one of them has a link.
func server() *machine {
	m := newMachine(loopback())
	m.device("pci", "pci0000:3a/0000:3a:00.0/0000:3b:00.0", map[string]string{
		"vendor": "0x8086", "device": "0x1572", "subsystem_device": "0x0007", "numa_node": "0"})
	m.device("pci", "pci0000:ae/0000:ae:00.0/0000:af:00.1", map[string]string{
		"vendor": "0x15b3", "device": "0x101d", "subsystem_device": "0x0016", "numa_node": "1",
		"sriov_totalvfs": "8", "sriov_numvfs": "2"})
	m.device("pci", "pci0000:ae/0000:ae:00.0/0000:af:01.2", map[string]string{
		"vendor": "0x15b3", "device": "0x101e", "subsystem_device": "0x0016", "numa_node": "1"})
	m.link("devices/pci0000:ae/0000:ae:00.0/0000:af:01.2/physfn", "devices/pci0000:ae/0000:ae:00.0/0000:af:00.1")

	m.add(with(with(hardware(2, "eno1", "0000:3b:00.0"), uplink), addresses("10.0.0.2/24")),
		"pci0000:3a/0000:3a:00.0/0000:3b:00.0", map[string]string{"dev_port": "0"})
	m.add(with(hardware(3, "enp175s0f1", "0000:af:00.1"), addresses("192.0.2.7/24", "2001:db8::7/64")),
		"pci0000:ae/0000:ae:00.0/0000:af:00.1", map[string]string{"dev_port": "0", "phys_port_name": "p1"})
	m.add(with(hardware(4, "enp175s0f1v0", "0000:af:01.2"), func(l *netdev.Link) { l.Alias = "storage" }),
		"pci0000:ae/0000:ae:00.0/0000:af:01.2", map[string]string{"dev_port": "0"})
	return m
}

// vm has two virtio NICs and no NUMA.
func vm() *machine {
	m := newMachine(loopback())
	for _, where := range []string{"pci0000:00/0000:00:03.0", "pci0000:00/0000:00:04.0"} {
		m.device("pci", where, map[string]string{
			"vendor": "0x1af4", "device": "0x1041", "subsystem_device": "0x0041", "numa_node": "-1"})
	}
	m.device("virtio", "pci0000:00/0000:00:03.0/virtio0", nil)
	m.device("virtio", "pci0000:00/0000:00:04.0/virtio1", nil)
	m.add(with(with(link(2, "eth0"), uplink), func(l *netdev.Link) { l.Parent, l.ParentBus = "virtio0", "virtio" }),
		"pci0000:00/0000:00:03.0/virtio0", nil)
	m.add(with(link(3, "eth1"), func(l *netdev.Link) { l.Parent, l.ParentBus = "virtio1", "virtio" }),
		"pci0000:00/0000:00:04.0/virtio1", nil)
	return m
}

// node has its uplink on a bridge over a VLAN, the links of a CNI plugin, and a
// veth pair and a dummy that can be offered.
func node() *machine {
	m := newMachine(loopback(),
		hardware(2, "eth0", "0000:01:00.0"),
		with(virtual(3, "eth0.100", "vlan", 2), portOf(4, "bridge")),
		with(with(virtual(4, "br0", "bridge", 0), uplink), addresses("10.0.0.2/24")),
		virtual(5, "flannel.1", "vxlan", 4),
		with(virtual(6, "veth1a2b3c", "veth", 2), func(l *netdev.Link) { far(l); l.Master, l.MasterKind = 7, "bridge" }),
		with(virtual(7, "cni0", "bridge", 0), func(l *netdev.Link) { l.Immutable = true }),
		with(virtual(8, "vethpod", "veth", 2), far),
		virtual(9, "v0", "veth", 10),
		virtual(10, "v1", "veth", 9),
		virtual(11, "data.7", "dummy", 0),
	)
	m.opts.NodeAddresses = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	return m
}

func TestMachines(t *testing.T) {
	for name, build := range map[string]func() *machine{"server": server, "vm": vm, "node": node} {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(build().scan(), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden.json", string(got)+"\n")

			var back []Device
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			again, _ := json.MarshalIndent(back, "", "  ")
			if diff := cmp.Diff(string(got), string(again)); diff != "" {
				t.Errorf("changed by JSON (-want +got):\n%s", diff)
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), rewrite it with -update:\n%s", file, diff)
	}
}

// skipped maps each link to the reason why it is not offered.
func skipped(devs []Device) map[string]string {
	out := map[string]string{}
	for _, d := range devs {
		out[d.Link.Name] = d.Skipped
	}
	return out
}
