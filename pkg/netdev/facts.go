package netdev

import (
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// factsAge is how long an answer counts. It is less than a minute, after which
// the inventory is read anew if nothing changes.
const factsAge = 50 * time.Second

// factsOf is of which link an answer is, and in what condition that was.
type factsOf struct {
	index                       int
	name, kind, parent, permMAC string
}

// answer is what was asked about a link.
type answer struct {
	of      factsOf
	carrier uint32 // how often it had changed: the speed may change with it
	movable bool
	at      time.Time
	facts   nic.Facts
}

// asked remembers what was answered: each question waits for the kernel's lock of
// all links, and a node may have a thousand. An answer is asked for again when it
// is old or the carrier has changed; of a link that cannot be moved only the
// latter, because nobody selects it.
var asked = answers{of: map[uint64]map[int]answer{}}

// answers are kept by the namespace's cookie and the link's index.
type answers struct {
	mu sync.Mutex
	of map[uint64]map[int]answer
}

func (a *answers) get(cookie uint64) map[int]answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.of[cookie])
}

func (a *answers) put(cookie uint64, all map[int]answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of[cookie] = all
}

func identityOf(l Link) factsOf {
	return factsOf{l.Index, l.Name, l.Kind, l.Parent, string(l.PermMAC)}
}

// movable reports whether somebody may want to select the link: it is no port,
// and no pod's end of a pair.
func movable(l Link) bool { return l.Master == 0 && !(isPair(l.Kind) && l.LowerNetNSID >= 0) }

func (a answer) holds(l Link, now time.Time) bool {
	return a.of == identityOf(l) && a.carrier == l.CarrierChanges && a.movable == movable(l) && (!a.movable || now.Sub(a.at) < factsAge)
}

// describe fills the links' Facts, and asks for what is not known.
func (n *NetNS) describe(links []Link) {
	known, all, now := asked.get(n.cookie), make(map[int]answer, len(links)), time.Now()
	var ask []Link // for their programs
	for _, l := range links {
		a := known[l.Index]
		if !a.holds(l, now) && l.Encapsulation != "loopback" {
			a = answer{identityOf(l), l.CarrierChanges, movable(l), now, n.settingsFacts(l)}
			if a.movable {
				ask = append(ask, l)
			}
		}
		all[l.Index] = a
	}
	for index, f := range n.programFacts(ask) {
		a := all[index]
		a.facts.Filters, a.facts.Programs, a.facts.EBPF = f.Filters, f.Programs, f.EBPF
		all[index] = a
	}
	for i := range links {
		links[i].Facts = all[links[i].Index].facts
	}
	asked.put(n.cookie, all)
}

// recall fills the links' Facts as far as they are known, and asks nothing.
func (n *NetNS) recall(links []Link) {
	known := asked.get(n.cookie)
	for i := range links {
		if a := known[links[i].Index]; a.of == identityOf(links[i]) {
			links[i].Facts = a.facts
		}
	}
}

// settingsFacts asks for the link's speed and, of hardware, for what its driver
// and its device know.
func (n *NetNS) settingsFacts(l Link) (f nic.Facts) {
	if b, err := readLinkSettings(n.conn, l); err == nil {
		f.Speed, f.Duplex = speedOf(b), map[byte]string{halfDuplex: "half", fullDuplex: "full"}[b[lsDuplex]]
	}
	if l.Parent != "" {
		f.Firmware = n.conn.firmware(l)
		f.EswitchMode = eswitches.mode(l.ParentBus, l.Parent)
	}
	return f
}

// speedOf returns the speed of link settings, or the highest one that the link
// supports if it has none now.
func speedOf(b []byte) (speed int) {
	if now := u32(b[lsSpeed:]); now != 0 && now != unknownSpeed {
		return int(now)
	}
	supported := supportedModes(b)
	for mbps, bits := range linkSpeeds {
		for _, bit := range bits {
			if mode(supported, bit) {
				speed = max(speed, int(mbps))
			}
		}
	}
	return speed
}

// firmware returns the firmware's version as the driver reports it, or "".
func (c *conn) firmware(l Link) string {
	const version, versionEnd, size = 68, 100, 196 // of fw_version in struct ethtool_drvinfo, and of that
	b := command(unix.ETHTOOL_GDRVINFO, size)
	if err := c.ethtool(l.Name, "get driver information", b); err != nil {
		return ""
	}
	if v := strings.TrimSpace(text(b[version:versionEnd])); v != "N/A" {
		return v
	}
	return ""
}

// filterParents returns, by the link's index, where filters can be that see what a
// link receives or sends: all qdiscs of kinds clsact and ingress.
func (c *conn) filterParents() map[int][]uint32 {
	parents := map[int][]uint32{}
	payloads, err := c.dump(unix.RTM_GETQDISC, tcMsg{})
	if err != nil {
		return parents
	}
	for _, b := range payloads {
		q, index, err := decodeTC(unix.RTM_NEWQDISC, b)
		switch {
		case err != nil:
		case q.Kind == kindClsact:
			parents[index] = []uint32{tcAtIngress, tcAtEgress}
		case q.Kind == "ingress":
			parents[index] = []uint32{q.Handle}
		}
	}
	return parents
}

// programFacts asks for the links' eBPF programs. What the kernel does not answer
// is not known: there are kernels without tcx.
func (n *NetNS) programFacts(links []Link) map[int]nic.Facts {
	all := make(map[int]nic.Facts, len(links))
	if len(links) == 0 {
		return all
	}
	parents := n.conn.filterParents()
	n.Within(func() { // once, because each takes a new thread
		for _, l := range links {
			f := nic.Facts{Filters: n.conn.filterNames(l.Index, parents[l.Index])}
			programs, _ := programsHere(l)
			for _, at := range []string{"tcx/ingress", "tcx/egress"} {
				for _, p := range programs {
					if p.Point == at {
						f.Programs = append(f.Programs, programName(p.ID))
					}
				}
			}
			f.EBPF = len(f.Filters)+len(programs) > 0
			all[l.Index] = f
		}
	})
	return all
}

// filterNames returns the names of the link's filters at these parents that have an
// eBPF program.
func (c *conn) filterNames(index int, parents []uint32) (names []string) {
	for _, parent := range parents {
		filters, err := c.tcDump(unix.RTM_NEWTFILTER, index, parent)
		if err != nil {
			continue
		}
		for _, o := range filters {
			if options := o.options(); o.Kind == kindBPF && find(options, bpfID) != nil {
				names = append(names, text(find(options, bpfName)))
			}
		}
	}
	return names
}
