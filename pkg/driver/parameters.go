package driver

import (
	"context"
	"fmt"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/resourceclaim"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// parameters returns those of ours that are for the result, in order of rising
// precedence. All that is not said to be a class's is taken for the claim's.
func parameters(claim *resourceapi.ResourceClaim, result resourceapi.DeviceRequestAllocationResult) []v1alpha1.Parameters {
	var all []v1alpha1.Parameters
	for _, c := range resourceclaim.ConfigForResult(claim.Status.Allocation.Devices.Config, result) {
		if c.Opaque.Driver != v1alpha1.DriverName {
			continue
		}
		p := v1alpha1.Parameters{Raw: c.Opaque.Parameters.Raw}
		if c.Source == resourceapi.AllocationConfigSourceClass {
			p.Class = classOf(claim.Spec.Devices.Requests, result.Request)
		}
		all = append(all, p)
	}
	return all
}

// holder names the claim that holds a device to the user of another claim that
// wants it. The claims of other namespaces are not theirs to know: those are
// in the log.
func holder(ctx context.Context, wants *resourceapi.ResourceClaim, has allocation.Record) string {
	klog.FromContext(ctx).Info("Refused a device that another claim holds", "device", has.Device.Name, "claim", klog.KObj(wants), "holder", klog.KRef(has.Claim.Namespace, has.Claim.Name), "holderUID", has.Claim.UID)
	switch {
	case has.Claim.Namespace != wants.Namespace:
		return "a claim of another namespace"
	case has.Claim.Name == wants.Name:
		return "an earlier claim of the same name"
	}
	return fmt.Sprintf("claim %s/%s", has.Claim.Namespace, has.Claim.Name)
}

// checkName returns an error if the config has a name that one interface only can
// have, and the request asks for several devices.
func checkName(requests []resourceapi.DeviceRequest, request string, c nic.Config) error {
	name := c.Interface.Name
	if name == "" || nic.IsTemplate(name) {
		return nil
	}
	d, _ := demandOf(requests, request)
	const format = "interface.name: %q: request %s %s, and each needs its own name: write a template such as net%%d"
	switch {
	case d.mode == resourceapi.DeviceAllocationModeAll:
		return fmt.Errorf(format, name, request, "is for all devices that match")
	case d.count > 1:
		return fmt.Errorf(format, name, request, fmt.Sprintf("is for %d devices", d.count))
	}
	return nil
}

// classOf returns the name of the class of a request, NAME or NAME/SUBREQUEST.
func classOf(requests []resourceapi.DeviceRequest, name string) string {
	if d, ok := demandOf(requests, name); ok {
		return d.class
	}
	return "of request " + name // a claim whose allocation is of another request than its own
}

// demand is what a request or a subrequest asks for.
type demand struct {
	class string
	mode  resourceapi.DeviceAllocationMode
	count int64
}

// demandOf returns what the request asks for that is named NAME or
// NAME/SUBREQUEST.
func demandOf(requests []resourceapi.DeviceRequest, name string) (demand, bool) {
	for _, r := range requests {
		if r.Name == name && r.Exactly != nil {
			return demand{r.Exactly.DeviceClassName, r.Exactly.AllocationMode, r.Exactly.Count}, true
		}
		for _, sub := range r.FirstAvailable {
			if r.Name+"/"+sub.Name == name {
				return demand{sub.DeviceClassName, sub.AllocationMode, sub.Count}, true
			}
		}
	}
	return demand{}, false
}
