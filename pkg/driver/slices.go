package driver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/klog/v2"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// republishDelay is how long a device that was just restored may take to be
// seen on the host: without it the device would leave its slice and come back.
const republishDelay = 1500 * time.Millisecond

// publisher publishes the node's devices as ResourceSlices: what the last scan
// found, together with what is in pods. It is safe for use by several
// goroutines.
type publisher struct {
	client kubernetes.Interface
	node   string
	store  *allocation.Store
	added  func(context.Context, []inventory.Device) []inventory.Device // devices with the attributes that the administrator adds
	helper atomic.Pointer[kubeletplugin.Helper]
	done   atomic.Bool // there has been a first publication

	mu     sync.Mutex             // guards what follows, and the order of publications
	live   []inventory.Device     // as last scanned
	placed [][]resourceapi.Device // by slice, as last published; nil before
}

func newPublisher(client kubernetes.Interface, node string, store *allocation.Store, added func(context.Context, []inventory.Device) []inventory.Device) *publisher {
	return &publisher{client: client, node: node, store: store, added: added}
}

// start makes the publisher publish, through helper.
func (p *publisher) start(_ context.Context, helper *kubeletplugin.Helper) { p.helper.Store(helper) }

// publish offers what a scan found, together with what is in pods.
func (p *publisher) publish(ctx context.Context, live []inventory.Device) {
	logger := klog.FromContext(ctx)
	for _, dev := range live {
		if dev.Skipped != "" {
			logger.V(4).Info("Skipped interface", "interface", dev.Link.Name, "device", dev.Name, "reason", dev.Skipped)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = live
	devices := inventory.Devices(p.added(ctx, withHeld(live, p.store.All())))
	if p.placed == nil {
		var err error
		if p.placed, err = p.published(ctx); err != nil { // costs a write of all slices at most
			logger.Error(err, "Failed to read which device is in which slice")
		}
	}
	p.placed = place(p.placed, devices)
	if err := p.helper.Load().PublishResources(ctx, resources(p.node, p.placed)); err != nil {
		logger.Error(err, "Failed to publish devices")
		return
	}
	p.done.Store(true)
	logger.V(2).Info("Published devices", "count", len(devices))
}

// republish offers again what was offered last, after records have changed or
// the kubelet may have removed our slices. What has not changed costs no call.
func (p *publisher) republish(ctx context.Context) {
	p.mu.Lock()
	live := p.live
	p.mu.Unlock()
	if live != nil && p.helper.Load() != nil {
		p.publish(ctx, live)
	}
}

// republishSoon is republish after republishDelay.
func (p *publisher) republishSoon(ctx context.Context) {
	time.AfterFunc(republishDelay, func() {
		if ctx.Err() == nil {
			p.republish(ctx)
		}
	})
}

// changed publishes again when a record's change makes a device come or go.
func (p *publisher) changed(ctx context.Context, c attachment.Change) {
	restored := c.Before.Attachment != nil && c.After.Attachment == nil
	allocated := c.Before.Claim.UID == "" && c.After.Device.PF != "" // which withdraws others
	if c.Removed || restored || allocated || c.Before.Offered() != c.After.Offered() {
		p.republishSoon(ctx)
	}
}

// scanned returns the devices as the last scan found them.
func (p *publisher) scanned() []inventory.Device {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live
}

func findDevice(devices []inventory.Device, name string) (inventory.Device, bool) {
	i := slices.IndexFunc(devices, func(dev inventory.Device) bool { return dev.Name == name })
	if i < 0 {
		return inventory.Device{}, false
	}
	return devices[i], true
}

// onRegistration publishes again when the kubelet has registered us: at its
// start it removes the slices of its node.
func (p *publisher) onRegistration(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	out, err := handler(ctx, req)
	if info.FullMethod == registerapi.Registration_NotifyRegistrationStatus_FullMethodName {
		p.republishSoon(context.WithoutCancel(ctx))
	}
	return out, err
}

// withHeld returns what a scan found together with what is in pods, as it is
// offered.
func withHeld(live []inventory.Device, records []allocation.Record) []inventory.Device {
	return inventory.Merge(exclude(live, records), devicesOf(records, allocation.Record.Offered))
}

// devicesOf returns the devices of those records for which keep is true.
func devicesOf(records []allocation.Record, keep func(allocation.Record) bool) []inventory.Device {
	devices := make([]inventory.Device, 0, len(records))
	for _, r := range records {
		if keep(r) {
			devices = append(devices, r.Device)
		}
	}
	return devices
}

func anyRecord(allocation.Record) bool { return true }

// exclude returns the devices with a reason not to offer those whose links are
// on the host but not as they were, under whatever name, or came back by
// themselves, and those that control, or are controlled by, one with a record.
func exclude(live []inventory.Device, records []allocation.Record) []inventory.Device {
	live = slices.Clone(live)
	for _, r := range records {
		for i, dev := range live {
			if why := dev.ControlledWith(r.Device); why != "" && dev.Skipped == "" {
				live[i].Skipped = why
			}
		}
		if r.Offered() {
			continue
		}
		for i, dev := range live {
			if dev.Skipped == "" && (dev.Name == r.Device.Name || slices.Contains(dev.Link.AltNames, r.Key().Tag())) {
				live[i].Skipped = fmt.Sprintf("not fully restored since claim %s", r.Claim)
			}
		}
	}
	return live
}
