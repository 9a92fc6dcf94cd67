package netdev

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"unicode/utf8"

	"golang.org/x/sys/unix"
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
	Neighbors      []Neighbor      `json:"neighbors,omitempty"`
	StableSecret   string          `json:"stableSecret,omitempty"`
	Ethtool        []Attr          `json:"ethtool,omitempty"` // hardware settings by hardwareSetting.key, read on the host only
	// Programs are the BPF programs on the link, read on the host only; nil
	// means that they are not known.
	Programs []program `json:"programs"`
}

// side is where a link is: in the pod or on the host.
type side bool

const (
	sidePod  side = true
	sideHost side = false
)

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
	s, err := host.read(l, id.Tag)
	if err != nil {
		return s, l, err
	}
	if s.StableSecret, err = host.stableSecret(l); err != nil {
		return s, l, err
	}
	s.Ethtool = host.hardware(l)
	if s.Programs, err = host.programs(l); err != nil {
		return s, l, err
	}
	return s, l, s.recordable()
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

// read completes the state of a link that was just found.
func (n *NetNS) read(l Link, tag string) (State, error) {
	s := State{Index: l.Index, Name: l.Name, Kind: l.Kind, Settings: l.Settings}
	s.AltNames = slices.DeleteFunc(slices.Clone(l.AltNames), func(a string) bool { return a == tag })
	kept, others, err := n.conn.addresses()
	if err != nil {
		return s, fmt.Errorf("read interface %s: %w", l.Name, err)
	}
	s.Addresses = kept[l.Index]
	for i := range s.Addresses {
		if s.Addresses[i].Label == l.Name {
			s.Addresses[i].Label = ""
		}
	}
	routes, objects, err := n.conn.routes(l.Index)
	if err != nil {
		return s, fmt.Errorf("read interface %s: %w", l.Name, err)
	}
	s.Routes = slices.DeleteFunc(routes, func(r Route) bool { return r.leased(s.Addresses, others[l.Index]) })
	s.NextHopObjects = objects
	if s.Neighbors, err = n.conn.neighbors(l.Index); err != nil {
		return s, fmt.Errorf("read interface %s: %w", l.Name, err)
	}
	return s, nil
}

// leased reports whether a route depends on a dynamic address of the link, whose
// owner restores both.
func (r Route) leased(permanent, dynamic []Address) bool {
	if slices.ContainsFunc(dynamic, func(a Address) bool { return a.Prefix.Addr() == r.PrefSource }) {
		return true
	}
	return r.Protocol == unix.RTPROT_KERNEL && !r.belongs(permanent)
}

// belongs reports whether a route is one that the kernel, or a network manager
// in its place, adds with one of the addresses.
func (r Route) belongs(addresses []Address) bool {
	return slices.ContainsFunc(addresses, func(a Address) bool {
		return a.Prefix.Masked() == r.Destination || a.Prefix.Addr() == r.PrefSource ||
			a.Peer.IsValid() && netip.PrefixFrom(a.Peer, a.Prefix.Bits()).Masked() == r.Destination ||
			a.Peer.IsValid() && netip.PrefixFrom(a.Prefix.Addr(), a.Prefix.Bits()) == r.Destination
	})
}
