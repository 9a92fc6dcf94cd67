package driver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

const (
	// sliceSize is the API's limit for devices with taints; with fewer
	// devices than that in each slice a taint never makes one invalid.
	sliceSize = 64
	// sparse is how many times the devices must fit into the slices there are
	// before they are put together anew. To drop a slice is to write them all.
	sparse      = 4
	listTimeout = 10 * time.Second
)

// place returns the slices of the pool: devices, which are sorted, each in the
// slice where it was before. A device that comes or goes changes one slice:
// with no more than that the helper library writes one, otherwise all of them.
// Without devices there is one empty slice: the driver is there.
func place(before [][]resourceapi.Device, devices []resourceapi.Device) [][]resourceapi.Device {
	if len(devices)*sparse <= len(before)*sliceSize || len(before) == 0 {
		before = make([][]resourceapi.Device, 1)
	}
	was := map[string]int{}
	for i, slice := range before {
		for _, dev := range slice {
			was[dev.Name] = i
		}
	}
	after := make([][]resourceapi.Device, len(before))
	var more []resourceapi.Device
	for _, dev := range devices {
		if i, found := was[dev.Name]; found && len(after[i]) < sliceSize {
			after[i] = append(after[i], dev)
		} else {
			more = append(more, dev)
		}
	}
	for _, i := range byRoom(before, after, len(more)) {
		n := min(sliceSize-len(after[i]), len(more))
		after[i], more = append(after[i], more[:n]...), more[n:]
		slices.SortFunc(after[i], func(a, b resourceapi.Device) int { return strings.Compare(a.Name, b.Name) })
	}
	return slices.AppendSeq(after, slices.Chunk(more, sliceSize))
}

// byRoom returns the slices with free places in the order in which to fill them
// with more devices: those that are written anyway, and then the emptiest.
func byRoom(before, after [][]resourceapi.Device, more int) []int {
	if more == 0 {
		return nil
	}
	var order []int
	changed := map[int]int{}
	for i := range after {
		if len(after[i]) < sliceSize {
			order = append(order, i)
		}
		if !resourceslice.DevicesDeepEqual(before[i], after[i]) {
			changed[i] = 1
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(changed[b], changed[a]), cmp.Compare(len(after[a]), len(after[b])))
	})
	return order
}

// resources is what the helper library publishes for these slices.
func resources(node string, placed [][]resourceapi.Device) resourceslice.DriverResources {
	pool := resourceslice.Pool{}
	for _, devices := range placed {
		pool.Slices = append(pool.Slices, resourceslice.Slice{Devices: devices})
	}
	return resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{node: pool}}
}

// published returns the node's slices as the API server has them, so that a new
// process leaves each device where the one before it has put it.
func (p *publisher) published(ctx context.Context) ([][]resourceapi.Device, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	list, err := p.client.ResourceV1().ResourceSlices().List(ctx, metav1.ListOptions{
		FieldSelector: resourceapi.ResourceSliceSelectorNodeName + "=" + p.node + "," + resourceapi.ResourceSliceSelectorDriver + "=" + v1alpha1.DriverName,
	})
	if err != nil {
		return nil, fmt.Errorf("list the node's ResourceSlices: %w", err)
	}
	return bySlice(list.Items), nil
}

// bySlice returns the devices of each slice at the index that is in its name:
// 0000f-net.example.com-node-x7x2p. A slice of another name is passed over.
func bySlice(items []resourceapi.ResourceSlice) [][]resourceapi.Device {
	placed := make([][]resourceapi.Device, len(items))
	for _, slice := range items {
		prefix, _, _ := strings.Cut(slice.Name, "-")
		if i, err := strconv.ParseUint(prefix, 16, 32); err == nil && i < uint64(len(items)) {
			placed[i] = append(placed[i], slice.Spec.Devices...)
		}
	}
	return placed
}
