// Package allocation is the book: which claim holds which device, for which
// pods, and how the link was before it was touched. It hides files, format and
// locks. What it returns are values: a change is a changed copy that is Put.
//
// Each record is one JSON file, written in whole and renamed into place, so it
// is there or it is not. The files belong under /run: a boot ends every
// network namespace and with it everything that a record speaks of. A record
// that carries another boot's id is void.
package allocation

import (
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const maxLeft = 8 // of Left: more than can be about at a time

// Ref names a claim or a pod.
type Ref struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// PodLink tells the link of a pod's network from all others that its namespace
// may have: while it is there no other has its index.
type PodLink struct {
	Index        int `json:"index"`
	Lower        int `json:"lower,omitempty"`
	LowerNetNSID int `json:"lowerNetNSID"`
}

// Allocation is one device of one claim.
//
// There is no state beside the facts: Before is set from just before the link
// is touched until it is home, and Attached while a pod has it.
type Allocation struct {
	Claim   Ref                      `json:"claim"`
	Pods    []Ref                    `json:"pods"`    // that the claim was reserved for when it was prepared
	Request string                   `json:"request"` // "request" or "request/subrequest"
	Pool    string                   `json:"pool"`
	Device  inventory.Device         `json:"device"` // as it was when it was prepared
	Config  v1alpha1.NetDeviceConfig `json:"config"`
	ID      netdev.Ident             `json:"id"`

	Before      *netdev.State `json:"before,omitempty"`
	Want        *netdev.State `json:"want,omitempty"`        // goes with Before
	Sandbox     string        `json:"sandbox,omitempty"`     // id of the pod sandbox; goes with Before
	PodUID      string        `json:"podUID,omitempty"`      // whose sandbox that is
	NetNS       string        `json:"netNS,omitempty"`       // path of its namespace as the runtime told it
	NetNSCookie uint64        `json:"netNSCookie,omitempty"` // goes with Before

	PodLink PodLink `json:"podLink,omitzero"` // of the pod's network in that sandbox; not set if there was none

	Attached   *netdev.State       `json:"attached,omitempty"` // as read back in the pod
	AttachedAt time.Time           `json:"attachedAt,omitzero"`
	Base       v1alpha1.Statistics `json:"base,omitzero"`     // counters at the attach
	LeftOut    []string            `json:"leftOut,omitempty"` // what the pod's addresses cannot carry

	// Left are the sandboxes, the last few, that lost the link to a newer one of
	// their pod. They do not get it back.
	Left []string `json:"left,omitempty"`

	// SandboxEnded says that the sandbox which has the link has ended, though
	// the runtime has not said so.
	SandboxEnded bool `json:"sandboxEnded,omitempty"`

	// Lost says that the link was found neither in the pod nor on the host,
	// LostSince from when on.
	Lost      bool      `json:"lost,omitempty"`
	LostSince time.Time `json:"lostSince,omitzero"`

	// Misnamed says that all of the link is home as it was but for its name,
	// which another link has.
	Misnamed bool `json:"misnamed,omitempty"`

	// Released says that the claim is gone and the record stays only until the
	// link is home under its own name.
	Released bool `json:"released,omitempty"`
}

// Interface is the link's name in the pod.
func (a Allocation) Interface() string {
	if a.Config.Interface.Name != "" {
		return a.Config.Interface.Name
	}
	return a.Device.Link.Name
}

// For says whether the claim is reserved for the pod.
func (a Allocation) For(podUID string) bool {
	return slices.ContainsFunc(a.Pods, func(p Ref) bool { return p.UID == podUID })
}

// In says whether the link is attached to the sandbox.
func (a Allocation) In(sandbox string) bool { return a.Attached != nil && a.Sandbox == sandbox }

// Displaced says that the link is not in a pod, and not yet home as it was.
// While an attach is under way it is so too: whoever asks holds the book.
func (a Allocation) Displaced() bool { return a.Before != nil && a.Attached == nil }

// TakenFrom returns the allocation once a newer sandbox has a right to its link.
func (a Allocation) TakenFrom(sandbox string) Allocation {
	a.Left = append(slices.Clone(a.Left), sandbox)
	a.Left = a.Left[max(0, len(a.Left)-maxLeft):]
	return a
}

// OtherEnd reports whether b's link is the other end of a's, as the two ends of
// a veth pair are, and in a pod.
func (a Allocation) OtherEnd(b Allocation) bool {
	if a.Before == nil || b.Before == nil || a.ID.Kind != b.ID.Kind || a.ID.Lower == 0 || b.ID.PodIndex == 0 {
		return false
	}
	// Each was read when it was attached: the other was on the host, or in its
	// pod already.
	at := func(a Allocation, index int) bool { return index == a.Before.Index || index == a.ID.PodIndex }
	return at(b, a.ID.Lower) && at(a, b.ID.Lower)
}

// Found returns the allocation of a link that is not lost.
func (a Allocation) Found() Allocation {
	a.Lost, a.LostSince = false, time.Time{}
	return a
}

// Plan returns the attachment; Before must be set.
func (a Allocation) Plan() netdev.Plan {
	return netdev.Plan{ID: a.ID, Before: *a.Before, Want: *a.Want}
}

// Home returns the allocation after its link has come home.
func (a Allocation) Home() Allocation {
	a.Before, a.Want, a.Attached = nil, nil, nil
	a.Sandbox, a.PodUID, a.NetNS, a.NetNSCookie = "", "", "", 0
	a.AttachedAt, a.Base, a.LeftOut = time.Time{}, v1alpha1.Statistics{}, nil
	a.Misnamed, a.SandboxEnded, a.PodLink = false, false, PodLink{}
	a.ID = a.ID.OnHost()
	return a
}

func (a Allocation) file() string { return a.Claim.UID + "_" + a.Device.Name + suffix }
