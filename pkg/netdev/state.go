package netdev

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// State is all of a link that is kept or set.
type State struct {
	Index int    `json:"index,omitempty"` // on the host; requested when the link moves back
	Name  string `json:"name"`
	Kind  string `json:"kind,omitempty"`
	Settings
	Addresses      []Address       `json:"addresses,omitempty"`      // permanent ones, in the order in which they were added
	Routes         []Route         `json:"routes,omitempty"`         // of all tables but local
	NextHopObjects []nextHopObject `json:"nextHopObjects,omitempty"` // objects that routes name, on the host
	Deviceless     []Route         `json:"deviceless,omitempty"`     // routes without a link, to be in the pod
	Rules          []policyRule    `json:"rules,omitempty"`          // of the host that concern the link; of a wanted state, those to be in the pod
	Neighbors      []Neighbor      `json:"neighbors,omitempty"`
	StableSecret   string          `json:"stableSecret,omitempty"`
	VRF            *vrf            `json:"vrf,omitempty"` // in the pod
	// Sysctls are settings that a config asks for, by their name with IFNAME; they
	// are set, and read, in the pod only.
	Sysctls       map[string]string `json:"sysctls,omitempty"`
	Conf6Unlisted map[string]string `json:"conf6Unlisted,omitempty"` // by name, read on the host only
	Ethtool       []Attr            `json:"ethtool,omitempty"`       // hardware settings by hardwareSetting.key, read on the host only
	// PodEthtool is what the config sets of them in the pod.
	PodEthtool nic.Ethtool `json:"-"`
	// Programs are the BPF programs on the link, read on the host only; nil
	// means that they are not known.
	Programs []program `json:"programs"`
	// NoPrograms means that the link has none of them in the pod.
	NoPrograms bool       `json:"noPrograms,omitempty"`
	TC         []tcObject `json:"tc,omitempty"` // traffic control, on the host
	// Queues are settings of queues that are not the kernel's defaults, by their file;
	// nil until they are known, in an attach.
	Queues    map[string]string `json:"queues,omitzero"`
	HostOnly  hostOnly          `json:"hostOnly,omitzero"`
	Bandwidth bandwidth         `json:"bandwidth,omitzero"` // limits in the pod
	// VF is what the physical function of a virtual one has set for it, on the host
	// only; nil for other links.
	VF *vfState `json:"vf,omitempty"`
	// RDMA is the link's RDMA device; nil if it has none.
	RDMA *rdmaDevice `json:"rdma,omitempty"`
	// SLAAC means that the link waits in the pod for an address that a router
	// advertises. Advertised are those that it had there in the end.
	SLAAC      bool           `json:"slaac,omitempty"`
	Advertised []netip.Prefix `json:"advertised,omitempty"`
	// Losses are what of the original state cannot be restored.
	Losses []loss `json:"losses,omitempty"`
}

// recordable returns an error if a text of the link is not UTF-8, which the
// kernel does not require: JSON would change it.
func (s State) recordable() error {
	texts := append([]string{s.Name, s.Alias, s.Kind}, s.AltNames...)
	for _, a := range s.Addresses {
		texts = append(texts, a.Label)
	}
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return fmt.Errorf("interface %s has a name, altname, alias or label that is not UTF-8: %q: %w", s.Name, t, unix.EILSEQ)
		}
	}
	return nil
}

// Read returns the state of a link of the host, or ErrNotFound. What it reads
// is complete or an error.
func Read(_ context.Context, host *NetNS, id Ident) (State, Link, error) {
	l, err := host.findOnHost(id)
	if err != nil {
		return State{}, Link{}, err
	}
	if l, err = host.ofLower(l); err != nil {
		return State{}, l, err
	}
	s, err := host.read(l, id.Tag, State{}, both, sideHost)
	if err != nil {
		return s, l, err
	}
	if s.RDMA, err = host.rdmaOf(l, id.RDMA); err != nil {
		return s, l, fmt.Errorf("read interface %s: %w", l.Name, err)
	}
	lost, err := host.softwareRDMA(l)
	if err != nil {
		return s, l, fmt.Errorf("read interface %s: %w", l.Name, err)
	}
	s.Losses = append(s.Losses, lost...)
	l = host.withNames(l, s)
	return s, l, s.recordable()
}

// reader reads the state of one link. It holds what rows need of others.
type reader struct {
	*NetNS
	link    Link
	want    State     // what the link is to have in the pod
	dynamic []Address // those of the link that are not kept
}

// read completes the state of a link that was just found by the rows of these
// sides. Of what is read only where it is wanted, it reads what want has.
func (n *NetNS) read(l Link, tag string, want State, sides ...side) (State, error) {
	s := State{Index: l.Index, Name: l.Name, Kind: l.Kind, Settings: l.Settings}
	s.AltNames = slices.DeleteFunc(slices.Clone(l.AltNames), func(a string) bool { return a == tag })
	r := &reader{NetNS: n, link: l, want: want}
	for _, p := range properties {
		if p.read == nil || !slices.Contains(sides, p.side) {
			continue
		}
		if err := p.read(r, &s); err != nil {
			return s, fmt.Errorf("read interface %s: %w", l.Name, err)
		}
	}
	return s, nil
}
