package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// plugin is the driver as the kubelet sees it.
type plugin struct {
	*Driver
	fatal chan<- error
}

// PrepareResourceClaims implements kubeletplugin.DRAPlugin.
func (d *plugin) PrepareResourceClaims(ctx context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	results := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		devices, err := d.prepare(ctx, claim)
		if err != nil {
			if len(d.store.OfClaim(string(claim.UID))) == 0 { // else the book knows better how its links are
				d.status.failed(claimRef(claim), ourResults(claim, d.cfg.NodeName), v1alpha1.ReasonPrepareFailed, err)
			}
			err = fmt.Errorf("prepare claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
		results[claim.UID] = kubeletplugin.PrepareResult{Devices: devices, Err: err}
	}
	return results, nil
}

// UnprepareResourceClaims implements kubeletplugin.DRAPlugin.
func (d *plugin) UnprepareResourceClaims(ctx context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, claim := range claims {
		results[claim.UID] = d.unprepare(ctx, string(claim.UID))
	}
	return results, nil
}

// HandleError implements kubeletplugin.DRAPlugin.
func (d *plugin) HandleError(ctx context.Context, err error, msg string) {
	klog.FromContext(ctx).Error(err, msg)
	if !errors.Is(err, kubeletplugin.ErrRecoverable) {
		select {
		case d.fatal <- fmt.Errorf("%s: %w", msg, err):
		default:
		}
	}
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

// prepare enters the claim into the book. A claim that is there keeps what the
// book says of its links.
func (d *Driver) prepare(ctx context.Context, claim *resourceapi.ResourceClaim) ([]kubeletplugin.Device, error) {
	if !d.connected.Load() {
		return nil, errors.New("the container runtime does not call the driver's NRI hooks: enable NRI, or see whether the runtime is up")
	}
	select {
	case <-d.nodes.known:
	default:
		return nil, fmt.Errorf("the addresses of node %s are not known yet, by which its own link is told from others", d.cfg.NodeName)
	}
	pods, err := podsOf(claim)
	if err != nil {
		return nil, err
	}
	links, err := netdev.Links(ctx)
	if err != nil {
		return nil, err
	}
	live := inventory.Scan(links, d.cfg.Sys, d.scanOptions())
	unlock, err := d.store.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	live = withhold(live, d.store.All())
	var all []allocation.Record
	var devices []kubeletplugin.Device
	for _, result := range ourResults(claim, d.cfg.NodeName) {
		device := kubeletplugin.Device{Requests: []string{result.Request}, PoolName: result.Pool, DeviceName: result.Device, ShareID: result.ShareID}
		if result.AdminAccess == nil || !*result.AdminAccess { // admin access watches a device and never moves it
			a, err := d.allocate(ctx, claim, result, pods, live)
			if err != nil {
				return nil, fmt.Errorf("device %s: %w", result.Device, err)
			}
			all = append(all, a)
			device.CDIDeviceIDs = []string{cdiID(a)}
		}
		devices = append(devices, device)
	}
	if err := d.checkNames(all); err != nil {
		return nil, err
	}
	for _, a := range all {
		if err := d.store.Put(a); err != nil {
			return nil, err
		}
	}
	return devices, d.writeCDI(string(claim.UID), all)
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

// allocate returns the book's allocation for a result, or a new one that was
// tried against the link as it is now.
func (d *Driver) allocate(ctx context.Context, claim *resourceapi.ResourceClaim, result resourceapi.DeviceRequestAllocationResult, pods []allocation.Ref, live []inventory.Device) (allocation.Record, error) {
	var none allocation.Record
	if held := d.store.Find(func(a allocation.Record) bool { return a.Device.Name == result.Device }); len(held) > 0 {
		switch a := held[0]; {
		case a.Claim.UID == string(claim.UID):
			a.Pods, a.Released = pods, false
			return a, nil
		case a.Released:
			return none, fmt.Errorf("its link is not yet home as it was (after %s)", holder(ctx, claim, a))
		default:
			return none, fmt.Errorf("is held by %s", holder(ctx, claim, a))
		}
	}
	i := slices.IndexFunc(live, func(dev inventory.Device) bool { return dev.Name == result.Device })
	if i < 0 {
		return none, errors.New("is not on this node (any more)")
	}
	if live[i].Skipped != "" {
		return none, fmt.Errorf("link %s is not offered (any more): %s", live[i].Link.Name, live[i].Skipped)
	}
	config, err := v1alpha1.Decode(parameters(claim, result)...)
	if err != nil {
		return none, err
	}
	a := allocation.Record{
		Claim: claimRef(claim), Pods: pods, Request: result.Request, Pool: result.Pool, Device: live[i], Config: config,
		ID: netdev.Identify(live[i].Link, tag(string(claim.UID), result.Device)),
	}
	return a, try(ctx, a)
}

// tag is the altname by which a link is known while it is out. It fits the 127
// bytes of an altname: a claim's UID has 36, a device's name 63 at most.
func tag(claimUID, device string) string { return "dra-netdev-" + claimUID + "-" + device }

// try says whether the link can be as the claim wants it.
func try(ctx context.Context, a allocation.Record) error {
	host, err := netdev.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	before, link, err := netdev.Read(ctx, host, a.ID)
	if err != nil {
		return err
	}
	_, _, err = netdev.Desired(link, before, a.Config)
	return err
}

// checkNames refuses two links of one pod with one name.
func (d *Driver) checkNames(all []allocation.Record) error {
	for i, a := range all {
		others := slices.Clone(all[:i])
		for _, pod := range a.Pods {
			others = append(others, d.store.OfPod(pod.UID)...)
		}
		for _, o := range others {
			if o.Interface() == a.Interface() && (o.Device.Name != a.Device.Name || o.Claim.UID != a.Claim.UID) {
				return fmt.Errorf("interface.name: %q: device %s of claim %s/%s has this name in the same pod", a.Interface(), o.Device.Name, o.Claim.Namespace, o.Claim.Name)
			}
		}
	}
	return nil
}

// unprepare brings the claim's links home and takes it out of the book. A claim
// that is not there is success, and one whose link is in a pod that still runs
// an error. A link that is home under a wrong name stays in
// the book, and unoffered, until it has its own.
func (d *Driver) unprepare(ctx context.Context, claimUID string) error {
	all := d.store.OfClaim(claimUID)
	if err := inUse(all); err != nil {
		return err
	}
	unlock, err := d.lockToDetach(ctx, all)
	if err != nil {
		return err
	}
	defer unlock()
	if err := inUse(d.store.OfClaim(claimUID)); err != nil { // a hook had its turn meanwhile
		return err
	}
	d.detach(ctx, d.store.OfClaim(claimUID), "")
	var errs []error
	for _, a := range d.store.OfClaim(claimUID) { // as detach left them
		if a.Original != nil {
			a.Released = true
			errs = append(errs, d.store.Put(a))
			continue
		}
		errs = append(errs, d.store.Release(a))
	}
	errs = append(errs, removeCDI(d.cfg.CDIDir, claimUID))
	d.status.end(claimUID)
	d.attempts.forget(claimUID)
	if len(d.store.OfClaim(claimUID)) == 0 {
		d.events.forget(claimUID)
	}
	d.republishSoon(context.WithoutCancel(ctx))
	return errors.Join(errs...)
}
