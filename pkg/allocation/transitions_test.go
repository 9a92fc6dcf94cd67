package allocation

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// at returns the moment so many minutes after then.
func at(minutes int) time.Time { return then.Add(time.Duration(minutes) * time.Minute) }

// clock returns the same moment as at, but as a clock shows it: in the node's
// time zone, and not at a full second.
func clock(minutes int) time.Time {
	return at(minutes).In(time.FixedZone("", 3600)).Add(300 * time.Millisecond)
}

// after is what a clock showed, as it is recorded.
func after(minutes int) time.Time { return clock(minutes).UTC() }

var sandbox = Sandbox{ID: "s1", PodUID: "p", NetNS: "/run/netns/x", Cookie: 7, PodLink: PodLink{Index: 2}}

// prepared returns the record of a link that nothing has touched. This and the
// next ones are written out, so that a transition is not tested by itself.
func prepared() Record {
	return Record{Claim: Ref{"default", "nic", "u"}, Device: inventory.Device{Name: "eth1", Link: netdev.Link{Name: "eth1", Kind: "veth"}}, Config: nic.Config{Interface: nic.Interface{Name: "net1"}}}
}

// attaching returns the record of a link that is on its way since minute 1.
func attaching() Record {
	r := prepared()
	r.Attachment = &Attachment{Sandbox: sandbox, ID: r.ID(), Original: netdev.State{Name: "eth1"}, Name: "net1", Omitted: []string{"a"}, Deadline: after(9)}
	r.Condition = Condition{Reason: v1alpha1.ReasonAttaching, Message: "the interface is on its way into the pod as net1", Since: at(1)}
	return r
}

// inPod is what is read back of a link in the pod.
func inPod() netdev.Attached {
	id := prepared().ID()
	id.PodIndex = 5
	return netdev.Attached{ID: id, State: netdev.State{Name: "net1"}, Omitted: []string{"b"}, Base: nic.Statistics{RxBytes: 10}}
}

// attached returns the record of a link that is in the pod since minute 2.
func attached() Record {
	r, got := attaching(), inPod()
	r.Attachment = &Attachment{Sandbox: sandbox, ID: got.ID, Original: netdev.State{Name: "eth1"}, Name: "net1", Omitted: []string{"a", "b"}, InPod: &got, Since: at(2)}
	r.Condition = Condition{Reason: v1alpha1.ReasonAttached, Message: "the interface is in the pod as net1", Since: at(2)}
	return r
}

// function returns the record of a device without an interface that no pod has.
func function() Record {
	return Record{Claim: Ref{"default", "nic", "u"}, Device: inventory.Device{Name: "pci-0000-af-01-0", Function: inventory.Function{Address: "0000:af:01.0", Driver: "vfio-pci"}}}
}

// given returns the record of one that a pod may use since minute 2.
func given() Record {
	r := function()
	r.Attachment = &Attachment{Sandbox: sandbox, InPod: &netdev.Attached{}, Since: at(2)}
	r.Condition = Condition{Reason: v1alpha1.ReasonAvailable, Message: available, Since: at(2)}
	return r
}

const functionGone = "PCI function 0000:af:01.0 is gone"

// hardware returns the record of an attached NIC.
func hardware() Record {
	r := attached()
	r.Attachment.ID.Parent = "0000:00:03.0"
	return r
}

// notRestored returns the record of a link that was to be restored in minute 3.
func notRestored() Record {
	r := attached()
	r.Attachment.InPod = nil
	r.Condition = Condition{Reason: v1alpha1.ReasonDetachFailed, Message: "device or resource busy", Since: at(3)}
	return r
}

// missing returns the record of a link that is missing from its pod since
// minute 3.
func missing() Record {
	r := attached()
	r.MissingSince = after(3)
	r.Condition = Condition{Reason: v1alpha1.ReasonMissing, Message: "the interface is not in the pod any more: the pod destroyed it or moved it on", Since: at(3)}
	return r
}

// detached returns how a record is after a detach in minute 4.
func detached(res netdev.Result, failed error, giveUp bool) func(Record) (Record, error) {
	return func(r Record) (Record, error) { return r.Detached(res, failed, giveUp, clock(4)) }
}

// seen returns how a record is after a look in minute 5.
func seen(found, ended bool) func(Record) (Record, error) {
	var missing error
	if !found {
		missing = errors.New(functionGone)
	}
	return func(r Record) (Record, error) { return r.Seen(missing, ended, clock(5)), nil }
}

// become returns a change of the attachment and the condition of a record.
func become(reason, message string, since int, change ...func(*Record)) func(*Record) {
	return func(r *Record) {
		r.Condition = Condition{Reason: reason, Message: message, Since: at(since)}
		for _, c := range change {
			c(r)
		}
	}
}

// Changes that several transitions make.
func untouched(r *Record)                    { r.Attachment = nil }
func notInPod(r *Record)                     { r.Attachment.InPod = nil }
func notAttaching(r *Record)                 { r.Attachment.Deadline = time.Time{} }
func notMissing(r *Record)                   { r.MissingSince = time.Time{} }
func missingSince4(r *Record)                { r.MissingSince = after(4) }
func counted(r *Record)                      { r.Condition.Final = &nic.Statistics{RxBytes: 5} }
func nameTaken(r *Record)                    { r.Attachment.HostNameTaken = true }
func sandboxEnded(r *Record)                 { r.Attachment.SandboxEnded = true }
func unchanged(*Record)                      {}
func superseded(ids ...string) func(*Record) { return func(r *Record) { r.Superseded = ids } }

const (
	onHost      = "the interface is on the host as it was"
	noWhere     = "the interface is neither in the pod nor on the host: "
	destroyed   = noWhere + "the pod destroyed it or moved it on"
	unplugged   = noWhere + "it was unplugged, or the pod moved it on; it is restored when it reappears"
	taken       = "the interface is on the host as ndx: another one has its name eth1"
	notThere    = "the interface is not in the pod any more: the pod destroyed it or moved it on"
	endedInside = "the pod's sandbox has ended with the interface in it: it goes to the pod's next sandbox, or back to the host"
)

// TestTransitions checks each transition: the whole record that it makes, the
// error of those that have one, and that it changes nothing of the record that it
// is called on, of which others have copies.
func TestTransitions(t *testing.T) {
	final := &nic.Statistics{RxBytes: 15}
	tests := []struct {
		name string
		from func() Record
		do   func(Record) (Record, error)
		want func(*Record) // what is then different
		err  string
	}{
		{"begin", prepared, begin, func(r *Record) { *r = attaching() }, ""},
		{"begin again after a failure", with(prepared, become(v1alpha1.ReasonAttachFailed, "no", 0)), begin, func(r *Record) { *r = attaching(); r.Condition.Since = at(0) }, ""},
		{"begin after a time in a pod", with(prepared, become(v1alpha1.ReasonDetached, onHost, 0, counted)), begin, func(r *Record) { *r = attaching(); r.Condition.Since = at(0) }, ""},
		{"attached", attaching, arrive, func(r *Record) { *r = attached() }, ""},
		{"attached, was missing", with(attaching, missingSince4), arrive, func(r *Record) { *r = attached() }, ""},
		{"untouched", attaching, func(r Record) (Record, error) { return r.Untouched(), nil }, untouched, ""},
		{"give up, attaching", attaching, giveUp, notAttaching, ""},
		{"give up, attached", attached, giveUp, unchanged, ""},
		{"give up, not restored", notRestored, giveUp, unchanged, ""},
		{"give up, untouched", prepared, giveUp, unchanged, ""},
		{"attach failed", with(attaching, untouched), fail, become(v1alpha1.ReasonAttachFailed, "no; way", 1), ""},
		{"attach failed at once", prepared, fail, become(v1alpha1.ReasonAttachFailed, "no; way", 3), ""},
		{"attach failed, not restored", notRestored, fail, unchanged, ""},

		{"detach", attached, detached(netdev.Result{Name: "eth1", Final: final}, nil, false), become(v1alpha1.ReasonDetached, onHost, 4, untouched, counted), ""},
		{"detach, no counters", attached, detached(netdev.Result{Name: "eth1"}, nil, false), become(v1alpha1.ReasonDetached, onHost, 4, untouched), ""},
		{"detach, never in the pod", attaching, detached(netdev.Result{Name: "eth1", Final: final}, nil, false), become(v1alpha1.ReasonDetached, onHost, 1, untouched), ""},
		{"detach, nothing left", notRestored, detached(netdev.Result{Name: "eth1"}, nil, false), become(v1alpha1.ReasonDetached, onHost, 3, untouched), ""},
		{"detach with differences", attached, detached(netdev.Result{Name: "eth1", Unset: []string{"x", "y"}, Final: final}, nil, false), become(v1alpha1.ReasonRestoredWithDifferences, "the interface is on the host, but these settings could not be restored: x; y", 4, untouched, counted), ""},
		{"detach fails", attached, detached(netdev.Result{}, syscall.EBUSY, false), become(v1alpha1.ReasonDetachFailed, "device or resource busy", 4, notInPod), "device or resource busy"},
		{"detach fails, attaching", attaching, detached(netdev.Result{}, errors.New("x\ny"), false), become(v1alpha1.ReasonDetachFailed, "x; y", 1, notAttaching), "x\ny"},
		{"detach fails, whatever the result", with(attached, nameTaken), detached(netdev.Result{Missing: true, HostNameTaken: true}, syscall.EBUSY, true), become(v1alpha1.ReasonDetachFailed, "device or resource busy", 4, notInPod, func(r *Record) { r.Attachment.HostNameTaken = false }), "device or resource busy"},
		{"detach fails again", notRestored, detached(netdev.Result{}, syscall.EPERM, false), become(v1alpha1.ReasonDetachFailed, "operation not permitted", 3), "operation not permitted"},
		{"host name taken", attached, detached(netdev.Result{Name: "ndx", HostNameTaken: true}, nil, false), become(v1alpha1.ReasonDetachFailed, taken, 4, notInPod, nameTaken), taken},
		{"host name taken, still", with(notRestored, nameTaken), detached(netdev.Result{Name: "ndx", HostNameTaken: true}, nil, false), become(v1alpha1.ReasonDetachFailed, taken, 3), taken},
		{"host name free", with(notRestored, nameTaken), detached(netdev.Result{Name: "eth1"}, nil, false), become(v1alpha1.ReasonDetached, onHost, 3, untouched), ""},
		{"virtual, missing", attached, detached(netdev.Result{Missing: true}, nil, false), become(v1alpha1.ReasonMissing, destroyed, 4, notInPod, missingSince4), destroyed},
		{"virtual, missing for longer", missing, detached(netdev.Result{Missing: true}, nil, false), become(v1alpha1.ReasonMissing, destroyed, 3, notInPod), destroyed},
		{"virtual, missing and given up", attached, detached(netdev.Result{Missing: true}, nil, true), become(v1alpha1.ReasonMissing, destroyed, 4, untouched, missingSince4), ""},
		{"virtual, missing for longer and given up", missing, detached(netdev.Result{Missing: true}, nil, true), become(v1alpha1.ReasonMissing, destroyed, 3, untouched), ""},
		{"virtual, found again", with(missing, notInPod), detached(netdev.Result{Name: "eth1"}, nil, false), become(v1alpha1.ReasonDetached, onHost, 3, untouched, notMissing), ""},
		{"hardware, missing", hardware, detached(netdev.Result{Missing: true}, nil, false), become(v1alpha1.ReasonDetachFailed, unplugged, 4, notInPod, missingSince4), unplugged},
		{"hardware, missing, is never given up", hardware, detached(netdev.Result{Missing: true}, nil, true), become(v1alpha1.ReasonDetachFailed, unplugged, 4, notInPod, missingSince4), unplugged},

		{"seen in the pod", attached, seen(true, false), unchanged, ""},
		{"not seen in the pod", attached, seen(false, false), become(v1alpha1.ReasonMissing, notThere, 5, func(r *Record) { r.MissingSince = after(5) }), ""},
		{"still not seen, sandbox ended", missing, seen(false, true), unchanged, ""},
		{"seen in the pod again", missing, seen(true, false), become(v1alpha1.ReasonAttached, "the interface is in the pod as net1", 5, notMissing), ""},
		{"sandbox ended", attached, seen(true, true), become(v1alpha1.ReasonSandboxEnded, endedInside, 5, sandboxEnded), ""},
		{"sandbox has not ended after all", with(attached, sandboxEnded, become(v1alpha1.ReasonSandboxEnded, endedInside, 3)), seen(true, false), become(v1alpha1.ReasonAttached, "the interface is in the pod as net1", 5, func(r *Record) { r.Attachment.SandboxEnded = false }), ""},

		{"function, given", function, give, func(r *Record) { *r = given() }, ""},
		{"function, taken back", given, detached(netdev.Result{}, nil, false), become(v1alpha1.ReasonDetached, "no pod may use the device any more", 4, untouched), ""},
		{"function, as it was", given, seen(true, false), unchanged, ""},
		{"function, gone", given, seen(false, false), become(v1alpha1.ReasonMissing, functionGone, 5, func(r *Record) { r.MissingSince = after(5) }), ""},
		{"function, back", with(given, missingSince4, become(v1alpha1.ReasonMissing, functionGone, 4)), seen(true, false), become(v1alpha1.ReasonAvailable, available, 5, notMissing), ""},
		{"function, gone and taken back", with(given, missingSince4, become(v1alpha1.ReasonMissing, functionGone, 4)), detached(netdev.Result{}, nil, false), become(v1alpha1.ReasonDetached, "no pod may use the device any more", 4, untouched, notMissing), ""},
		{"function, sandbox ended", given, seen(true, true), become(v1alpha1.ReasonSandboxEnded, "the pod's sandbox has ended: the device goes to the pod's next sandbox, or to another pod", 5, sandboxEnded), ""},

		{"supersede", prepared, supersede("s0"), superseded("s0"), ""},
		{"supersede another", with(prepared, superseded("s0")), supersede("s1"), superseded("s0", "s1"), ""},
		{"supersede again", with(prepared, superseded("s0", "s1")), supersede("s0"), unchanged, ""},
		{"supersede many", with(prepared, superseded("1", "2", "3", "4", "5", "6", "7", "8")), supersede("9"), superseded("2", "3", "4", "5", "6", "7", "8", "9"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, want := tt.from(), tt.from()
			tt.want(&want)
			got, err := tt.do(from)
			if text := fmt.Sprint(err); err == nil && tt.err != "" || err != nil && text != tt.err {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if d := cmp.Diff(want, got, byValue); d != "" {
				t.Errorf("the new record (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.from(), from, byValue); d != "" {
				t.Errorf("the old record has changed (-want +got):\n%s", d)
			}
			if strings.Contains(got.Condition.Message, "\n") {
				t.Errorf("message %q has several lines", got.Condition.Message)
			}
		})
	}
}

// Transitions that several rows use.
func begin(r Record) (Record, error) {
	return r.Begin(sandbox, r.ID(), netdev.State{Name: "eth1"}, []string{"a"}, clock(9), clock(1)), nil
}
func arrive(r Record) (Record, error) { return r.AttachDone(inPod(), clock(2)), nil }
func give(r Record) (Record, error) {
	return r.Begin(sandbox, netdev.Ident{}, netdev.State{}, nil, clock(2), clock(2)).AttachDone(netdev.Attached{}, clock(2)), nil
}
func giveUp(r Record) (Record, error) { return r.GiveUp(), nil }
func fail(r Record) (Record, error)   { return r.AttachFailed(errors.New("no\nway"), clock(3)), nil }
func supersede(id string) func(Record) (Record, error) {
	return func(r Record) (Record, error) { return r.Supersede(id), nil }
}

// with returns what makes a record, with these changes.
func with(from func() Record, changes ...func(*Record)) func() Record {
	return func() Record {
		r := from()
		for _, c := range changes {
			c(&r)
		}
		return r
	}
}

// TestNothingIsShared checks that two records which were made from one do not
// write into each other's lists.
func TestNothingIsShared(t *testing.T) {
	room := func(s ...string) []string { return append(make([]string, 0, 10), s...) }
	r := attaching()
	r.Attachment.Omitted, r.Superseded = room("a"), room("s0")
	one, two := r.Supersede("one"), r.Supersede("two")
	if d := cmp.Diff([][]string{{"s0", "one"}, {"s0", "two"}}, [][]string{one.Superseded, two.Superseded}); d != "" {
		t.Errorf("superseded (-want +got):\n%s", d)
	}
	got := inPod()
	got.Omitted = []string{"one"}
	one = r.AttachDone(got, clock(2))
	got.Omitted = []string{"two"}
	two = r.AttachDone(got, clock(2))
	if d := cmp.Diff([][]string{{"a", "one"}, {"a", "two"}}, [][]string{one.Omitted, two.Omitted}); d != "" {
		t.Errorf("omitted (-want +got):\n%s", d)
	}
}
