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

const maxSuperseded = 8 // of Left: more than can be about at a time

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
type Record struct {
	Claim   Ref                      `json:"claim"`
	Pods    []Ref                    `json:"pods"`    // that the claim was reserved for when it was prepared
	Request string                   `json:"request"` // "request" or "request/subrequest"
	Pool    string                   `json:"pool"`
	Device  inventory.Device         `json:"device"` // as it was when it was prepared
	Config  v1alpha1.NetDeviceConfig `json:"config"`
	ID      netdev.Ident             `json:"id"`

	Original    *netdev.State `json:"original,omitempty"`
	Want        *netdev.State `json:"want,omitempty"`        // goes with Before
	Sandbox     string        `json:"sandbox,omitempty"`     // id of the pod sandbox; goes with Before
	PodUID      string        `json:"podUID,omitempty"`      // whose sandbox that is
	NetNS       string        `json:"netNS,omitempty"`       // path of its namespace as the runtime told it
	NetNSCookie uint64        `json:"netNSCookie,omitempty"` // goes with Before

	PodLink PodLink `json:"podLink,omitzero"` // of the pod's network in that sandbox; not set if there was none

	Attached   *netdev.State       `json:"attached,omitempty"` // as read back in the pod
	AttachedAt time.Time           `json:"attachedAt,omitzero"`
	Base       v1alpha1.Statistics `json:"base,omitzero"`     // counters at the attach
	Omitted    []string            `json:"omitted,omitempty"` // what the pod's addresses cannot carry

	// Left are the sandboxes, the last few, that lost the link to a newer one of
	// their pod. They do not get it back.
	Superseded []string `json:"superseded,omitempty"`

	// SandboxEnded says that the sandbox which has the link has ended, though
	// the runtime has not said so.
	SandboxEnded bool `json:"sandboxEnded,omitempty"`

	// Lost says that the link was found neither in the pod nor on the host,
	// LostSince from when on.
	Missing      bool      `json:"missing,omitempty"`
	MissingSince time.Time `json:"missingSince,omitzero"`

	// Misnamed says that all of the link is home as it was but for its name,
	// which another link has.
	HostNameTaken bool `json:"hostNameTaken,omitempty"`

	// Released says that the claim is gone and the record stays only until the
	// link is home under its own name.
	Released bool `json:"released,omitempty"`
}

// Interface is the link's name in the pod.
func (a Record) Interface() string {
	if a.Config.Interface.Name != "" {
		return a.Config.Interface.Name
	}
	return a.Device.Link.Name
}

// For says whether the claim is reserved for the pod.
func (a Record) ReservedFor(podUID string) bool {
	return slices.ContainsFunc(a.Pods, func(p Ref) bool { return p.UID == podUID })
}

// In says whether the link is attached to the sandbox.
func (a Record) AttachedTo(sandbox string) bool { return a.Attached != nil && a.Sandbox == sandbox }

// Displaced says that the link is not in a pod, and not yet home as it was.
// While an attach is under way it is so too: whoever asks holds the book.
func (a Record) NotRestored() bool { return a.Original != nil && a.Attached == nil }

// TakenFrom returns the allocation once a newer sandbox has a right to its link.
func (a Record) SupersededBy(sandbox string) Record {
	a.Superseded = append(slices.Clone(a.Superseded), sandbox)
	a.Superseded = a.Superseded[max(0, len(a.Superseded)-maxSuperseded):]
	return a
}

// OtherEnd reports whether b's link is the other end of a's, as the two ends of
// a veth pair are, and in a pod.
func (a Record) OtherEnd(b Record) bool {
	if a.Original == nil || b.Original == nil || a.ID.Kind != b.ID.Kind || a.ID.Lower == 0 || b.ID.PodIndex == 0 {
		return false
	}
	// Each was read when it was attached: the other was on the host, or in its
	// pod already.
	at := func(a Record, index int) bool { return index == a.Original.Index || index == a.ID.PodIndex }
	return at(b, a.ID.Lower) && at(a, b.ID.Lower)
}

// Found returns the allocation of a link that is not lost.
func (a Record) Found() Record {
	a.Missing, a.MissingSince = false, time.Time{}
	return a
}

// Plan returns the attachment; Before must be set.
func (a Record) Plan() netdev.Plan {
	return netdev.Plan{ID: a.ID, Original: *a.Original, Want: *a.Want}
}

// Home returns the allocation after its link has come home.
func (a Record) Restored() Record {
	a.Original, a.Want, a.Attached = nil, nil, nil
	a.Sandbox, a.PodUID, a.NetNS, a.NetNSCookie = "", "", "", 0
	a.AttachedAt, a.Base, a.Omitted = time.Time{}, v1alpha1.Statistics{}, nil
	a.HostNameTaken, a.SandboxEnded, a.PodLink = false, false, PodLink{}
	a.ID = a.ID.OnHost()
	return a
}

func (a Record) file() string { return a.Claim.UID + "_" + a.Device.Name + suffix }
