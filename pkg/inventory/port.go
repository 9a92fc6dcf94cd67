package inventory

import (
	"fmt"
	"path"
	"strings"
)

// port is the state of a device's network port, as its link has it, or, of a
// function without a link, its RDMA device. It is zero for a function without both.
type port struct {
	encapsulation, state string
	carrier              bool
	speed                int // Mb/s
}

// rdmaLinkLayers are the names of link layers in sysfs.
var rdmaLinkLayers = map[string]string{"InfiniBand": "infiniband", "Ethernet": "ether"}

func portState(p *probe) (s port) {
	if l := p.link; p.hasLink() {
		return port{l.Encapsulation, l.State, l.Carrier, l.Speed}
	}
	device := rdmaDevice(p)
	if device == "" {
		return s
	}
	file := func(name string) string { return p.readFile(path.Join("class/infiniband", device, "ports/1", name)) }
	s.encapsulation, s.carrier, s.state = rdmaLinkLayers[file("link_layer")], strings.HasSuffix(file("phys_state"), "LinkUp"), "down"
	if strings.HasSuffix(file("state"), "ACTIVE") {
		s.state = "up"
	}
	var gbps float64
	if n, _ := fmt.Sscanf(file("rate"), "%f Gb/sec", &gbps); n == 1 { // also without a carrier, when it is the least one
		s.speed = int(gbps * 1000)
	}
	return s
}

// rdmaDevice returns the RDMA device of a link, or of a function without one.
func rdmaDevice(p *probe) string {
	if p.hasLink() {
		return p.rdmaDevice()
	}
	return pciFunction{p}.rdmaDevice()
}
