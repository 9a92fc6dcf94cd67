package inventory

import (
	"fmt"
	"path"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// rdmaDevice adds an RDMA device on a PCI function, with its character devices,
// as the kernel makes them. netdevs are the links that its ports name, "" for a
// port of InfiniBand; umad is the number of the first port's MAD device.
func (m *machine) rdmaDevice(function, name string, uverbs, umad int, netdevs ...string) {
	parent := path.Join("devices", function)
	char := func(class, node string, files map[string]string) {
		m.link(path.Join("class", class, node), path.Join(parent, class, node))
		m.file(path.Join(parent, class, node, "dev"), "231:0\n")
		for file, content := range files {
			m.file(path.Join(parent, class, node, file), content+"\n")
		}
	}
	m.link(path.Join("class/infiniband", name), path.Join(parent, "infiniband", name))
	m.file(path.Join(parent, "infiniband", name, "node_guid"), "0200:5eff:fe10:0001\n")
	char("infiniband_verbs", fmt.Sprintf("uverbs%d", uverbs), map[string]string{"ibdev": name})
	for i, netdev := range netdevs {
		port := strconv.Itoa(i + 1)
		ports := path.Join(parent, "infiniband", name, "ports", port)
		m.file(path.Join(ports, "state"), "4: ACTIVE\n")
		if netdev != "" {
			m.file(path.Join(ports, "gid_attrs/ndevs/0"), netdev+"\n")
		}
		for _, node := range []string{"umad", "issm"} {
			char("infiniband_mad", fmt.Sprintf("%s%d", node, umad+i), map[string]string{"ibdev": name, "port": port})
		}
	}
}

// connectionManager adds what the module rdma_ucm does.
func (m *machine) connectionManager() {
	m.link("class/misc/rdma_cm", "devices/virtual/misc/rdma_cm")
	m.file("devices/virtual/misc/rdma_cm/dev", "10:120\n")
}

// rdmaHosts are machines of which each link's RDMA device and nodes are known.
func rdmaHosts() map[string]*machine {
	const one, two, vf = "pci0000:3a/0000:3a:00.0/0000:3b:00.0", "pci0000:3a/0000:3a:00.0/0000:3b:00.1", "pci0000:3a/0000:3a:00.0/0000:3b:00.2"
	machines := map[string]*machine{}
	build := func(name string, functions ...string) *machine {
		m := newMachine(loopback())
		for _, f := range functions {
			m.device("pci", f, map[string]string{"vendor": "0x15b3"})
		}
		m.connectionManager()
		machines[name] = m
		return m
	}

	// mlx5 has an RDMA device for each function, of one port.
	m := build("two functions and a VF", one, two, vf)
	for i, f := range []string{one, two, vf} {
		name := fmt.Sprintf("eth%d", i)
		m.add(hardware(2+i, name, path.Base(f)), f, map[string]string{"dev_port": "0"})
		m.rdmaDevice(f, fmt.Sprintf("mlx5_%d", i), i, i, name)
	}
	m.add(hardware(9, "eth0r0", path.Base(one)), one, map[string]string{"dev_port": "0", "phys_port_name": "pf0vf0"})

	// mlx4 has one device of two ports, and so as many links on one function.
	m = build("two ports, Ethernet", one)
	m.add(hardware(2, "eth0", path.Base(one)), one, map[string]string{"dev_port": "0"})
	m.add(hardware(3, "eth1", path.Base(one)), one, map[string]string{"dev_port": "1"})
	m.rdmaDevice(one, "mlx4_0", 0, 4, "eth0", "eth1")

	ipoib := func(l *netdev.Link) { l.Encapsulation = "infiniband" }
	m = build("two ports, IPoIB", one)
	m.add(with(hardware(2, "ib0", path.Base(one)), ipoib), one, map[string]string{"dev_port": "0", "dev_id": "0x0"})
	m.add(with(hardware(3, "ib1", path.Base(one)), ipoib), one, map[string]string{"dev_port": "0", "dev_id": "0x1"})
	m.rdmaDevice(one, "mlx4_0", 0, 0, "", "")

	m = build("no module", one)
	delete(m.sys, "class/misc/rdma_cm")
	m.add(hardware(2, "eth0", path.Base(one)), one, nil)
	m.rdmaDevice(one, "bnxt_re0", 7, 7, "eth0")
	delete(m.sys, "class/infiniband_verbs/uverbs7")

	m = build("another link's, two alike, and none", one, two, vf)
	m.add(hardware(2, "eth0", path.Base(one)), one, nil)
	m.rdmaDevice(one, "mlx5_bond_0", 0, 0, "bond0")
	m.add(hardware(3, "eth1", path.Base(two)), two, nil)
	m.rdmaDevice(two, "a", 1, 1, "")
	m.rdmaDevice(two, "b", 2, 2, "")
	m.add(hardware(4, "eth2", path.Base(vf)), vf, nil)
	return machines
}

func TestRDMA(t *testing.T) {
	node := func(names ...string) (all []string) {
		for _, n := range names {
			all = append(all, "/dev/infiniband/"+n)
		}
		return all
	}
	type found struct {
		Device string
		Nodes  []string
	}
	want := map[string]map[string]found{
		"two functions and a VF": {
			"lo":   {},
			"eth0": {"mlx5_0", node("uverbs0", "issm0", "umad0", "rdma_cm")}, "eth1": {"mlx5_1", node("uverbs1", "issm1", "umad1", "rdma_cm")},
			"eth2": {"mlx5_2", node("uverbs2", "issm2", "umad2", "rdma_cm")}, "eth0r0": {},
		},
		"two ports, Ethernet": {
			"lo":   {},
			"eth0": {"mlx4_0", node("uverbs0", "issm4", "umad4", "rdma_cm")}, "eth1": {"mlx4_0", node("uverbs0", "issm5", "umad5", "rdma_cm")},
		},
		"two ports, IPoIB": {
			"lo":  {},
			"ib0": {"mlx4_0", node("uverbs0", "issm0", "umad0", "rdma_cm")}, "ib1": {"mlx4_0", node("uverbs0", "issm1", "umad1", "rdma_cm")},
		},
		"no module":                           {"lo": {}, "eth0": {"bnxt_re0", node("issm7", "umad7")}},
		"another link's, two alike, and none": {"lo": {}, "eth0": {}, "eth1": {}, "eth2": {}},
	}
	for name, m := range rdmaHosts() {
		t.Run(name, func(t *testing.T) {
			got := map[string]found{}
			for _, d := range m.scan() {
				got[d.Link.Name] = found{d.RDMA, d.Nodes}
			}
			if diff := cmp.Diff(want[name], got); diff != "" {
				t.Errorf("RDMA (-want +got):\n%s", diff)
			}
		})
	}
}
