package attachment

import (
	"errors"
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// podInterface is what container runtimes name the interface of a pod's
// network, which is made before a sandbox's handler is called, and removed when
// the kubelet stops the sandbox.
const podInterface = "eth0"

// life is what is known of a sandbox that has a link.
type life int

const (
	lifeUnclear life = iota // its namespace is at the runtime's path, and never had a pod's network
	lifeRunning             // its pod's network is there
	lifeEnded               // its pod's network was removed: CRI-O may leave the namespace at its path
	lifeGone                // its namespace is not at the runtime's path any more
)

// lifeOf looks at the sandbox of an attachment. Our own pin keeps the namespace
// alive, so it is the runtime's path that counts, and in it the link of the
// pod's network. The pod cannot make a second one like that: its index is free
// only when it is gone, and its lower device is in the host's namespace.
func lifeOf(r allocation.Record) life {
	s := r.Attachment.Sandbox
	if s.NetNS == "" { // the host's, with a device without an interface: nothing shows its end
		return lifeRunning
	}
	ns, err := openNetNS(s.NetNS, s.Cookie)
	if err != nil {
		return lifeRunning // it cannot be looked at, so nothing is taken from it
	}
	if ns == nil {
		return lifeGone
	}
	defer ns.Close()
	if s.PodLink == (allocation.PodLink{}) { // it had no network
		if networkOf(ns) != (allocation.PodLink{}) {
			return lifeRunning
		}
		return lifeUnclear
	}
	if hasEnded(ns, s.PodLink) {
		return lifeEnded
	}
	return lifeRunning
}

// hasEnded reports whether the link of a pod's network is not in its namespace
// any more.
func hasEnded(ns *netdev.NetNS, link allocation.PodLink) bool {
	l, err := ns.LinkByIndex(link.Index)
	return errors.Is(err, netdev.ErrNotFound) || err == nil && podLink(l) != link
}

func podLink(l netdev.Link) allocation.PodLink {
	return allocation.PodLink{Index: l.Index, Lower: l.Lower, LowerNetNSID: l.LowerNetNSID}
}

// networkOf returns the link of a pod's network, or nothing.
func networkOf(ns *netdev.NetNS) allocation.PodLink {
	if l, err := ns.LinkByName(podInterface); err == nil && l.Name == podInterface {
		return podLink(l)
	}
	return allocation.PodLink{}
}

// ended reports whether the sandbox of an attachment has ended, though the
// runtime did not report it: its pod's network is not in its namespace any
// more. Our pin shows that also when the namespace is gone from the runtime's
// path.
func (b *sandboxes) ended(r allocation.Record) bool {
	v := b.look(r)
	defer v.close()
	return v.ended
}

// newer reports whether the sandbox that asks is newer than that of its pod
// which has the link, where the end of neither was reported. The kubelet makes
// a pod's sandboxes one after the other, and removes the network of each before
// the next one: so the newer one has a network when the older one has none.
func newer(s allocation.Sandbox, r allocation.Record) bool {
	if r.Attachment.Sandbox.NetNS == "" { // see lifeOf
		return true
	}
	switch lifeOf(r) {
	case lifeGone:
		return true
	case lifeRunning:
		return false
	}
	if s.NetNS == "" {
		return false
	}
	ns, err := netdev.Open(s.NetNS)
	if err != nil {
		return false
	}
	defer ns.Close()
	return networkOf(ns) != (allocation.PodLink{})
}

// inUse returns an error if a pod still runs with one of the links, or waits
// for it. Kubelets before kubernetes#140212 unprepare such a claim when another
// pod on it is deleted that never ran. A pod that has renamed the interface of
// its network is not protected: the runtime removes that by its name, so a
// namespace that CRI-O leaves behind would look as if it ran for ever.
func inUse(all []allocation.Record) error {
	for _, r := range all {
		if (r.Attached() || r.Attaching()) && lifeOf(r) == lifeRunning && namesNetwork(r) {
			return fmt.Errorf("%s is in pod %s, which still runs", r, r.Attachment.Sandbox.PodUID)
		}
	}
	return nil
}

// namesNetwork reports whether a link in the sandbox has the name that the
// runtime gives the interface of a pod's network.
func namesNetwork(r allocation.Record) bool {
	s := r.Attachment.Sandbox
	ns, err := openNetNS(s.NetNS, s.Cookie)
	if ns == nil {
		return err != nil
	}
	defer ns.Close()
	return networkOf(ns) != (allocation.PodLink{})
}
