package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/api/metadata"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// plugin answers the kubelet.
type plugin struct {
	node   string
	store  *allocation.Store
	engine *attachment.Engine
	specs  specs
	files  metadataFiles
	fatal  chan<- error

	ready  func() error                                                             // why no claim can be prepared
	device func(ctx context.Context, name string) (inventory.Device, error)         // as it is on the host
	failed func(allocation.Ref, []resourceapi.DeviceRequestAllocationResult, error) // reports that a claim cannot be prepared
}

// PrepareResourceClaims implements kubeletplugin.DRAPlugin.
func (p *plugin) PrepareResourceClaims(ctx context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	results := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		devices, err := p.prepare(ctx, claim)
		if err != nil {
			if len(p.store.OfClaim(string(claim.UID))) == 0 { // else the records know better what its devices are like
				p.failed(claimRef(claim), ourResults(claim, p.node), err)
			}
			err = fmt.Errorf("prepare claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
		results[claim.UID] = kubeletplugin.PrepareResult{Devices: devices, Err: err}
	}
	return results, nil
}

// UnprepareResourceClaims implements kubeletplugin.DRAPlugin.
func (p *plugin) UnprepareResourceClaims(ctx context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, claim := range claims {
		uid := string(claim.UID)
		err := p.engine.Release(ctx, uid)
		if err == nil {
			err = p.specs.remove(uid)
		}
		results[claim.UID] = err
	}
	return results, nil
}

// HandleError implements kubeletplugin.DRAPlugin.
func (p *plugin) HandleError(ctx context.Context, err error, msg string) {
	klog.FromContext(ctx).Error(err, msg)
	if !errors.Is(err, kubeletplugin.ErrRecoverable) {
		select {
		case p.fatal <- fmt.Errorf("%s: %w", msg, err):
		default:
		}
	}
}

// WatchHealthStatus implements kubeletplugin.DRAPlugin: it reports the devices
// that are in pods, now and again after each look at them, until ctx ends.
func (p *plugin) WatchHealthStatus(ctx context.Context, reports chan<- kubeletplugin.DeviceHealthReport) error {
	every(ctx, observeEvery, func(ctx context.Context) {
		select {
		case reports <- p.health():
		case <-ctx.Done():
		}
	})
	return nil
}

// health returns the health of the devices in pods, as they were seen last.
func (p *plugin) health() kubeletplugin.DeviceHealthReport {
	var report kubeletplugin.DeviceHealthReport
	for _, r := range p.store.Find(func(r allocation.Record) bool { return r.Attached() }) {
		h := kubeletplugin.DeviceHealth{
			PoolName: r.Pool, DeviceName: r.Device.Name, Health: kubeletplugin.HealthStatusHealthy,
			LastUpdated: time.Now(), HealthCheckTimeout: 3 * observeEvery,
		}
		seen, ok := p.engine.Latest(r)
		switch {
		case !ok: // it was read back in the pod just now
		case seen.Err != nil:
			h.Health, h.Message = kubeletplugin.HealthStatusUnhealthy, seen.Err.Error()
		case r.Device.HasLink() && !seen.Link.Carrier:
			h.Health, h.Message = kubeletplugin.HealthStatusUnhealthy, fmt.Sprintf("interface %s has no carrier", seen.Link.Name)
		}
		if ok {
			h.LastUpdated = seen.Time
		}
		report.Devices = append(report.Devices, h)
	}
	return report
}

// prepare records the claim's devices. A claim that is recorded keeps what its
// records say of its interfaces.
func (p *plugin) prepare(ctx context.Context, claim *resourceapi.ResourceClaim) ([]kubeletplugin.Device, error) {
	if err := p.ready(); err != nil {
		return nil, err
	}
	pods, err := podsOf(claim)
	if err != nil {
		return nil, err
	}
	var all []allocation.Record
	var devices []kubeletplugin.Device
	var watched []resourceapi.DeviceRequestAllocationResult
	links := sync.OnceValues(func() ([]netdev.Link, error) { return netdev.Links(ctx) })
	for _, result := range ourResults(claim, p.node) {
		device := kubeletplugin.Device{Requests: []string{result.Request}, PoolName: result.Pool, DeviceName: result.Device, ShareID: result.ShareID}
		if result.AdminAccess == nil || !*result.AdminAccess { // admin access watches a device and never moves it
			r, err := p.record(ctx, claim, result, links)
			if err != nil {
				return nil, fmt.Errorf("device %s: %w", result.Device, err)
			}
			r.Pods = pods
			all = append(all, r)
			device.CDIDeviceIDs = []string{cdiID(r.Key())}
		} else {
			watched = append(watched, result)
		}
		devices = append(devices, device)
	}
	if err := p.engine.Prepare(ctx, all); err != nil {
		return nil, err
	}
	if err := p.files.prepare(claim, all, p.watched(ctx, watched)); err != nil {
		return nil, err
	}
	return devices, p.specs.write(string(claim.UID), all)
}

// watched returns the devices of a claim with admin access by request, with what
// is known of each.
func (p *plugin) watched(ctx context.Context, results []resourceapi.DeviceRequestAllocationResult) (requests []metadata.DeviceMetadataRequest) {
	for _, result := range results {
		d := metadata.Device{Driver: result.Driver, Pool: result.Pool, Name: result.Device}
		if device, err := p.device(ctx, result.Device); err == nil {
			d.Attributes = device.Attributes
		} else if held := p.store.Find(func(r allocation.Record) bool { return r.Device.Name == result.Device }); len(held) > 0 {
			d.Attributes = held[0].Device.Attributes // it is in a pod
		}
		i := slices.IndexFunc(requests, func(r metadata.DeviceMetadataRequest) bool { return r.Name == result.Request })
		if i < 0 {
			i, requests = len(requests), append(requests, metadata.DeviceMetadataRequest{Name: result.Request})
		}
		requests[i].Devices = append(requests[i].Devices, d)
	}
	return requests
}

// record returns the record of a result: the one there is, or a new one.
func (p *plugin) record(ctx context.Context, claim *resourceapi.ResourceClaim, result resourceapi.DeviceRequestAllocationResult, links linkLister) (none allocation.Record, err error) {
	if held := p.store.Find(func(r allocation.Record) bool { return r.Device.Name == result.Device }); len(held) > 0 {
		switch r := held[0]; {
		case r.Claim.UID == string(claim.UID):
			return r, nil
		case r.Released:
			return none, fmt.Errorf("not restored yet (after %s)", holder(ctx, claim, r))
		default:
			return none, fmt.Errorf("held by %s", holder(ctx, claim, r))
		}
	}
	device, err := p.device(ctx, result.Device)
	if err != nil {
		return none, err
	}
	config, err := v1alpha1.Decode(parameters(claim, result)...)
	if err == nil {
		err = checkName(claim.Spec.Devices.Requests, result.Request, config)
	}
	if err != nil {
		return none, err
	}
	identity, err := p.identify(claim, result, device.Link, links)
	if err != nil {
		return none, err
	}
	return allocation.Record{Claim: claimRef(claim), Identity: identity, PodClaim: claim.Annotations[resourceapi.PodResourceClaimAnnotation], Request: result.Request, Pool: result.Pool, Device: device, Config: config}, nil
}

// podsOf returns the pods that the claim is reserved for.
func podsOf(claim *resourceapi.ResourceClaim) ([]allocation.Ref, error) {
	var pods []allocation.Ref
	for _, r := range claim.Status.ReservedFor {
		if r.APIGroup != "" || r.Resource != "pods" {
			return nil, fmt.Errorf("status.reservedFor: %q: only pods can use a network device, not %s", r.Name, r.Resource)
		}
		pods = append(pods, allocation.Ref{Namespace: claim.Namespace, Name: r.Name, UID: string(r.UID)})
	}
	return pods, nil
}

func claimRef(c *resourceapi.ResourceClaim) allocation.Ref {
	return allocation.Ref{Namespace: c.Namespace, Name: c.Name, UID: string(c.UID)}
}

// ourResults returns the devices of the claim that are this node's to give.
func ourResults(c *resourceapi.ResourceClaim, node string) []resourceapi.DeviceRequestAllocationResult {
	if c.Status.Allocation == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(c.Status.Allocation.Devices.Results), func(r resourceapi.DeviceRequestAllocationResult) bool {
		return r.Driver != v1alpha1.DriverName || r.Pool != node
	})
}
