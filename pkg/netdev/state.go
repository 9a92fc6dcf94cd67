package netdev

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// State is everything of a link that we keep or set.
type State struct {
	Name         string                `json:"name"`
	MTU          int                   `json:"mtu"` // bytes
	MAC          v1alpha1.HardwareAddr `json:"mac,omitempty"`
	AltNames     []string              `json:"altNames,omitempty"` // without our tag
	Alias        string                `json:"alias,omitempty"`
	QueueLen     int                   `json:"queueLen,omitempty"` // packets
	Group        uint32                `json:"group,omitempty"`
	Promiscuous  bool                  `json:"promiscuous,omitempty"`
	AllMulticast bool                  `json:"allMulticast,omitempty"`
	AddrGenMode  uint8                 `json:"addrGenMode,omitempty"`
	Up           bool                  `json:"up,omitempty"`        // administrative state
	Addresses    []Address             `json:"addresses,omitempty"` // permanent ones, in the order in which they were added
	Routes       []Route               `json:"routes,omitempty"`    // of all tables but local
	Neighbours   []Neighbour           `json:"neighbours,omitempty"`
}

// Ident tells a link from all others, wherever it is and whatever a pod has
// made of its name. Hardware is known by parent device and permanent address,
// a virtual link by its tag. Both come from the kernel.
type Ident struct {
	Parent  string                `json:"parent,omitempty"`
	PermMAC v1alpha1.HardwareAddr `json:"permMAC,omitempty"`
	Kind    string                `json:"kind,omitempty"`
	// Name is the link's name on the host. It counts there only, and only for
	// a virtual link that does not have its tag yet.
	Name string `json:"name"`
	// Tag is an altname of our own that the link has from just before the
	// move until it is home; see `ip link show TAG`.
	Tag string `json:"tag"`
	// PodIndex is the ifindex in the pod, which stays as long as the link is
	// there. It counts there only, and only for a virtual link that lost its
	// tag. 0 means not known.
	PodIndex int `json:"podIndex,omitempty"`
}

// Identify returns the identity of a link on the host.
func Identify(l Link, tag string) Ident {
	return Ident{Parent: l.Parent, PermMAC: l.PermMAC, Kind: l.Kind, Name: l.Name, Tag: tag}
}

// is says whether l is the link. onHost says where l was found.
func (id Ident) is(l Link, onHost bool) bool {
	if id.Parent != "" {
		return l.Parent == id.Parent && string(l.PermMAC) == string(id.PermMAC)
	}
	if l.Kind != id.Kind {
		return false
	}
	return slices.Contains(l.AltNames, id.Tag) || onHost && l.Name == id.Name || !onHost && id.PodIndex != 0 && l.Index == id.PodIndex
}

// find returns the link in this namespace, or ErrNotFound.
func (n *NetNS) find(id Ident, onHost bool) (Link, error) {
	if l, err := n.conn.linkByName(id.Tag); err == nil && id.is(l, onHost) {
		return l, nil
	}
	links, err := n.conn.links()
	if err != nil {
		return Link{}, err
	}
	for _, exact := range []bool{true, false} {
		for _, l := range links {
			if id.is(l, onHost) && (!exact || id.Parent != "" || slices.Contains(l.AltNames, id.Tag)) {
				return l, nil
			}
		}
	}
	return Link{}, fmt.Errorf("link %s in %s: %w", id.Name, n, ErrNotFound)
}

// Read returns the state of a link of the host, or ErrNotFound. What it reads
// is complete or an error.
func Read(_ context.Context, host *NetNS, id Ident) (State, Link, error) {
	l, err := host.find(id, true)
	if err != nil {
		return State{}, Link{}, err
	}
	s, err := host.read(l, id.Tag)
	return s, l, err
}

// Inspect returns the link in a pod's namespace with its statistics, or
// ErrNotFound.
func Inspect(_ context.Context, pod *NetNS, id Ident) (Link, error) { return pod.find(id, false) }

// read completes the state of a link that was just found.
func (n *NetNS) read(l Link, tag string) (State, error) {
	s := State{
		Name: l.Name, MTU: l.MTU, MAC: l.MAC, Alias: l.Alias, QueueLen: l.QueueLen, Group: l.Group,
		Promiscuous: l.Promiscuous, AllMulticast: l.AllMulticast, AddrGenMode: l.AddrGenMode, Up: l.Up,
		AltNames: slices.DeleteFunc(slices.Clone(l.AltNames), func(a string) bool { return a == tag }),
	}
	kept, _, err := n.conn.addresses()
	if err != nil {
		return s, fmt.Errorf("read link %s: %w", l.Name, err)
	}
	s.Addresses = kept[l.Index]
	for i := range s.Addresses {
		if s.Addresses[i].Label == l.Name {
			s.Addresses[i].Label = ""
		}
	}
	routes, err := n.conn.routes(l.Index)
	if err != nil {
		return s, fmt.Errorf("read link %s: %w", l.Name, err)
	}
	s.Routes = slices.DeleteFunc(routes, func(r Route) bool { return r.leased(s.Addresses) })
	if s.Neighbours, err = n.conn.neighbours(l.Index); err != nil {
		return s, fmt.Errorf("read link %s: %w", l.Name, err)
	}
	return s, nil
}

// leased says whether a route stands on an address that is not among the
// permanent ones: a dynamic one, whose owner puts both back.
func (r Route) leased(permanent []Address) bool {
	if r.PrefSource.IsValid() && !slices.ContainsFunc(permanent, func(a Address) bool { return a.Prefix.Addr() == r.PrefSource }) {
		return true
	}
	return r.Protocol == unix.RTPROT_KERNEL && !slices.ContainsFunc(permanent, func(a Address) bool {
		return a.Prefix.Masked() == r.Destination || a.Peer.IsValid() && netip.PrefixFrom(a.Peer, a.Prefix.Bits()).Masked() == r.Destination
	})
}
