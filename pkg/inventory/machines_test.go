package inventory

import (
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// gpuNode has eight GPUs with a 400G NIC each on the same PCIe root, two ports for
// storage, two of the mainboard, the BMC's USB interface, and pods.
func gpuNode() *machine {
	m := newMachine(loopback())
	m.fit([]card{
		{name: "eno3", where: "pci0000:00/0000:00:10.0/0000:01:00.0", driver: "ixgbe", ids: "8086:1563:0001", speed: 10000, firmware: "0x80001680, 1.2836.0", queues: 64, total: 63},
		{name: "eno4", where: "pci0000:00/0000:00:10.0/0000:01:00.1", driver: "ixgbe", ids: "8086:1563:0001", speed: 10000, firmware: "0x80001680, 1.2836.0", queues: 64, total: 63},
	}, map[string]func(*netdev.Link){"eno3": all(uplink, addresses("10.0.0.21/24")), "eno4": off})
	changes := map[string]func(*netdev.Link){}
	var rails []card
	for i, bus := range []int{0x18, 0x40, 0x4f, 0x5e, 0x9a, 0xc0, 0xce, 0xdc} {
		name := fmt.Sprintf("enp%ds0np0", bus)
		rails = append(rails, card{name: name, where: fmt.Sprintf("pci0000:%02x/0000:%02x:01.0/0000:%02x:00.0", bus-3, bus-3, bus), driver: "mlx5_core", ids: "15b3:1021:0041",
			numa: i / 4, speed: 400000, port: "p0", firmware: "28.43.2026 (MT_0000000838)", queues: 63, rdma: fmt.Sprintf("mlx5_%d", i), total: 16})
		changes[name] = all(mtu(9000), addresses(fmt.Sprintf("172.16.%d.21/24", i)))
	}
	rails = append(rails,
		card{name: "enp41s0f0np0", where: "pci0000:27/0000:27:01.0/0000:29:00.0", driver: "mlx5_core", ids: "15b3:101d:0043", speed: 200000, port: "p0", firmware: "22.43.2026 (MT_0000000359)", queues: 63, rdma: "mlx5_8", total: 8},
		card{name: "enp41s0f1np1", where: "pci0000:27/0000:27:01.0/0000:29:00.1", driver: "mlx5_core", ids: "15b3:101d:0043", speed: 200000, port: "p1", firmware: "22.43.2026 (MT_0000000359)", queues: 63, rdma: "mlx5_9", total: 8})
	changes["enp41s0f0np0"] = all(mtu(9000), addresses("172.17.0.21/24", "fd00:17::21/64"), func(l *netdev.Link) { l.Alias = "storage" })
	changes["enp41s0f1np1"] = unplugged
	m.fit(rails, changes)
	m.link("bus/pci/drivers/mlx5_core/module", "module/mlx5_core")
	m.file("module/mlx5_core/version", "24.10-1.1.4\n")
	usb := "pci0000:00/0000:00:14.0/usb1/1-14/1-14:2.0"
	m.device("usb", "pci0000:00/0000:00:14.0/usb1/1-14", map[string]string{"idVendor": "046b"})
	m.device("usb", usb, nil)
	m.link("devices/"+usb+"/driver", "bus/usb/drivers/rndis_host")
	m.add(with(link(len(m.links)+1, "enxb03af2b6059f"), func(l *netdev.Link) { l.Parent, l.ParentBus, l.Carrier, l.State = "1-14:2.0", "usb", true, "unknown" }), usb, nil)
	m.next("docker0", "bridge", pinned)
	m.next("vxlan.calico", "vxlan")
	m.next("tunl0", "ipip", pinned)
	m.next("cali1a2b3c4d5e6", "veth", lower(3), far)
	return m.nodeIs("10.0.0.21")
}

// telcoNode has two physical functions with 32 virtual ones each: of the first ones
// eight belong to DPDK, four are in pods of another driver, and one has no driver.
func telcoNode() *machine {
	m := newMachine(loopback())
	const pf0, pf1 = "pci0000:5d/0000:5d:02.0/0000:5e:00.0", "pci0000:5d/0000:5d:02.0/0000:5e:00.1"
	pf := card{driver: "ice", ids: "8086:1592:0002", speed: 100000, firmware: "4.40 0x8001c967 1.3534.0", queues: 64, total: 128, vfs: 32}
	first, second := pf, pf
	first.name, first.where, first.rdma = "ens1f0", pf0, "irdma0"
	second.name, second.where, second.rdma = "ens1f1", pf1, "irdma1"
	m.fit([]card{
		{name: "eno1", where: "pci0000:00/0000:00:1c.0/0000:02:00.0", driver: "tg3", ids: "14e4:165f:08c3", speed: 1000, firmware: "FFV21.80.9 bc 5720-v1.39", queues: 5},
		first, second,
	}, map[string]func(*netdev.Link){"eno1": all(uplink, addresses("10.0.0.31/24")), "ens1f1": addresses("192.0.2.31/24")})
	for i := range 64 {
		pf, name, slot := pf0, fmt.Sprintf("ens1f0v%d", i), 1
		if i >= 32 {
			pf, name, slot = pf1, fmt.Sprintf("ens1f1v%d", i-32), 0x11
		}
		where := fmt.Sprintf("pci0000:5d/0000:5d:02.0/0000:5e:%02x.%d", slot+i%32/8, i%8)
		vf := card{name: name, where: where, driver: "iavf", ids: "8086:1889:0000", speed: 100000, firmware: "N/A", queues: 16}
		m.link(fmt.Sprintf("devices/%s/virtfn%d", pf, i%32), "devices/"+where)
		switch {
		case i < 8:
			vf.driver = "vfio-pci"
			m.function(vf)
			m.bind(where, "vfio-pci", fmt.Sprint(100+i))
		case i < 12:
			m.function(vf)
			m.file("devices/"+where+"/net/.keep", "") // its link is in another network namespace
		case i == 12:
			m.function(vf)
			m.unbind(where, "iavf")
		default:
			m.fit([]card{vf}, map[string]func(*netdev.Link){"ens1f1v3": func(l *netdev.Link) { l.MAC[1] = 9; l.PermMAC = nic.HardwareAddr{2, 0, 0, 0, 0, 3} }, "ens1f1v4": off})
		}
		m.link("devices/"+where+"/physfn", "devices/"+pf)
	}
	return m.nodeIs("10.0.0.31")
}

// cloudVM has two synthetic interfaces, each with a virtual function that the first
// one uses for its traffic, and a virtio one.
func cloudVM() *machine {
	m := newMachine(loopback())
	for i, slot := range []string{"a", "b"} {
		guid := fmt.Sprintf("000d3a%d0-aaaa-bbbb-cccc-000d3a%d00000", i, i)
		where := "LNXSYSTM:00/VMBUS:00/" + guid
		m.device("vmbus", where, map[string]string{"class_id": "{f8615163-df3e-46c5-913f-f2d2f965ed0e}"})
		m.link("devices/"+where+"/driver", "bus/vmbus/drivers/hv_netvsc")
		synthetic := with(link(2*i+2, fmt.Sprintf("eth%d", i)), func(l *netdev.Link) {
			l.Parent, l.ParentBus, l.Carrier, l.MaxMTU, l.RxQueues, l.TxQueues, l.Facts = guid, "vmbus", true, 65521, 64, 64, nic.Facts{Speed: 50000, Duplex: "full", Firmware: ""}
			if l.PermMAC = l.MAC; i == 0 {
				all(uplink, addresses("10.1.0.4/24"))(l)
			} else {
				addresses("10.1.1.4/24")(l)
			}
		})
		m.add(synthetic, where, nil)
		vf := "LNXSYSTM:00/VMBUS:00/pci-" + slot + "/pci" + slot + "000:00/" + slot + "000:00:02.0"
		m.fit([]card{{name: fmt.Sprintf("enP%s000s1", slot), where: vf, driver: "mlx5_core", ids: "15b3:101a:0190", numa: 0, speed: 50000, firmware: "16.30.1284 (MSF0010110035)", queues: 8, rdma: fmt.Sprintf("mlx5_%d", i)}},
			map[string]func(*netdev.Link){fmt.Sprintf("enP%s000s1", slot): all(portOf(synthetic.Index, ""), func(l *netdev.Link) { l.MAC, l.PermMAC = synthetic.MAC, synthetic.MAC })})
	}
	where := "pci0000:00/0000:00:05.0"
	m.device("pci", where, map[string]string{"vendor": "0x1af4", "device": "0x1041", "subsystem_device": "0x1100", "class": "0x020000", "numa_node": "-1"})
	m.device("virtio", where+"/virtio2", nil)
	m.link("devices/"+where+"/virtio2/driver", "bus/virtio/drivers/virtio_net")
	m.add(with(link(6, "ens5"), func(l *netdev.Link) {
		l.Parent, l.ParentBus, l.Carrier, l.MaxMTU, l.RxQueues, l.TxQueues = "virtio2", "virtio", true, 65535, 4, 4
	}), where+"/virtio2", nil)
	return m.nodeIs("10.1.0.4")
}

// laptop has Wi-Fi with the default route, a port without a cable, a phone, and the
// interfaces of Docker, libvirt and a VPN.
func laptop() *machine {
	m := newMachine(loopback())
	m.fit([]card{
		{name: "enp0s31f6", where: "pci0000:00/0000:00:1f.6", driver: "e1000e", ids: "8086:15fb:0a20", numa: -1, speed: 1000, firmware: "0.8-4", queues: 1},
		{name: "wlp0s20f3", where: "pci0000:00/0000:00:14.3", driver: "iwlwifi", ids: "8086:a0f0:0074", numa: -1, firmware: "77.2df8986f.0 QuZ-a0-hr-b0-77.u", queues: 1},
	}, map[string]func(*netdev.Link){"enp0s31f6": unplugged, "wlp0s20f3": all(uplink, pinned, addresses("192.168.1.23/24"), func(l *netdev.Link) { l.Duplex, l.MaxMTU = "", 2304 })})
	phone := "pci0000:00/0000:00:14.0/usb3/3-4/3-4:1.0"
	m.device("usb", "pci0000:00/0000:00:14.0/usb3/3-4", map[string]string{"idVendor": "18d1"})
	m.device("usb", phone, nil)
	m.link("devices/"+phone+"/driver", "bus/usb/drivers/cdc_ncm")
	m.add(with(link(4, "enx7a1b2c3d4e5f"), func(l *netdev.Link) {
		l.Parent, l.ParentBus, l.Carrier = "3-4:1.0", "usb", true
		l.Speed, l.Duplex = 425, "half"
	}), phone, nil)
	m.next("docker0", "bridge", pinned)
	m.next("virbr0", "bridge", pinned)
	m.next("tun0", "tun")
	m.next("veth9f8e7d6", "veth", lower(2), far, portOf(m.indexOf("docker0"), "bridge"))
	m.next("test0", "dummy")
	return m.nodeIs("192.168.1.23")
}

// bondedNode has its address on a VLAN of a bond, further VLANs of it, a second bond
// and a port that is in none.
func bondedNode() *machine {
	m := newMachine(loopback())
	port := func(name, function, ids string, speed int) card {
		return card{name: name, where: "pci0000:17/0000:17:00.0/" + function, driver: "i40e", ids: ids, speed: speed, firmware: "9.20 0x8000d95e 22.0.9", queues: 64, total: 64}
	}
	slave := func(master string, index int) func(*netdev.Link) {
		return all(portOf(index, "bond"), mtu(9000), func(l *netdev.Link) { l.MAC = nic.HardwareAddr{2, 0, 0x5e, 0x10, 1, byte(index)} })
	}
	bond := func(l *netdev.Link) {
		l.Immutable, l.MTU, l.Carrier, l.MaxMTU, l.Facts = true, 9000, true, 65535, nic.Facts{Speed: 20000, Duplex: "full"}
	}
	m.fit([]card{port("eno1", "0000:18:00.0", "8086:1572:0007", 10000), port("eno2", "0000:18:00.1", "8086:1572:0000", 10000), port("eno3", "0000:18:00.2", "8086:1572:0000", 10000),
		port("eno4", "0000:18:00.3", "8086:1572:0000", 10000), port("ens2f0", "0000:19:00.0", "8086:158b:0002", 25000)},
		map[string]func(*netdev.Link){"eno1": slave("bond0", 7), "eno2": slave("bond0", 7), "eno3": slave("bond1", 8), "eno4": slave("bond1", 8)})
	m.next("bond0", "bond", bond)
	m.next("bond1", "bond", bond)
	vlan := func(on string, id int, changes ...func(*netdev.Link)) {
		m.next(fmt.Sprintf("%s.%d", on, id), "vlan", lower(m.indexOf(on)), mtu(9000), func(l *netdev.Link) {
			l.VLAN, l.Carrier, l.MaxMTU, l.Facts = id, true, 65535, m.links[m.indexOf(on)-1].Facts
			l.Firmware = ""
		}, all(changes...))
	}
	vlan("bond0", 100, uplink, addresses("10.0.0.41/24"))
	vlan("bond0", 200, addresses("192.0.2.41/24"))
	vlan("bond1", 300)
	vlan("bond1", 400)
	m.next("mv400", "macvlan", lower(m.indexOf("bond1.400")))
	vlan("ens2f0", 500)
	return m.nodeIs("10.0.0.41")
}

// ipoibNode has two InfiniBand ports with IPoIB, one of which has a child interface
// for a partition, a third one without IPoIB, and Ethernet for the node.
func ipoibNode() *machine {
	m := newMachine(loopback())
	hca := func(n int, name string) card {
		return card{name: name, where: fmt.Sprintf("pci0000:%02x/0000:%02x:01.0/0000:%02x:00.0", 0x80+n, 0x80+n, 0x90+n), driver: "mlx5_core", ids: "15b3:101b:0006", numa: 1,
			speed: 200000, firmware: "20.43.2026 (MT_0000000594)", queues: 63, rdma: fmt.Sprintf("mlx5_%d", n), total: 8}
	}
	ip := func(addr string) func(*netdev.Link) {
		return all(addresses(addr), func(l *netdev.Link) {
			l.Encapsulation, l.MTU, l.MaxMTU = "infiniband", 2044, 4092
			l.MAC = append(nic.HardwareAddr{0, 0, 1, 7, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x94, 0x6d, 0xae, 3, 0, 0x5c, 0x10}, byte(l.Index))
			l.PermMAC = l.MAC
		})
	}
	m.fit([]card{
		{name: "eno1", where: "pci0000:00/0000:00:1c.0/0000:02:00.0", driver: "igb", ids: "8086:1521:0001", speed: 1000, firmware: "1.63, 0x80000fa4", queues: 8, total: 7},
		hca(0, "ibp144s0"), hca(1, "ibp145s0"),
	}, map[string]func(*netdev.Link){"eno1": all(uplink, addresses("10.0.0.51/24")), "ibp144s0": ip("172.20.0.51/16"), "ibp145s0": ip("172.21.0.51/16")})
	m.next("ibp145s0.8001", "ipoib", lower(m.indexOf("ibp145s0")), ip("172.22.0.51/16"), func(l *netdev.Link) { l.Carrier, l.Speed = true, 200000 })
	m.function(hca(2, "ib"))
	return m.nodeIs("10.0.0.51")
}
