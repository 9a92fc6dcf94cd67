package netdev

import (
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	vrfKind = "vrf"
	// vrfGroup and vrfMarks are the group of a VRF that we made (`ip link`: group):
	// it is set when the device is made, so none is ever without. The marks are a
	// bit for each of l3mdevSysctls that we set.
	vrfGroup = 0x64727600
	vrfMarks = 0xff
	// l3mdevPriority is that of the rule that looks up the tables of VRFs. The
	// kernel adds it with the first VRF of a namespace, and never again.
	l3mdevPriority = 1000
)

// l3mdevSysctls let a socket that is bound to no VRF take connections that arrive by
// one (vrf.rst).
var l3mdevSysctls = []string{"/proc/sys/net/ipv4/tcp_l3mdev_accept", "/proc/sys/net/ipv4/udp_l3mdev_accept"}

// ruleFamilies are the families that have such a rule: IPv4, IPv6, and their
// multicast routing (RTNL_FAMILY_IPMR, RTNL_FAMILY_IP6MR).
var ruleFamilies = []uint8{unix.AF_INET, unix.AF_INET6, 128, 129}

// vrfTable returns the routing table of a VRF.
func (l Link) vrfTable() uint32 {
	for _, a := range l.KindData {
		if a.Type == unix.IFLA_VRF_TABLE {
			return u32(a.Value)
		}
	}
	return 0
}

// ourVRF reports whether we made the VRF.
func (l Link) ourVRF() bool { return l.Kind == vrfKind && l.Group&^vrfMarks == vrfGroup }

func masterAttr(index int) *nl.RtAttr { return attr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(index))) }

// message makes the VRF.
func (v vrf) message(marks uint32) message {
	return message{
		what: "make VRF " + v.Name, typ: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL,
		body: []nl.NetlinkRequestData{
			ifi(0), attr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Name)), attr(unix.IFLA_GROUP, nl.Uint32Attr(vrfGroup|marks)),
			nested(unix.IFLA_LINKINFO, attr(unix.IFLA_INFO_KIND, nl.ZeroTerminated(vrfKind)),
				nested(unix.IFLA_INFO_DATA, attr(unix.IFLA_VRF_TABLE, nl.Uint32Attr(v.Table)))),
		},
	}
}

// l3mdevRule adds or removes the rule of a family that looks up the tables of VRFs.
func l3mdevRule(family uint8, add bool) message {
	h := nl.NewRtMsg() // of the same form as struct fib_rule_hdr
	*h = nl.RtMsg{RtMsg: unix.RtMsg{Family: family, Type: frActToTable}}
	m := message{what: "add the rule of VRFs", typ: unix.RTM_NEWRULE, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, already: unix.EEXIST}
	if !add {
		m = message{what: "remove the rule of VRFs", typ: unix.RTM_DELRULE, already: unix.ENOENT}
	}
	m.optional = family > unix.AF_INET6 // the kernel may have no multicast routing
	m.body = []nl.NetlinkRequestData{
		h, attr(unix.FRA_PRIORITY, nl.Uint32Attr(l3mdevPriority)), attr(unix.FRA_L3MDEV, nl.Uint8Attr(1)),
		attr(unix.FRA_PROTOCOL, nl.Uint8Attr(unix.RTPROT_KERNEL)),
	}
	return m
}

// makeVRF makes a VRF beside the links of the namespace, and what sockets and
// packets need to use it.
func (n *NetNS) makeVRF(v vrf, links []Link) (Link, error) {
	var marks uint32
	if i := slices.IndexFunc(links, Link.ourVRF); i >= 0 {
		marks = links[i].Group & vrfMarks // what was there before the first of ours
	} else if err := n.Within(func() { marks = unsetSysctls() }); err != nil {
		return Link{}, err
	}
	ms := []message{v.message(marks)}
	for _, f := range ruleFamilies {
		ms = append(ms, l3mdevRule(f, true))
	}
	if _, err := n.conn.do(ms...); err != nil {
		return Link{}, join(err, n.removeVRFs())
	}
	if err := n.setL3mdev(marks, "1"); err != nil {
		return Link{}, join(err, n.removeVRFs())
	}
	return n.conn.linkByName(v.Name)
}

// unsetSysctls returns a mark for each of l3mdevSysctls that is off.
func unsetSysctls() (marks uint32) {
	for i, path := range l3mdevSysctls {
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == "0" {
			marks |= 1 << i
		}
	}
	return marks
}

func (n *NetNS) setL3mdev(marks uint32, value string) error {
	var errs []error
	err := n.Within(func() {
		for i, path := range l3mdevSysctls {
			if marks&(1<<i) != 0 {
				errs = append(errs, writeFile(path, value))
			}
		}
	})
	return join(append(errs, err)...)
}

// removeVRFs removes the VRFs of ours in which no link is left, and with the last
// VRF of the namespace what was added with the first.
func (n *NetNS) removeVRFs() error {
	links, err := n.conn.links()
	if err != nil {
		return err
	}
	var marks uint32
	var ms []message
	last := true
	for _, l := range links {
		used := slices.ContainsFunc(links, func(o Link) bool { return o.Master == l.Index && o.Index != l.Index })
		switch {
		case l.Kind != vrfKind:
		case l.ourVRF() && !used:
			marks |= l.Group & vrfMarks
			ms = append(ms, message{what: "remove VRF " + l.Name, typ: unix.RTM_DELLINK, body: []nl.NetlinkRequestData{ifi(l.Index)}})
		default:
			last = false
		}
	}
	if len(ms) == 0 {
		return nil
	}
	if last {
		for _, f := range ruleFamilies {
			ms = append(ms, l3mdevRule(f, false))
		}
	}
	_, err = n.conn.do(ms...)
	if err == nil && last {
		err = n.setL3mdev(marks, "0")
	}
	return err
}
