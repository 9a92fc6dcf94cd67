package driver

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// podInterface is what container runtimes name the link of a pod's network,
// which is made before a sandbox's hook is called, and removed when the kubelet
// stops the sandbox.
const podInterface = "eth0"

// life is what is known of a sandbox that has a link.
type life int

const (
	lifeUnclear life = iota // its namespace is at the runtime's path, and never had a pod's network
	lifeRunning             // its pod's network is there
	lifeEnded               // its pod's network was removed: CRI-O may leave the namespace at its path
	lifeGone                // its namespace is not at the runtime's path any more
)

// lifeOf looks at the sandbox that has the link. Our own pin keeps the
// namespace alive, so it is the runtime's path that counts, and in it the link
// of the pod's network. The pod cannot make a second one like that: its index
// is free only when it is gone, and its lower device is in the host's
// namespace.
func lifeOf(a allocation.Record) life {
	ns, err := openNetNS(a.NetNS, a.NetNSCookie)
	if err != nil {
		return lifeRunning // it cannot be looked at, so nothing is taken from it
	}
	if ns == nil {
		return lifeGone
	}
	defer ns.Close()
	if a.PodLink == (allocation.PodLink{}) { // the record of an older version, or no network
		if networkOf(ns) != (allocation.PodLink{}) {
			return lifeRunning
		}
		return lifeUnclear
	}
	l, err := ns.LinkByIndex(a.PodLink.Index)
	if errors.Is(err, netdev.ErrNotFound) || err == nil && podLink(l) != a.PodLink {
		return lifeEnded
	}
	return lifeRunning
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

// ended reports whether the sandbox that has the link has ended, though no hook
// saw that: its pod's network is not in its namespace any more. Our pin shows
// that also when the namespace is gone from the runtime's path.
func (d *Driver) ended(a allocation.Record) bool {
	if a.PodLink == (allocation.PodLink{}) {
		return false
	}
	ns, err := d.openSandbox(a, "")
	if ns == nil {
		return err == nil
	}
	defer ns.Close()
	l, err := ns.LinkByIndex(a.PodLink.Index)
	return errors.Is(err, netdev.ErrNotFound) || err == nil && podLink(l) != a.PodLink
}

// newer reports whether the sandbox that asks is newer than that of its pod
// which has the link, where the hooks saw none of both end. The kubelet makes
// a pod's sandboxes one after the other, and removes the network of each before
// the next one: so the newer one has a network when the older one has none.
func newer(pod *api.PodSandbox, a allocation.Record) bool {
	switch lifeOf(a) {
	case lifeGone:
		return true
	case lifeRunning:
		return false
	}
	ns, err := netdev.Open(netnsPath(pod))
	if err != nil || netnsPath(pod) == "" {
		return false
	}
	defer ns.Close()
	return networkOf(ns) != (allocation.PodLink{})
}

// inUse returns an error if a pod still runs with one of the claim's links.
// Kubelets before kubernetes#140212 unprepare such a claim when another pod on
// it is deleted that never ran. A pod that has renamed the link of its network
// is not protected: the runtime removes that link by its name, so a namespace
// that CRI-O leaves behind would look as if it ran for ever.
func inUse(all []allocation.Record) error {
	for _, a := range all {
		if a.Attached != nil && lifeOf(a) == lifeRunning && namesNetwork(a) {
			return fmt.Errorf("claim %s/%s: link %s is in pod %s, which still runs", a.Claim.Namespace, a.Claim.Name, a.Device.Link.Name, a.PodUID)
		}
	}
	return nil
}

// namesNetwork reports whether a link in the sandbox has the name that the
// runtime gives the link of a pod's network.
func namesNetwork(a allocation.Record) bool {
	ns, err := openNetNS(a.NetNS, a.NetNSCookie)
	if ns == nil {
		return err != nil
	}
	defer ns.Close()
	return networkOf(ns) != (allocation.PodLink{})
}

// checkSandbox notes, and writes into the claim, that the sandbox which has the
// link has ended, or that it has its network back.
func (d *Driver) checkSandbox(ctx context.Context, a allocation.Record) {
	if d.ended(a) == a.SandboxEnded {
		return
	}
	unlock, err := d.store.Lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	now, ok := d.find(a.Claim.UID, a.Device.Name)
	if !ok || !now.AttachedTo(a.Sandbox) || d.ended(now) == now.SandboxEnded {
		return
	}
	now.SandboxEnded = !now.SandboxEnded
	if err := d.store.Put(now); err != nil {
		klog.FromContext(ctx).Error(err, "Failed to note whether a sandbox has ended")
		return
	}
	if now.SandboxEnded {
		d.status.detached(now, v1alpha1.ReasonSandboxEnded, "the pod's sandbox has ended, and the link is in it still: it goes to the pod's next sandbox, or back to the host", nil)
	} else if l, err := d.inspect(ctx, now); err == nil {
		d.status.attached(now, l.Statistics)
	}
}
