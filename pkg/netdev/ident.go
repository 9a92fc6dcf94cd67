package netdev

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Ident identifies a link, wherever it is and whatever a pod has made of its name.
type Ident struct {
	// Parent, PermMAC and Kind are set by the kernel only. Links of one parent
	// device may share all three.
	Parent  string           `json:"parent,omitempty"`
	PermMAC nic.HardwareAddr `json:"permMAC,omitempty"`
	Kind    string           `json:"kind,omitempty"`
	// Name is the link's name on the host. It counts there only, and only
	// until the link has been in a pod.
	Name string `json:"name"`
	// Tag is an altname of our own that the link has from just before the
	// move until it is restored; see `ip link show TAG`. A pod can give it to
	// another link, so in a pod it counts only together with the lower device.
	Tag string `json:"tag"`
	// RDMA is the name of the link's RDMA device when the link was found on the
	// host; empty for none. Read looks for the device by it.
	RDMA string `json:"rdma,omitempty"`
	// Lower is the ifindex, on the host, of the link's lower device or other
	// end; 0 for none.
	Lower int `json:"lower,omitempty"`
	// PodIndex is the link's ifindex in the pod, PodLower and PodLowerNetNSID
	// its lower device as the pod sees it. PodIndex 0 means that they are not
	// known.
	PodIndex        int `json:"podIndex,omitempty"`
	PodLower        int `json:"podLower,omitempty"`
	PodLowerNetNSID int `json:"podLowerNetNSID,omitempty"`
}

// withPodIndex returns the identity with the link's indices in the pod.
func (id Ident) withPodIndex(l Link) Ident {
	id.PodIndex, id.PodLower, id.PodLowerNetNSID = l.Index, l.Lower, l.LowerNetNSID
	return id
}

// OnHost returns the identity of a link that is on the host again: it has no
// indices in a pod.
func (id Ident) OnHost() Ident { return id.withPodIndex(Link{}) }

// Identify returns the identity of a link on the host.
func Identify(l Link, tag string) Ident {
	return Ident{Parent: l.Parent, PermMAC: l.PermMAC, Kind: l.Kind, Name: l.Name, Tag: tag, Lower: l.Lower}
}

// couldBe reports whether l can be the link at all.
func (id Ident) couldBe(l Link) bool { return l.Kind == id.Kind && l.Parent == id.Parent }

// tagged reports whether l has the tag and can be the link.
func (id Ident) tagged(l Link) bool { return id.couldBe(l) && slices.Contains(l.AltNames, id.Tag) }

// burntIn reports whether l has the link's parent device and permanent address. That
// of a virtual function is what its physical function has given it when its driver
// was bound, and changes; but it has one link only.
func (id Ident) burntIn(l Link) bool {
	switch {
	case !id.couldBe(l) || id.Parent == "":
		return false
	case len(id.PermMAC) > 0 && string(l.PermMAC) == string(id.PermMAC):
		return true
	}
	return l.ParentBus == pciBus && isVF(l.Parent)
}

// isPair reports whether links of a kind come in pairs: each is the other's
// lower device.
func isPair(kind string) bool { return slices.Contains([]string{"veth", "netkit", "vxcan"}, kind) }

// findOnHost returns the link, or ErrNotFound. It looks for the tag first, which
// avoids a dump of what may be a thousand links. For hardware the permanent
// address takes precedence: a pod can give two NICs each other's tags.
func (n *NetNS) findOnHost(id Ident) (Link, error) {
	tagged, err := n.conn.linkByName(id.Tag)
	if err == nil && id.tagged(tagged) && (id.Parent == "" || id.burntIn(tagged)) {
		return tagged, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Link{}, err
	}
	links, err := n.conn.links()
	if err != nil {
		return Link{}, err
	}
	for _, fits := range []func(Link) bool{
		id.burntIn,
		id.tagged,
		func(l Link) bool {
			return id.couldBe(l) && id.PodIndex == 0 && l.Name == id.Name && string(l.PermMAC) == string(id.PermMAC)
		},
	} {
		if l, ok := only(links, fits); ok {
			return l, nil
		}
	}
	return Link{}, fmt.Errorf("interface %s in %s: %w", id.Name, n, ErrNotFound)
}

// findInPod returns the link, ErrNotFound or errUncertain. Nothing that the pod can
// forge or fill decides: the link is looked up by index and by tag, and must pass
// certain. Hardware is identified by its parent device and permanent address.
func (n *NetNS) findInPod(id Ident, certain func(Link) (bool, error)) (Link, error) {
	fallback, uncertain := Link{}, false
	for _, look := range []func() (Link, error){
		func() (Link, error) { return n.conn.linkByIndex(id.PodIndex) },
		func() (Link, error) { return n.conn.linkByName(id.Tag) },
	} {
		l, err := look()
		if errors.Is(err, ErrNotFound) || err == nil && !id.couldBe(l) {
			continue
		}
		if err != nil {
			return Link{}, err
		}
		ok, err := certain(l)
		switch {
		case err != nil:
			return Link{}, err
		case ok && (id.Parent == "" || id.burntIn(l)):
			return l, nil
		case ok && fallback.Index == 0:
			fallback = l
		case !ok && isPair(l.Kind) && l.Index == id.PodIndex && id.tagged(l):
			uncertain = true
		}
	}
	if id.Parent != "" {
		links, err := n.conn.links()
		if err != nil {
			return Link{}, err
		}
		if l, ok := only(links, id.burntIn); ok {
			return l, nil
		}
	}
	switch {
	case fallback.Index != 0:
		return fallback, nil
	case uncertain:
		return Link{}, fmt.Errorf("interface %s in %s: %w", id.Name, n, errUncertain)
	}
	return Link{}, fmt.Errorf("interface %s in %s: %w", id.Name, n, ErrNotFound)
}

// errUncertain means that a link of a pair may be the one that is looked for, or
// one that the pod has made in its place.
var errUncertain = errors.New("an interface with its index and tag is there, but its peer is neither where it was nor on the host")

// only returns the one link that fits, and none if several do.
func only(links []Link, fits func(Link) bool) (Link, bool) {
	i := slices.IndexFunc(links, fits)
	if i < 0 || slices.ContainsFunc(links[i+1:], fits) {
		return Link{}, false
	}
	return links[i], true
}

// certain returns a test of whether a link in the pod that can be the planned
// one is it. A pod can delete a virtual link and make another one with the same
// index, kind and tag, but not on a lower device of the host's. The other end
// of a pair may have moved since the attach: then it must be on the host, or
// where the plan says that it is.
func (p Plan) certain(host, pod *NetNS) func(Link) (bool, error) {
	return func(l Link) (bool, error) {
		switch {
		case p.ID.PodIndex == 0: // the attach was cut off, so no container has run since
			// In another namespace a tunnel is its own lower device, and the peer
			// of a pair may have moved just before.
			return l.Lower == p.ID.Lower || l.Lower == l.Index || isPair(l.Kind), nil
		case l.Lower == 0 && p.ID.Parent == "": // only the index cannot be forged by the pod
			return p.ID.PodLower == 0 && l.Index == p.ID.PodIndex, nil
		case l.Lower == p.ID.PodLower && l.LowerNetNSID == p.ID.PodLowerNetNSID:
			return true, nil
		case !isPair(l.Kind):
			return false, nil
		}
		ok, err := paired(pod, l, host)
		if !ok && err == nil && p.PeerNS != nil && l.Lower == p.PeerIndex {
			return paired(pod, l, p.PeerNS)
		}
		return ok, err
	}
}

// paired reports whether the other end of l, a link of n, is in the namespace
// other.
func paired(n *NetNS, l Link, other *NetNS) (bool, error) {
	there, err := n.nsid(other)
	if err != nil || there != l.LowerNetNSID {
		return false, err
	}
	back, err := other.nsid(n)
	if err != nil {
		return false, err
	}
	end, err := other.conn.linkByIndex(l.Lower)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && end.Kind == l.Kind && end.Lower == l.Index && end.LowerNetNSID == back, err
}

// nsid returns the number by which links of n name the namespace other
// (IFLA_LINK_NETNSID): -1 for n itself, and -2 when they have none for it.
func (n *NetNS) nsid(other *NetNS) (int, error) {
	const none = -2
	if n.cookie == other.cookie {
		return -1, nil
	}
	b, err := n.conn.get(message{typ: unix.RTM_GETNSID, body: []nl.NetlinkRequestData{
		rtGenMsg{}, attr(unix.NETNSA_FD, nl.Uint32Attr(uint32(other.handle))),
	}})
	if err != nil {
		return none, fmt.Errorf("get the number of namespace %s in %s: %w", other, n, err)
	}
	id := none
	if len(b) < nlAlign(unix.SizeofRtGenmsg) {
		return none, fmt.Errorf("namespace number message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	err = each(b[nlAlign(unix.SizeofRtGenmsg):], func(typ uint16, v []byte) {
		if typ == unix.NETNSA_NSID && int32(u32(v)) != unix.NETNSA_NSID_NOT_ASSIGNED {
			id = int(int32(u32(v)))
		}
	})
	return id, err
}

// rtGenMsg is struct rtgenmsg of linux/rtnetlink.h, of no family.
type rtGenMsg struct{}

func (rtGenMsg) Len() int { return nlAlign(unix.SizeofRtGenmsg) }

func (rtGenMsg) Serialize() []byte { return make([]byte, nlAlign(unix.SizeofRtGenmsg)) }

// Inspect returns the link in a pod's namespace with its statistics, or
// ErrNotFound. It knows no other namespace, so of a pair whose other end has
// moved since, the index is enough.
func Inspect(_ context.Context, pod *NetNS, id Ident) (Link, error) {
	strict := Plan{ID: id}
	return pod.findInPod(id, func(l Link) (bool, error) {
		if isPair(l.Kind) && id.PodIndex != 0 {
			return l.Index == id.PodIndex || l.Lower == id.PodLower && l.LowerNetNSID == id.PodLowerNetNSID, nil
		}
		return strict.certain(nil, pod)(l)
	})
}
