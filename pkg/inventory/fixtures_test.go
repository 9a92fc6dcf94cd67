package inventory

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"testing"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestFixtures compares what is offered of six kinds of machine, and what is known
// of it, with golden files of one line a device.
func TestFixtures(t *testing.T) {
	for name, build := range fixtures {
		t.Run(name, func(t *testing.T) {
			m := build()
			devices := m.scan()
			golden(t, path.Join("machines", name+".txt"), describe(devices))
			withinLimits(t, name, devices)
			for _, d := range devices {
				if n := len(d.Attributes) + len(d.capacity()); n > maxOwn {
					t.Errorf("%s: %d attributes and capacities, want at most %d", d.Name, n, maxOwn)
				}
			}
		})
	}
}

var fixtures = map[string]func() *machine{
	"gpu": gpuNode, "telco": telcoNode, "cloud": cloudVM, "laptop": laptop, "bonded": bondedNode, "ipoib": ipoibNode,
}

// describe prints devices: whether each is offered, and its attributes in the order
// of the tables, without those that are empty.
func describe(devices []Device) string {
	var b strings.Builder
	for _, d := range devices {
		verdict := "offered"
		if d.Skipped != "" {
			verdict = "not offered: " + d.Skipped
		}
		fmt.Fprintf(&b, "%s: %s\n   ", d.Name, verdict)
		for _, table := range [][]attribute{attributes, spare} {
			for _, a := range table {
				if value, ok := d.Attributes[a.name]; ok {
					if s := show(value); s != "" {
						fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(string(a.name), "resource.kubernetes.io/"), s)
					}
				}
			}
		}
		for _, c := range capacities {
			if value, ok := d.capacity()[c.name]; ok {
				fmt.Fprintf(&b, " %s=%s", c.name, value.Value.String())
			}
		}
		fmt.Fprintln(&b)
		if len(d.Nodes) > 0 {
			fmt.Fprintf(&b, "    %s\n", strings.Join(d.Nodes, " "))
		}
	}
	return b.String()
}

func show(a resourceapi.DeviceAttribute) string {
	switch {
	case a.IntValue != nil:
		return strconv.FormatInt(*a.IntValue, 10)
	case a.BoolValue != nil:
		return strconv.FormatBool(*a.BoolValue)
	case strings.Contains(*a.StringValue, " "):
		return strconv.Quote(*a.StringValue)
	}
	return *a.StringValue
}

// card is a PCI function with a link.
type card struct {
	name, where string // where: below /sys/devices
	driver      string
	ids         string // vendor:device:subsystem
	numa        int
	speed       int // Mb/s
	port        string
	firmware    string
	queues      int
	rdma        string // name of the RDMA device
	total, vfs  int    // virtual functions
}

// fit adds cards with their links, whose indices follow each other, each changed.
func (m *machine) fit(cards []card, changes map[string]func(*netdev.Link)) {
	for _, c := range cards {
		m.function(c)
		l := hardware(len(m.links)+1, c.name, path.Base(c.where))
		l.Carrier, l.MaxMTU, l.PermMAC, l.PortName = true, 9702, l.MAC, c.port
		l.RxQueues, l.TxQueues = c.queues, c.queues
		l.Facts = nic.Facts{Speed: c.speed, Duplex: "full", Firmware: c.firmware}
		if c.total > 0 {
			l.EswitchMode = "legacy"
		}
		if change := changes[c.name]; change != nil {
			change(&l)
		}
		files := map[string]string{"dev_port": "0"}
		if c.port != "" {
			files["phys_port_name"] = c.port
		}
		m.add(l, c.where, files)
	}
}

// function adds the PCI function of a card.
func (m *machine) function(c card) {
	ids := strings.Split(c.ids, ":")
	class := "0x020000"
	if strings.HasPrefix(c.name, "ib") {
		class = "0x020700"
	}
	m.device("pci", c.where, map[string]string{
		"vendor": "0x" + ids[0], "device": "0x" + ids[1], "subsystem_device": "0x" + ids[2], "class": class, "numa_node": strconv.Itoa(c.numa)})
	m.bind(c.where, c.driver, "")
	dir := "devices/" + c.where
	if c.total > 0 {
		m.file(dir+"/sriov_totalvfs", fmt.Sprintln(c.total))
		m.file(dir+"/sriov_numvfs", fmt.Sprintln(c.vfs))
	}
	if c.rdma == "" {
		return
	}
	n := strings.TrimPrefix(strings.TrimPrefix(c.rdma, "mlx5_"), "irdma")
	m.link("class/infiniband/"+c.rdma, dir+"/infiniband/"+c.rdma)
	layer := "Ethernet"
	if class == "0x020700" {
		layer = "InfiniBand"
	}
	for name, content := range map[string]string{
		"link_layer": layer, "state": "4: ACTIVE", "phys_state": "5: LinkUp", "rate": fmt.Sprintf("%d Gb/sec (4X HDR)", c.speed/1000),
	} {
		m.file(dir+"/infiniband/"+c.rdma+"/ports/1/"+name, content+"\n")
	}
	if layer == "Ethernet" {
		m.file(dir+"/infiniband/"+c.rdma+"/ports/1/gid_attrs/ndevs/0", c.name+"\n")
	}
	for class, names := range map[string][]string{"infiniband_verbs": {"uverbs" + n}, "infiniband_mad": {"umad" + n, "issm" + n}} {
		for _, name := range names {
			m.link("class/"+class+"/"+name, dir+"/"+class+"/"+name)
			m.file(dir+"/"+class+"/"+name+"/ibdev", c.rdma+"\n")
			if class == "infiniband_mad" {
				m.file(dir+"/"+class+"/"+name+"/port", "1\n")
			}
		}
	}
	m.file("class/misc/rdma_cm/dev", "10:58\n")
}

// all returns one change that makes several.
func all(changes ...func(*netdev.Link)) func(*netdev.Link) {
	return func(l *netdev.Link) {
		for _, change := range changes {
			change(l)
		}
	}
}

// unplugged is a link that is up without a cable; its Speed is the most that it supports.
func unplugged(l *netdev.Link) { l.Carrier, l.State, l.Duplex = false, "down", "" }

// off is a link that is set down.
func off(l *netdev.Link) { unplugged(l); l.Up = false }

func mtu(n int) func(*netdev.Link) { return func(l *netdev.Link) { l.MTU = n } }

// node says which address the Node object has.
func (m *machine) nodeIs(address string) *machine {
	m.opts.NodeAddresses = []netip.Addr{netip.MustParseAddr(address)}
	return m
}

// next adds a link that is no hardware.
func (m *machine) next(name, kind string, changes ...func(*netdev.Link)) int {
	l := with(virtual(len(m.links)+1, name, kind, 0), all(changes...))
	m.links = append(m.links, l)
	return l.Index
}

func lower(index int) func(*netdev.Link) { return func(l *netdev.Link) { l.Lower = index } }

func pinned(l *netdev.Link) { l.Immutable = true }

// indexOf returns the index of a link.
func (m *machine) indexOf(name string) int {
	for _, l := range m.links {
		if l.Name == name {
			return l.Index
		}
	}
	panic(name)
}
