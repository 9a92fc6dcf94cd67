package driver

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	resourceapply "k8s.io/client-go/applyconfigurations/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

const (
	maxIPs     = 16      // that networkData holds
	maxData    = 9 << 10 // bytes; the API server takes 10 KiB of it, as it encodes it itself
	maxLeftOut = 32      // of what is left out, by name
	maxText    = 128     // bytes of one of those
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

func networkData(a allocation.Record) *resourceapi.NetworkDeviceData {
	n := &resourceapi.NetworkDeviceData{InterfaceName: a.Attached.Name, HardwareAddress: a.Attached.MAC.String()}
	for _, addr := range a.Attached.Addresses {
		ip := addr.Prefix.String()
		canonical := len(validation.IsValidInterfaceAddress(nil, ip)) == 0 // ::ffff:192.0.2.1/120 is not, and one such refuses the claim
		if len(n.IPs) < maxIPs && canonical && !addr.Prefix.Addr().IsLinkLocalUnicast() {
			n.IPs = append(n.IPs, ip)
		}
	}
	slices.Sort(n.IPs)
	n.IPs = slices.Compact(n.IPs)
	return n
}

func data(a allocation.Record, counted v1alpha1.Statistics) *v1alpha1.NetDeviceStatus {
	s := &v1alpha1.NetDeviceStatus{
		APIVersion: v1alpha1.GroupVersion, Kind: v1alpha1.StatusKind,
		HostInterface: a.Device.Link.Name, Statistics: counted, SampledAt: time.Now().UTC().Truncate(time.Second),
	}
	if a.Attached != nil {
		s.MTU = a.Attached.MTU
	}
	for count := min(len(a.Omitted), maxLeftOut); count >= 0; count-- {
		s.Omitted = brief(a.Omitted, count)
		if raw, err := json.Marshal(s); err == nil && len(raw) <= maxData {
			break
		}
	}
	return s
}

// brief returns the first texts, each cut, and how many more there are.
func brief(texts []string, count int) []string {
	var all []string
	for _, text := range texts[:count] {
		all = append(all, ellipsis(text, maxText))
	}
	if more := len(texts) - count; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return all
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
	entry := resourceapply.AllocatedDeviceStatus().WithDriver(v1alpha1.DriverName).WithPool(s.Pool).WithDevice(s.Device).
		WithConditions(metaapply.Condition().WithType(v1alpha1.ConditionReady).WithStatus(ready).WithReason(s.Reason).WithMessage(s.Message).
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

// merge returns the entries that the claim is to have. Of what is new to this
// process only is written what it says: another instance, or an earlier one,
// may have said more since, or of other devices. status.devices may name
// devices only that are allocated to the claim now.
func (w *statusWriter) merge(uid types.UID, want map[string]deviceStatus, now *resourceapi.ResourceClaim) map[string]deviceStatus {
	entries := map[string]deviceStatus{}
	for _, d := range now.Status.Devices {
		if d.Driver == v1alpha1.DriverName {
			entries[d.Pool+"/"+d.Device] = entryOf(d)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, s := range want {
		if s.Ready && !w.attachedNow(string(uid), s.Device) {
			continue // it has ended since, whoever ended it
		}
		c := w.claims[uid]
		news := c == nil || !same(c.written[key], s)
		if _, there := entries[key]; news || !there {
			entries[key] = s
		}
	}
	allocated := map[string]bool{}
	if a := now.Status.Allocation; a != nil {
		for _, r := range a.Devices.Results {
			allocated[r.Pool+"/"+r.Device] = r.Driver == v1alpha1.DriverName
		}
	}
	maps.DeleteFunc(entries, func(key string, _ deviceStatus) bool { return !allocated[key] })
	return entries
}

// entryOf is the entry of ours that the API server has.
func entryOf(d resourceapi.AllocatedDeviceStatus) deviceStatus {
	s := deviceStatus{Pool: d.Pool, Device: d.Device, Network: d.NetworkData}
	for _, c := range d.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			s.Ready, s.Reason, s.Message, s.Since = c.Status == metav1.ConditionTrue, c.Reason, c.Message, c.LastTransitionTime.UTC()
		}
	}
	if d.Data != nil {
		var data v1alpha1.NetDeviceStatus
		if json.Unmarshal(d.Data.Raw, &data) == nil {
			s.Data = &data
		}
	}
	return s
}

// ellipsis returns s in at most max bytes of UTF-8, which end with "…" when it
// was longer.
func ellipsis(s string, max int) string {
	if s = strings.ToValidUTF8(s, "\ufffd"); len(s) <= max {
		return s
	}
	return cut(s, max-len("…")) + "…"
}

// cut returns the first bytes of s, at most max, and no part of a rune. What is
// not UTF-8 is replaced before: JSON would make three bytes of one afterwards.
func cut(s string, max int) string {
	if s = strings.ToValidUTF8(s, "\ufffd"); len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}
