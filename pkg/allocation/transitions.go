package allocation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const maxSuperseded = 8 // more sandboxes of a pod than there can be at a time

// errMissing is the state of a virtual link that is in neither namespace. It
// may have been destroyed, or be hidden by the pod.
var errMissing = errors.New("the interface is neither in the pod nor on the host: the pod destroyed it or moved it on")

// errHardwareAway is the state of hardware that is in neither namespace. It is
// not destroyed: the kernel brings it back when the namespace ends into which
// the pod moved it.
var errHardwareAway = errors.New("the interface is neither in the pod nor on the host: it was unplugged, or the pod moved it on; it is restored when it reappears")

// next returns the condition after another one: Since changes with the
// status only.
func (c Condition) next(reason, message string, now time.Time) Condition {
	n := Condition{Reason: reason, Message: message, Since: c.Since}
	if c.Reason == "" || c.Ready() != n.Ready() {
		n.Since = now.UTC().Truncate(time.Second)
	}
	return n
}

// Begin returns the record of a link that is about to be moved into the
// sandbox, given how it is on the host and what of that the pod's link will
// lack. After deadline the attach is given up.
func (r Record) Begin(s Sandbox, id netdev.Ident, original netdev.State, omitted []string, deadline, now time.Time) Record {
	r.Attachment = &Attachment{Sandbox: s, ID: id, Original: original, Name: r.Interface(), Omitted: omitted, Deadline: deadline.UTC()}
	r.Condition = r.Condition.next(v1alpha1.ReasonAttaching, "the interface is on its way into the pod as "+r.Interface(), now)
	return r
}

// available is the condition's message of a device without an interface.
const available = "the device has no interface; the pod's containers that list the claim may use it"

// Untouched returns the record of a link that is as it was on the host.
func (r Record) Untouched() Record {
	r.Attachment = nil
	return r
}

// AttachDone returns the record of a link that is in the pod as it was read
// back there, or of a device without one that the pod may use.
func (r Record) AttachDone(got netdev.Attached, now time.Time) Record {
	a := *r.Attachment
	a.ID, a.InPod, a.Deadline = got.ID, &got, time.Time{}
	a.Original.Queues = got.Queues
	a.Omitted = append(slices.Clone(a.Omitted), got.Omitted...)
	a.Since = now.UTC().Truncate(time.Second)
	r.Attachment, r.MissingSince = &a, time.Time{}
	r.Condition = Condition{Reason: v1alpha1.ReasonAttached, Message: "the interface is in the pod as " + got.State.Name, Since: a.Since}
	if !r.Device.HasLink() {
		r.Condition.Reason, r.Condition.Message = v1alpha1.ReasonAvailable, available
	}
	return r
}

// GiveUp returns the record of a link whose attach is given up, and which is to
// be restored.
func (r Record) GiveUp() Record {
	if r.Attaching() {
		a := *r.Attachment
		a.Deadline = time.Time{}
		r.Attachment = &a
	}
	return r
}

// AttachFailed returns the record of a link that could not be attached. If it
// is on the host as it was the condition names the cause; otherwise what is
// wrong with it weighs more.
func (r Record) AttachFailed(cause error, now time.Time) Record {
	if r.Attachment == nil {
		r.Condition = r.Condition.next(v1alpha1.ReasonAttachFailed, oneLine(cause), now)
	}
	return r
}

// Detached returns the record after a detach, and the error to report: nil when
// nothing remains to be done. Whether a virtual link that is missing is to be
// given up is the caller's decision: the record's end lets go of the pin, which
// may be all that keeps a hidden link alive.
func (r Record) Detached(res netdev.Result, failed error, giveUpMissing bool, now time.Time) (Record, error) {
	r = r.GiveUp()
	a := *r.Attachment
	a.HostNameTaken = false
	var final *nic.Statistics
	if res.Final != nil && a.InPod != nil {
		since := res.Final.Since(a.InPod.Base)
		final = &since
	}
	reason, missing := v1alpha1.ReasonDetachFailed, false
	switch {
	case failed != nil:
	case res.HostNameTaken:
		a.HostNameTaken = true
		failed = fmt.Errorf("the interface is on the host as %s: another one has its name %s", res.Name, a.Original.Name)
	case res.Missing && a.ID.Parent != "":
		failed, missing = errHardwareAway, true
	case res.Missing && !giveUpMissing:
		failed, missing, reason = errMissing, true, v1alpha1.ReasonMissing
	case res.Missing:
		r.MissingSince = since(r.MissingSince, now)
		r = r.Untouched()
		r.Condition = r.Condition.next(v1alpha1.ReasonMissing, errMissing.Error(), now)
		r.Condition.Final = final
		return r, nil
	default:
		r.MissingSince = time.Time{}
		r = r.Untouched()
		reason, message := v1alpha1.ReasonDetached, "the interface is on the host as it was"
		if !r.Device.HasLink() {
			message = "no pod may use the device any more"
		}
		if len(res.Unset) > 0 {
			reason = v1alpha1.ReasonRestoredWithDifferences
			message = "the interface is on the host, but these settings could not be restored: " + strings.Join(res.Unset, "; ")
		}
		r.Condition = r.Condition.next(reason, message, now)
		r.Condition.Final = final
		return r, nil
	}
	if missing {
		r.MissingSince = since(r.MissingSince, now)
	}
	a.InPod, a.Leases = nil, nil // the pod no longer has it: the next tries are Reconcile's
	r.Attachment = &a
	r.Condition = r.Condition.next(reason, oneLine(failed), now)
	return r, failed
}

// Seen returns the record of an attached link after a look at it: whether it is
// missing from its pod, and why, and whether the pod's sandbox has ended, though
// the runtime did not report its end.
func (r Record) Seen(missing error, ended bool, now time.Time) Record {
	if missing != nil {
		message := "the interface is not in the pod any more: the pod destroyed it or moved it on"
		if !r.Device.HasLink() {
			message = oneLine(missing)
		}
		r.Condition = r.Condition.next(v1alpha1.ReasonMissing, message, now)
		r.MissingSince = since(r.MissingSince, now)
		return r
	}
	a := *r.Attachment
	a.SandboxEnded = ended
	r.Attachment, r.MissingSince = &a, time.Time{}
	switch {
	case ended && !r.Device.HasLink():
		r.Condition = r.Condition.next(v1alpha1.ReasonSandboxEnded, "the pod's sandbox has ended: the device goes to the pod's next sandbox, or to another pod", now)
	case ended:
		r.Condition = r.Condition.next(v1alpha1.ReasonSandboxEnded, "the pod's sandbox has ended with the interface in it: it goes to the pod's next sandbox, or back to the host", now)
	default:
		r.Condition = arrived(r, now)
	}
	return r
}

// Supersede returns the record once a newer sandbox of the pod has a right to
// its link.
func (r Record) Supersede(sandbox string) Record {
	if slices.Contains(r.Superseded, sandbox) {
		return r
	}
	r.Superseded = append(slices.Clone(r.Superseded), sandbox)
	r.Superseded = r.Superseded[max(0, len(r.Superseded)-maxSuperseded):]
	return r
}

// since returns when something began: earlier, or now.
func since(earlier, now time.Time) time.Time {
	if earlier.IsZero() {
		return now.UTC()
	}
	return earlier
}

// oneLine returns an error's text in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
