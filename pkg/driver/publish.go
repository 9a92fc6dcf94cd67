package driver

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

const (
	nodeRefresh = time.Minute
	nodeAgain   = 2 * time.Second // after a failure
)

// publish offers what a scan found, together with what is in pods.
func (d *Driver) publish(ctx context.Context, live []inventory.Device) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.live = live
	known, err := d.withHeld(ctx, live)
	if err != nil {
		return
	}
	devices := inventory.Devices(known)
	if d.placed == nil {
		if d.placed, err = d.published(ctx); err != nil { // costs a write of all slices at most
			klog.FromContext(ctx).Error(err, "Failed to learn which device is in which slice")
		}
	}
	d.placed = place(d.placed, devices)
	if err := d.helper.Load().PublishResources(ctx, resources(d.cfg.NodeName, d.placed)); err != nil {
		klog.FromContext(ctx).Error(err, "Publish devices")
		return
	}
	d.scanned.Store(true)
	klog.FromContext(ctx).V(2).Info("Published devices", "count", len(devices))
}

// withHeld returns what a scan found together with what is in pods, as it is
// offered.
func (d *Driver) withHeld(ctx context.Context, live []inventory.Device) ([]inventory.Device, error) {
	unlock, err := d.store.Lock(ctx) // an attach under way looks like a link that is not home
	if err != nil {
		return nil, err
	}
	all := d.store.All()
	unlock()
	return inventory.Merge(withhold(live, all), held(all, offered)), nil
}

// republish offers again what was offered last, after the book has changed or
// the kubelet may have removed our slices. What has not changed costs no call.
func (d *Driver) republish(ctx context.Context) {
	d.publishing.Lock()
	live := d.live
	d.publishing.Unlock()
	if live != nil {
		d.publish(ctx, live)
	}
}

// republishSoon waits until a link that just came home has been seen at home:
// otherwise its device would leave the slice and come back.
func (d *Driver) republishSoon(ctx context.Context) {
	time.AfterFunc(republishDelay, func() {
		if ctx.Err() == nil {
			d.republish(ctx)
		}
	})
}

// held returns the devices of those allocations for which keep is true.
func held(all []allocation.Record, keep func(allocation.Record) bool) []inventory.Device {
	devices := make([]inventory.Device, 0, len(all))
	for _, a := range all {
		if keep(a) {
			devices = append(devices, a.Device)
		}
	}
	return devices
}

func anyOf(allocation.Record) bool { return true }

// offered says whether the device of an allocation stays published though no
// scan may see it: not if its link is lost, or not home as it was.
func offered(a allocation.Record) bool { return !a.Missing && !a.NotRestored() }

// withhold returns the devices with a reason not to offer those whose links
// are on the host but not as they were, under whatever name, or came back by
// themselves.
func withhold(live []inventory.Device, all []allocation.Record) []inventory.Device {
	live = slices.Clone(live)
	for _, a := range all {
		if offered(a) {
			continue
		}
		for i, dev := range live {
			if dev.Skipped == "" && (dev.Name == a.Device.Name || slices.Contains(dev.Link.AltNames, a.ID.Tag)) {
				live[i].Skipped = fmt.Sprintf("it is not home yet as it was before claim %s/%s", a.Claim.Namespace, a.Claim.Name)
			}
		}
	}
	return live
}

// onRegistration publishes again when the kubelet has registered us: at its
// start it removes the slices of its node.
func (d *Driver) onRegistration(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	out, err := handler(ctx, req)
	if info.FullMethod == registerapi.Registration_NotifyRegistrationStatus_FullMethodName && d.helper.Load() != nil {
		d.republishSoon(context.WithoutCancel(ctx))
	}
	return out, err
}

// nodeAddresses are the addresses by which Kubernetes knows the node. The link
// that carries one is never offered.
type nodeAddresses struct {
	client kubernetes.Interface
	node   string

	known chan struct{} // closed when they have first been read

	mu    sync.Mutex // guards addrs
	addrs []netip.Addr
}

// follow reads them again and again until ctx ends. While the API server is
// away the last ones stand.
func (n *nodeAddresses) follow(ctx context.Context) error {
	first := sync.OnceFunc(func() { close(n.known) })
	for {
		wait := nodeRefresh
		if err := n.refresh(ctx); err != nil {
			klog.FromContext(ctx).Error(err, "Read the node's addresses, trying again", "node", n.node)
			wait = nodeAgain
		} else {
			first()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (n *nodeAddresses) refresh(ctx context.Context) error {
	node, err := n.client.CoreV1().Nodes().Get(ctx, n.node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var addrs []netip.Addr
	for _, a := range node.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil && (a.Type == corev1.NodeInternalIP || a.Type == corev1.NodeExternalIP) {
			addrs = append(addrs, addr)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs = addrs
	return nil
}

func (n *nodeAddresses) get() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addrs
}
