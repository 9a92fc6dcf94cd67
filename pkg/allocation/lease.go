package allocation

import (
	"fmt"
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/dhcp"
)

// Lease returns the lease of a family; ok is false if none was asked for yet.
func (a *Attachment) Lease(f dhcp.Family) (l dhcp.Lease, ok bool) {
	i := slices.IndexFunc(a.Leases, func(l dhcp.Lease) bool { return l.Family == f })
	if i < 0 {
		return dhcp.Lease{Family: f}, false
	}
	return a.Leases[i], true
}

// WithLease returns the record with a lease in place of the one of its family. The
// condition is that of a link whose address is there, or is not.
func WithLease(r Record, l dhcp.Lease, now time.Time) Record {
	a := *r.Attachment
	a.Leases = slices.DeleteFunc(slices.Clone(a.Leases), func(o dhcp.Lease) bool { return o.Family == l.Family })
	a.Leases = append(a.Leases, l)
	slices.SortFunc(a.Leases, func(x, y dhcp.Lease) int { return int(x.Family) - int(y.Family) })
	r.Attachment = &a
	if r.Attached() && !r.Missing() && !a.SandboxEnded {
		r.Condition = arrived(r, now)
	}
	return r
}

// arrived returns the condition of a link that was found in its pod.
func arrived(r Record, now time.Time) Condition {
	if !r.Device.HasLink() {
		return r.Condition.next(v1alpha1.ReasonAvailable, available, now)
	}
	name := r.Attachment.InPod.State.Name
	for _, l := range r.Attachment.Leases {
		if !l.Address.IsValid() {
			const format = "the interface is in the pod as %s, without its IPv%d address: interface.%s: no server has extended its lease; servers are asked again"
			return r.Condition.next(v1alpha1.ReasonLeaseLost, fmt.Sprintf(format, name, l.Family, l.Family.Field()), now)
		}
	}
	return r.Condition.next(v1alpha1.ReasonAttached, "the interface is in the pod as "+name, now)
}
