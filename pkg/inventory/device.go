package inventory

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Device is a link as Kubernetes sees it, or a PCI function without a link. It is
// plain data that survives JSON unchanged: allocation records contain it.
type Device struct {
	Name       string                                                    `json:"name"`              // DNS label; the same as long as the hardware stays in its slot
	Link       netdev.Link                                               `json:"link"`              // zero for a device without an interface
	Function   Function                                                  `json:"function,omitzero"` // of a device without an interface
	Attributes map[resourceapi.QualifiedName]resourceapi.DeviceAttribute `json:"attributes"`
	Skipped    string                                                    `json:"skipped,omitempty"`   // why it is not offered; empty if it is
	Included   string                                                    `json:"included,omitempty"`  // why it would not be without Options.Include
	RDMA       string                                                    `json:"rdma,omitempty"`      // its RDMA device, "mlx5_0"; empty for none
	Nodes      []string                                                  `json:"nodes,omitempty"`     // device nodes of the host that containers which list the claim get, "/dev/infiniband/uverbs0"
	Bandwidth  int64                                                     `json:"bandwidth,omitempty"` // bit/s; 0 if it is not known
	Added      []resourceapi.QualifiedName                               `json:"added,omitempty"`     // which attributes come from Additions
	PF         string                                                    `json:"pf,omitempty"`        // of a virtual function the address of its physical one; of one that can have virtual ones its own
}

// Devices returns the offered devices in the form that ResourceSlices need, in
// the order given. The attribute maps are shared with devs.
func Devices(devs []Device) []resourceapi.Device {
	out := make([]resourceapi.Device, 0, len(devs))
	for _, d := range devs {
		if d.Skipped == "" {
			out = append(out, resourceapi.Device{Name: d.Name, Attributes: d.Attributes, Capacity: d.capacity()})
		}
	}
	return out
}

// Merge returns live devices, found by a scan, together with held ones, which
// have an allocation record: a scan of the host does not find those while they
// are in a pod. A held device is offered as it was recorded, so that no slice
// changes when a pod starts or stops, and it replaces a live device of the same
// name.
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

// same reports whether two scans found the same devices. Changed counters are no
// difference. Any other change of a link is one, because the driver acts on the
// links of the devices last published.
func same(a, b []Device) bool {
	return slices.EqualFunc(a, b, func(a, b Device) bool {
		if !maps.EqualFunc(a.Attributes, b.Attributes, sameValue) {
			return false
		}
		a.Attributes, b.Attributes = nil, nil
		a.Link.Statistics, b.Link.Statistics = nic.Statistics{}, nic.Statistics{}
		return reflect.DeepEqual(a, b)
	})
}

// sameValue reports whether two attributes, which have one value each, are equal.
// It is much cheaper than reflect.DeepEqual: 1,000 links have 16,000 attributes.
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
