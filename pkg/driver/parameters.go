package driver

import (
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/resourceclaim"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// parameters returns those of ours that are for the result, in order of rising
// precedence. All that is not said to be a class's is taken for the claim's.
func parameters(claim *resourceapi.ResourceClaim, result resourceapi.DeviceRequestAllocationResult) []v1alpha1.Parameters {
	var all []v1alpha1.Parameters
	for _, c := range resourceclaim.ConfigForResult(claim.Status.Allocation.Devices.Config, result) {
		if c.Opaque.Driver != inventory.DriverName {
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
