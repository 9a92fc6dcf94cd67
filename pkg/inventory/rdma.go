package inventory

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
)

// rdmaPort is a port of an RDMA device (`rdma link`).
type rdmaPort struct {
	device string // "mlx5_0"; empty for no RDMA
	port   int    // from 1
}

// nodeDir is where the kernel makes the character devices of RDMA.
const nodeDir = "/dev/infiniband"

// rdma returns the port of an RDMA device that is the link's hardware. A device
// of several ports may belong to as many links. What represents another function
// on the same parent has none: the device there is not its own.
func (p *probe) rdma() rdmaPort {
	if p.port == nil {
		p.port = new(findRDMA(p))
	}
	return *p.port
}

func findRDMA(p *probe) rdmaPort {
	if p.parent == "" || representor.MatchString(p.link.PortName) {
		return rdmaPort{}
	}
	var all []rdmaPort
	for _, device := range p.parentDir("infiniband") {
		for _, name := range p.list(path.Join("class/infiniband", device, "ports")) {
			port, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			this := rdmaPort{device, port}
			// A port of Ethernet names its link (`rdma link`: netdev), one of InfiniBand does not.
			switch p.readFile(path.Join("class/infiniband", device, "ports", name, "gid_attrs/ndevs/0")) {
			case p.link.Name:
				return this
			case "":
				all = append(all, this)
			}
		}
	}
	devPort, _ := strconv.ParseUint(p.netFile("dev_port"), 0, 16) // 0 is the first, and without a number there is one only
	if devPort == 0 {
		devPort, _ = strconv.ParseUint(p.netFile("dev_id"), 0, 16) // of drivers before Linux 3.15
	}
	all = slices.DeleteFunc(all, func(r rdmaPort) bool { return r.port != int(devPort)+1 })
	if len(all) != 1 {
		return rdmaPort{} // none, or nobody knows which
	}
	return all[0]
}

// rdmaDevice returns the name of the link's RDMA device, or "".
func (p *probe) rdmaDevice() string { return p.rdma().device }

// rdmaNodes returns the character devices by which a program uses the link's
// RDMA device: those of the device, of the link's own port, and of the RDMA
// connection manager. They are those that the kernel has, by sysfs.
func (p *probe) rdmaNodes() []string {
	r := p.rdma()
	if r.device == "" {
		return nil
	}
	var nodes []string
	for _, class := range []string{"infiniband_verbs", "infiniband_mad"} {
		for _, name := range p.parentDir(class) {
			dir := path.Join("class", class, name)
			if port := p.readFile(path.Join(dir, "port")); p.readFile(path.Join(dir, "ibdev")) == r.device && (port == "" || port == strconv.Itoa(r.port)) {
				nodes = append(nodes, path.Join(nodeDir, name))
			}
		}
	}
	if len(p.list("class/misc/rdma_cm")) > 0 { // the module rdma_ucm is loaded
		nodes = append(nodes, path.Join(nodeDir, "rdma_cm"))
	}
	return nodes
}

// parentDir lists a directory of the parent device.
func (p *probe) parentDir(name string) []string {
	return p.list(path.Join("bus", p.bus, "devices", p.parent, name))
}

// list returns the names in a directory, sorted; none if there is no such
// directory.
func (p *probe) list(dir string) []string {
	entries, err := fs.ReadDir(p.sys, dir)
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}
