package inventory

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Device is a link as Kubernetes may see it. It is plain data and keeps its
// meaning through JSON: the book of allocations stores it.
type Device struct {
	Name       string                                                    `json:"name"` // DNS label, as long as the hardware stays in its slot
	Link       netdev.Link                                               `json:"link"`
	Attributes map[resourceapi.QualifiedName]resourceapi.DeviceAttribute `json:"attributes"`
	Skipped    string                                                    `json:"skipped,omitempty"` // why it is not offered; empty: it is
}

// Devices returns what goes into ResourceSlices: the offered devices, in the
// order given. The attribute maps are shared with devs.
func Devices(devs []Device) []resourceapi.Device {
	out := make([]resourceapi.Device, 0, len(devs))
	for _, d := range devs {
		if d.Skipped == "" {
			out = append(out, resourceapi.Device{Name: d.Name, Attributes: d.Attributes})
		}
	}
	return out
}

// Merge returns live devices together with held ones: those that the book of
// allocations says are promised to pods, which a scan cannot see while they
// are there. A held device is offered as it was recorded, so that a pod that
// starts or stops changes no slice, and it hides a live device of its name.
func Merge(live, held []Device) []Device {
	out := make([]Device, 0, len(live)+len(held))
	taken := make(map[string]bool, len(held))
	for _, d := range held {
		if !taken[d.Name] {
			taken[d.Name] = true
			d.Skipped = ""
			out = append(out, d)
		}
	}
	for _, d := range live {
		if !taken[d.Name] {
			out = append(out, d)
		}
	}
	sortDevices(out)
	return out
}

func sortDevices(devs []Device) {
	slices.SortFunc(devs, func(a, b Device) int { return strings.Compare(a.Name, b.Name) })
}

// same says whether two scans show the same devices. Counters always move and
// are no difference; anything else of a link is, since who acts on a device
// acts on its link.
func same(a, b []Device) bool {
	return slices.EqualFunc(a, b, func(a, b Device) bool {
		if !maps.EqualFunc(a.Attributes, b.Attributes, sameValue) {
			return false
		}
		a.Attributes, b.Attributes = nil, nil
		a.Link.Statistics, b.Link.Statistics = v1alpha1.Statistics{}, v1alpha1.Statistics{}
		return reflect.DeepEqual(a, b)
	})
}

// sameValue is reflect.DeepEqual for attributes, of which each has one value,
// without its cost: of a thousand links there are 16,000.
func sameValue(a, b resourceapi.DeviceAttribute) bool {
	switch {
	case a.StringValue != nil && b.StringValue != nil:
		return *a.StringValue == *b.StringValue
	case a.IntValue != nil && b.IntValue != nil:
		return *a.IntValue == *b.IntValue
	case a.BoolValue != nil && b.BoolValue != nil:
		return *a.BoolValue == *b.BoolValue
	}
	return reflect.DeepEqual(a, b)
}
