package driver

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	resourceapply "k8s.io/client-go/applyconfigurations/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

const (
	maxIPs     = 16 // that networkData holds
	maxLeftOut = 32 // of what is left out, by name: data may have 10 KiB
)

// deviceStatus is an entry of status.devices as plain data.
type deviceStatus struct {
	Pool, Device    string
	Ready           bool
	Reason, Message string
	Since           time.Time // when Ready became what it is
	Network         *resourceapi.NetworkDeviceData
	Data            *v1alpha1.NetDeviceStatus
}

func networkData(a allocation.Allocation) *resourceapi.NetworkDeviceData {
	n := &resourceapi.NetworkDeviceData{InterfaceName: a.Attached.Name, HardwareAddress: a.Attached.MAC.String()}
	for _, addr := range a.Attached.Addresses {
		if len(n.IPs) < maxIPs && !addr.Prefix.Addr().IsLinkLocalUnicast() {
			n.IPs = append(n.IPs, addr.Prefix.String())
		}
	}
	slices.Sort(n.IPs)
	n.IPs = slices.Compact(n.IPs)
	return n
}

func data(a allocation.Allocation, counted v1alpha1.Statistics) *v1alpha1.NetDeviceStatus {
	s := &v1alpha1.NetDeviceStatus{
		APIVersion: v1alpha1.GroupVersion, Kind: v1alpha1.StatusKind,
		HostInterface: a.Device.Link.Name, Statistics: counted, SampledAt: time.Now().UTC().Truncate(time.Second), LeftOut: a.LeftOut,
	}
	if more := len(s.LeftOut) - maxLeftOut; more > 0 {
		s.LeftOut = append(slices.Clone(s.LeftOut[:maxLeftOut]), fmt.Sprintf("and %d more", more))
	}
	if a.Attached != nil {
		s.MTU = a.Attached.MTU
	}
	return s
}

// same says whether writing b after a would change anything but the time of
// the sample.
func same(a, b deviceStatus) bool {
	if a.Data != nil && b.Data != nil {
		x, y := *a.Data, *b.Data
		x.SampledAt = y.SampledAt
		a.Data, b.Data = &x, &y
	}
	return reflect.DeepEqual(a, b)
}

// apply returns the entry as the API server wants it.
func (s deviceStatus) apply() *resourceapply.AllocatedDeviceStatusApplyConfiguration {
	ready := metav1.ConditionFalse
	if s.Ready {
		ready = metav1.ConditionTrue
	}
	entry := resourceapply.AllocatedDeviceStatus().WithDriver(inventory.DriverName).WithPool(s.Pool).WithDevice(s.Device).
		WithConditions(metaapply.Condition().WithType(conditionReady).WithStatus(ready).WithReason(s.Reason).WithMessage(s.Message).
			WithLastTransitionTime(metav1.NewTime(s.Since)))
	if n := s.Network; n != nil {
		entry.WithNetworkData(resourceapply.NetworkDeviceData().WithInterfaceName(n.InterfaceName).WithHardwareAddress(n.HardwareAddress).WithIPs(n.IPs...))
	}
	if s.Data != nil {
		if raw, err := json.Marshal(s.Data); err == nil { // plain data: it always is
			entry.WithData(runtime.RawExtension{Raw: raw})
		}
	}
	return entry
}
