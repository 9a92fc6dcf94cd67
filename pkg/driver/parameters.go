package driver

import (
	"context"
	"fmt"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/resourceclaim"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
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

// classOf returns the name of the class of a request, NAME or NAME/SUBREQUEST.
func classOf(requests []resourceapi.DeviceRequest, name string) string {
	for _, r := range requests {
		if r.Name == name && r.Exactly != nil {
			return r.Exactly.DeviceClassName
		}
		for _, sub := range r.FirstAvailable {
			if r.Name+"/"+sub.Name == name {
				return sub.DeviceClassName
			}
		}
	}
	return "of request " + name // a claim whose allocation is of another request than its own
}
