package driver

import (
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// leasesOf returns what a link in a pod has leased, as its claim's status shows
// it. How long each lease runs is not part of it: that changes at each renewal.
func leasesOf(r allocation.Record) (all []v1alpha1.LeaseStatus) {
	if !r.Attached() {
		return nil
	}
	for _, l := range r.Attachment.Leases {
		if !l.Address.IsValid() {
			continue
		}
		s := v1alpha1.LeaseStatus{Address: l.Address.String(), MTU: l.MTU, SearchDomains: l.Search, Ignored: l.Ignored}
		if l.Server.IsValid() {
			s.Server = l.Server.String()
		}
		for _, route := range l.Routes {
			text := route.Destination.String()
			if route.Gateway.IsValid() {
				text += " via " + route.Gateway.String()
			}
			s.Routes = append(s.Routes, text)
		}
		for _, a := range l.DNS {
			s.DNSServers = append(s.DNSServers, a.String())
		}
		all = append(all, s)
	}
	return all
}

// withLeases returns the state of a link in a pod with the addresses and the MTU
// that it has leased.
func withLeases(r allocation.Record) netdev.State {
	s := r.Attachment.InPod.State
	s.Addresses = slices.Clone(s.Addresses)
	for _, p := range s.Advertised {
		s.Addresses = append(s.Addresses, netdev.Address{Prefix: p})
	}
	for _, l := range r.Attachment.Leases {
		if l.Address.IsValid() {
			s.Addresses = append(s.Addresses, netdev.Address{Prefix: l.Address})
		}
		if l.MTU != 0 {
			s.MTU = l.MTU
		}
	}
	return s
}
