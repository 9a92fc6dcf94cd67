package driver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// functionPrefix begins the name of a device that is named after its PCI
// function, and no other's.
const functionPrefix = "pci-"

// linkLister returns all links of the host.
type linkLister func() ([]netdev.Link, error)

// namedIdentity is the identity of an interface of the host, under its name.
type namedIdentity struct {
	name string
	v1alpha1.HostIdentity
}

// swapped returns an error if the interface that has a device's name now is not
// the one that the claim was allocated to, given what the claim's status has of
// that one. Names may go to other interfaces at a reboot, which ends all records.
//
// A refusal needs evidence, since pods wait for it: that the interface is there
// under another name, or, where a device is not named after its PCI function,
// that hardware has another permanent address. An address that is gone proves
// nothing: a macvlan gets a random one each time that it is made.
func swapped(device string, was v1alpha1.HostIdentity, now namedIdentity, others []namedIdentity) error {
	permanent := func(i v1alpha1.HostIdentity) nic.HardwareAddr { return i.PermanentAddress }
	address := func(i v1alpha1.HostIdentity) nic.HardwareAddr { return i.Address }
	named := was.Kind == "" && !strings.HasPrefix(device, functionPrefix)
	for _, known := range []struct {
		unless   bool // this says nothing
		was, now nic.HardwareAddr
		kind     string // of the interface that has it, by which address
		by       func(v1alpha1.HostIdentity) nic.HardwareAddr
		gone     bool // it is enough that it is gone
		whose    string
	}{
		{false, was.PermanentAddress, now.PermanentAddress, was.Kind, permanent, named, "that"},
		{set(was.PermanentAddress), was.Address, now.Address, was.Kind, address, false, "that"},
		{!set(now.LowerAddress), was.LowerAddress, now.LowerAddress, "", permanent, false, "the lower device of that"},
	} {
		if known.unless || !set(known.was) || bytes.Equal(known.was, known.now) {
			continue
		}
		i := slices.IndexFunc(others, func(o namedIdentity) bool {
			return o.name != now.name && o.Kind == known.kind && bytes.Equal(known.by(o.HostIdentity), known.was)
		})
		where := "is not on this node any more"
		if i >= 0 {
			where = "is now called " + others[i].name
		}
		if i >= 0 || known.gone {
			return fmt.Errorf("interface %s is not the one that the claim was allocated to: %s has the address %s and %s; give the interfaces their names back, or delete the pods that use the claim, and it is allocated anew",
				now.name, known.whose, known.was, where)
		}
	}
	return nil
}

// set reports whether an address is one that tells interfaces apart.
func set(a nic.HardwareAddr) bool {
	return slices.ContainsFunc(a, func(b byte) bool { return b != 0 })
}

// identityOf returns what a link of the host is known by, given all of them.
func identityOf(l netdev.Link, links []netdev.Link) v1alpha1.HostIdentity {
	id := v1alpha1.HostIdentity{Kind: l.Kind, Address: l.MAC, PermanentAddress: l.PermMAC}
	for range links { // a tunnel is its own lower device, a pair's ends are each other's
		i := slices.IndexFunc(links, func(o netdev.Link) bool { return o.Index == l.Lower })
		if i < 0 || l.LowerNetNSID >= 0 {
			break
		}
		if l = links[i]; l.Kind == "" {
			id.LowerAddress = l.PermMAC
			break
		}
	}
	return id
}

// recordedIdentity returns the identity that a record has. One that an older
// driver wrote knows the link alone.
func recordedIdentity(r allocation.Record) v1alpha1.HostIdentity {
	if r.Identity.IsZero() {
		return identityOf(r.Device.Link, nil)
	}
	return r.Identity
}

// identify returns the identity of the interface that a claim is about to get, or
// an error if its status has another one for the device. A status is that of the
// present allocation: Kubernetes removes both at once.
func (p *plugin) identify(claim *resourceapi.ResourceClaim, result resourceapi.DeviceRequestAllocationResult, l netdev.Link, list linkLister) (v1alpha1.HostIdentity, error) {
	was := entriesOf(claim)[result.Pool+"/"+result.Device].Data
	recorded := was != nil && !was.Identity.IsZero()
	switch {
	case l.Index == 0: // it has no interface
		return v1alpha1.HostIdentity{}, nil
	case !recorded && l.Lower == 0:
		return identityOf(l, nil), nil
	}
	links, err := list()
	if err != nil {
		return v1alpha1.HostIdentity{}, err
	}
	now := namedIdentity{l.Name, identityOf(l, links)}
	if !recorded {
		return now.HostIdentity, nil
	}
	var others []namedIdentity
	for _, o := range links {
		others = append(others, namedIdentity{o.Name, identityOf(o, links)})
	}
	for _, r := range p.store.Find(func(r allocation.Record) bool { return r.Device.Name != result.Device && r.Attachment != nil }) {
		others = append(others, namedIdentity{r.Device.Link.Name, recordedIdentity(r)}) // it may be in a pod
	}
	return now.HostIdentity, swapped(result.Device, was.Identity, now, others)
}
