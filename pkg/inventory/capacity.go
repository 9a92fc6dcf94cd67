package inventory

import (
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// capacity is one row of the table of capacities. A claim that requests some gets
// a device that has as much, and the whole device.
type capacity struct {
	name resourceapi.QualifiedName
	doc  string
	read func(*Device) *resource.Quantity // nil: it is not known
}

var capacities = []capacity{
	{v1alpha1.CapacityBandwidth, "Speed in bit/s, `25G`; absent if it is not known. It is that of `speedMbps`.",
		func(d *Device) *resource.Quantity {
			if d.Bandwidth == 0 {
				return nil
			}
			return resource.NewQuantity(d.Bandwidth, resource.DecimalSI)
		}},
}

// capacity returns the device's capacities.
func (d *Device) capacity() map[resourceapi.QualifiedName]resourceapi.DeviceCapacity {
	var all map[resourceapi.QualifiedName]resourceapi.DeviceCapacity
	for _, c := range capacities {
		if q := c.read(d); q != nil {
			if all == nil {
				all = map[resourceapi.QualifiedName]resourceapi.DeviceCapacity{}
			}
			all[c.name] = resourceapi.DeviceCapacity{Value: *q}
		}
	}
	return all
}

// bandwidth returns the port's speed in bit/s.
func bandwidth(p *probe) int64 { return int64(portState(p).speed) * 1e6 }
