// Package allocation records which claim holds which device, for which pods,
// and how the device's link was before the driver touched it. It hides files,
// their format and locks.
//
// Records are values: a change is a changed copy that is stored. The methods
// that make one (transitions.go) are pure, and the only writers of the fields
// of an attachment and of the condition.
//
// Each record is one JSON file, written whole and renamed into place, so it is
// there or it is not. The files belong under /run: a boot ends every network
// namespace and with it everything that a record describes. A record that has
// another boot's id is void.
package allocation

import (
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/dhcp"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Ref names a claim or a pod.
type Ref struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// String returns NAMESPACE/NAME.
func (r Ref) String() string { return r.Namespace + "/" + r.Name }

// Record is one device of one claim.
type Record struct {
	Claim Ref   `json:"claim"`
	Pods  []Ref `json:"pods"` // that the claim is reserved for, as known here
	// PodClaim is the claim's name in its pod, if it was made from a template.
	PodClaim string           `json:"podClaim,omitempty"`
	Request  string           `json:"request"` // "request" or "request/subrequest"
	Pool     string           `json:"pool"`
	Share    string           `json:"share,omitempty"`
	Device   inventory.Device `json:"device"` // as it was when it was prepared
	// Identity is what the link was known by on the host when it was prepared.
	Identity v1alpha1.HostIdentity `json:"identity,omitzero"`
	Config   nic.Config            `json:"config"` // with what was left to the node, as the number in its name
	// NameTemplate is what Config's name was made from, as net%d. Empty: the name
	// was not left to the node.
	NameTemplate string `json:"nameTemplate,omitempty"`

	// Attachment is set from just before the link is touched until it is
	// restored; nil means that nothing is touched.
	*Attachment `json:"attachment,omitempty"`

	// OriginalVF is what the physical function had set for a virtual one without an
	// interface, if its config asks for something else; nil if it does not.
	OriginalVF *netdev.State `json:"originalVF,omitempty"`

	// Condition is what the claim's status reports.
	Condition Condition `json:"condition,omitzero"`

	// MissingSince is when the link was found neither in the pod nor on the
	// host. Zero: it is not missing.
	MissingSince time.Time `json:"missingSince,omitzero"`

	// Superseded are the sandboxes, the last few, that lost the link to a newer
	// one of their pod. They do not get it back.
	Superseded []string `json:"superseded,omitempty"`

	// Released reports that the claim has ended and the record stays only until
	// the link is restored.
	Released bool `json:"released,omitempty"`
}

// Attachment is what was and is to be done with a link. That of a device without
// an interface has a sandbox only, and is attached from the start: nothing is
// moved. It is in one of three states: attaching while Deadline is set, attached while InPod is, and
// otherwise to be restored on the host.
type Attachment struct {
	Sandbox  Sandbox      `json:"sandbox"`
	ID       netdev.Ident `json:"id"`
	Original netdev.State `json:"original"`          // as read on the host
	Name     string       `json:"name"`              // in the pod
	Omitted  []string     `json:"omitted,omitempty"` // of the original, what the pod's link cannot have

	Deadline time.Time `json:"deadline,omitzero"` // when the attach is given up

	InPod *netdev.Attached `json:"inPod,omitempty"` // as read back
	Since time.Time        `json:"since,omitzero"`  // when it was attached

	// Leases are what DHCP gave the interface in the pod, one of each family that
	// its config asks for. One without an address has ended and is wanted again.
	Leases []dhcp.Lease `json:"leases,omitempty"`

	// SandboxEnded reports that the sandbox has ended, though the runtime did
	// not report its end.
	SandboxEnded bool `json:"sandboxEnded,omitempty"`

	// HostNameTaken reports that all is restored but the link's name, which
	// another link has.
	HostNameTaken bool `json:"hostNameTaken,omitempty"`
}

// Sandbox is a pod's sandbox: what its containers share.
type Sandbox struct {
	ID     string `json:"id"`
	PodUID string `json:"podUID"`
	NetNS  string `json:"netNS"`            // path of its network namespace as the runtime named it; empty for the host's
	Cookie uint64 `json:"cookie,omitempty"` // of that namespace (SO_NETNS_COOKIE)
	// PodLink is the link of the pod's network in it; not set if there was none.
	PodLink PodLink `json:"podLink,omitzero"`
}

// PodLink identifies the link of a pod's network among all others that its
// namespace may have: while it is there no other has its index.
type PodLink struct {
	Index        int `json:"index"`
	Lower        int `json:"lower,omitempty"`
	LowerNetNSID int `json:"lowerNetNSID"`
}

// Condition is the condition Ready of the device in its claim's status.
type Condition struct {
	Reason  string    `json:"reason"` // v1alpha1.Reason…; empty: nothing is to be reported
	Message string    `json:"message"`
	Since   time.Time `json:"since"` // when Ready became what it is
	// Final are the counters of the time in the pod, once that has ended.
	Final *nic.Statistics `json:"final,omitempty"`
}

// Ready reports whether the condition's status is True.
func (c Condition) Ready() bool {
	return c.Reason == v1alpha1.ReasonAttached || c.Reason == v1alpha1.ReasonAvailable
}

// Key returns the record's name.
func (r Record) Key() Key { return Key{r.Claim.UID, r.Device.Name, r.Share} }

// String names the interface, or the device that has none, and its claim, for
// users.
func (r Record) String() string {
	return r.Device.String() + " of claim " + r.Claim.String()
}

// Interface is the interface's name in the pod; empty for a device without one.
func (r Record) Interface() string {
	if r.Config.Interface.Name != "" {
		return r.Config.Interface.Name
	}
	return r.Device.Link.Name
}

// ID identifies the link, wherever it is.
func (r Record) ID() netdev.Ident {
	if r.Attachment != nil {
		return r.Attachment.ID
	}
	id := netdev.Identify(r.Device.Link, r.Key().Tag())
	id.RDMA = r.Device.RDMA
	return id
}

// ReservedFor reports whether the claim is reserved for the pod.
func (r Record) ReservedFor(podUID string) bool {
	return slices.ContainsFunc(r.Pods, func(p Ref) bool { return p.UID == podUID })
}

// Missing reports whether the link was found neither in the pod nor on the
// host.
func (r Record) Missing() bool { return !r.MissingSince.IsZero() }

// Offered reports whether the device stays in the node's ResourceSlices though
// no scan of the host may find its link.
func (r Record) Offered() bool {
	return !r.Missing() && !r.NotRestored() && !(r.Released && r.OriginalVF != nil)
}
