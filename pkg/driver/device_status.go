package driver

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	resourceapply "k8s.io/client-go/applyconfigurations/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	maxIPs     = 16      // that networkData holds
	maxData    = 9 << 10 // bytes; the API server takes 10 KiB of it, as it encodes it itself
	maxOmitted = 32      // of what is omitted, by name
	maxText    = 128     // bytes of one of those
	maxMessage = 32768   // bytes of a condition's message
)

// deviceStatus is an entry of status.devices as plain data.
type deviceStatus struct {
	Pool, Device    string
	Ready           bool
	Reason, Message string
	Since           time.Time // when Ready became what it is
	Network         *resourceapi.NetworkDeviceData
	Data            *v1alpha1.NetDeviceStatus
	unseen          bool // the counters are those of the attach: this process has not looked since
}

func networkData(inPod netdev.State) *resourceapi.NetworkDeviceData {
	n := &resourceapi.NetworkDeviceData{InterfaceName: inPod.Name, HardwareAddress: inPod.MAC.String()}
	for _, addr := range inPod.Addresses {
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

// data returns a record's counters as they were at a time, with what belongs
// to them; rdma are those of its RDMA port, cumulative.
func data(r allocation.Record, counted nic.Statistics, rdma map[string]uint64, at time.Time) *v1alpha1.NetDeviceStatus {
	s := &v1alpha1.NetDeviceStatus{
		APIVersion: v1alpha1.GroupVersion, Kind: v1alpha1.StatusKind,
		HostInterface: r.Device.Link.Name, Identity: recordedIdentity(r), Statistics: counted, SampledAt: at.UTC().Truncate(time.Second),
	}
	if !r.Attached() {
		return s
	}
	s.MTU, s.Leases, s.RDMA = withLeases(r).MTU, leasesOf(r), rdmaStatus(r, rdma)
	omitted := r.Attachment.Omitted
	for count := min(len(omitted), maxOmitted); count >= 0; count-- {
		s.Omitted = brief(omitted, count)
		if raw, err := json.Marshal(s); err == nil && len(raw) <= maxData {
			break
		}
		if count == 0 && s.RDMA != nil { // there are many leases
			s.RDMA.Counters = nil
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

// same reports whether writing b after a would change nothing but the time of
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
	if s.Data != nil && s.Data.RDMA != nil {
		entry.WithConditions(rdmaCondition(*s.Data.RDMA, s.Since))
	}
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

// entriesOf returns our entries of a claim, by pool and device.
func entriesOf(claim *resourceapi.ResourceClaim) map[string]deviceStatus {
	entries := map[string]deviceStatus{}
	for _, d := range claim.Status.Devices {
		if d.Driver == v1alpha1.DriverName {
			entries[d.Pool+"/"+d.Device] = entryOf(d)
		}
	}
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
