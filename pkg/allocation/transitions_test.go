package allocation

import (
	"errors"
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

// The moments of a record's life, a minute apart.
var moments = [6]time.Time{then, then.Add(time.Minute), then.Add(2 * time.Minute), then.Add(3 * time.Minute), then.Add(4 * time.Minute), then.Add(5 * time.Minute)}

func prepared() Record {
	return Record{Claim: Ref{"default", "nic", "u"}, Device: inventory.Device{Name: "eth1", Link: netdev.Link{Name: "eth1", Kind: "veth"}}}
}

func attaching() Record {
	r := prepared()
	return r.Begin(Sandbox{ID: "s1", PodUID: "p"}, r.ID(), netdev.State{Name: "eth1"}, []string{"a"}, moments[5], moments[1])
}

func attached() Record {
	r := attaching()
	return r.AttachDone(netdev.Attached{ID: r.Attachment.ID, State: netdev.State{Name: "net1"}, Omitted: []string{"b"}, Base: nic.Statistics{RxBytes: 10}}, moments[2])
}

// hardware returns an attached record of a NIC.
func hardware() Record {
	r := attached()
	a := *r.Attachment
	a.ID.Parent = "0000:00:03.0"
	r.Attachment = &a
	return r
}

// detached drops the error of Detached, which TestDetachedErrors checks.
func detached(r Record, res netdev.Result, failed error, giveUp bool) Record {
	r, _ = r.Detached(res, failed, giveUp, moments[3])
	return r
}

// summary is what the table compares of a record beside its condition.
func summary(r Record) string {
	var s []string
	for name, is := range map[string]bool{"attached": r.Attached(), "attaching": r.Attaching(), "not restored": r.NotRestored(), "untouched": r.Attachment == nil} {
		if is {
			s = append(s, name)
		}
	}
	if r.Missing() {
		s = append(s, "missing since "+r.MissingSince.Format("05.04"))
	}
	if r.Attachment != nil && r.Attachment.SandboxEnded {
		s = append(s, "sandbox ended")
	}
	if r.Attachment != nil && r.Attachment.HostNameTaken {
		s = append(s, "host name taken")
	}
	if r.Offered() {
		s = append(s, "offered")
	}
	return strings.Join(s, ", ")
}

// TestTransitions checks what each transition makes of a record: its state, and
// the condition that the claim reports.
func TestTransitions(t *testing.T) {
	final := &nic.Statistics{RxBytes: 15}
	counted := &nic.Statistics{RxBytes: 5}
	onHost := "the interface is on the host as it was"
	away := "the interface is neither in the pod nor on the host"
	tests := []struct {
		name  string
		got   Record
		state string
		want  Condition // of the message the beginning
	}{
		{"prepared", prepared(), "untouched, offered", Condition{}},
		{"attaching", attaching(), "attaching, offered", Condition{Reason: v1alpha1.ReasonAttaching, Message: "the interface is on its way into the pod as eth1", Since: moments[1]}},
		{"attached", attached(), "attached, offered", Condition{Reason: v1alpha1.ReasonAttached, Message: "the interface is in the pod as net1", Since: moments[2]}},
		{"given up", attaching().GiveUp(), "not restored", Condition{Reason: v1alpha1.ReasonAttaching, Message: "the interface is on its way", Since: moments[1]}},
		{"given up, attached", attached().GiveUp(), "attached, offered", Condition{Reason: v1alpha1.ReasonAttached, Message: "the interface is in the pod", Since: moments[2]}},
		{"attach failed", attaching().Untouched().AttachFailed(errors.New("no\nway"), moments[3]), "untouched, offered", Condition{Reason: v1alpha1.ReasonAttachFailed, Message: "no; way", Since: moments[1]}},
		{"attach failed, not restored", detached(attaching(), netdev.Result{}, syscall.EBUSY, false).AttachFailed(errors.New("no"), moments[4]), "not restored", Condition{Reason: v1alpha1.ReasonDetachFailed, Message: "device or resource busy", Since: moments[1]}},
		{"detached", detached(attached(), netdev.Result{Name: "eth1", Final: final}, nil, false), "untouched, offered", Condition{Reason: v1alpha1.ReasonDetached, Message: onHost, Since: moments[3], Final: counted}},
		{"detached, never there", detached(attaching(), netdev.Result{Name: "eth1", Final: final}, nil, false), "untouched, offered", Condition{Reason: v1alpha1.ReasonDetached, Message: onHost, Since: moments[1]}},
		{"detached with differences", detached(attached(), netdev.Result{Name: "eth1", Unset: []string{"x", "y"}}, nil, false), "untouched, offered", Condition{Reason: v1alpha1.ReasonRestoredWithDifferences, Message: "the interface is on the host, but these settings could not be restored: x; y", Since: moments[3]}},
		{"detach failed", detached(attached(), netdev.Result{}, syscall.EBUSY, false), "not restored", Condition{Reason: v1alpha1.ReasonDetachFailed, Message: "device or resource busy", Since: moments[3]}},
		{"host name taken", detached(attached(), netdev.Result{Name: "ndx", HostNameTaken: true}, nil, false), "not restored, host name taken", Condition{Reason: v1alpha1.ReasonDetachFailed, Message: "the interface is on the host as ndx: another one has its name eth1", Since: moments[3]}},
		{"virtual, missing", detached(attached(), netdev.Result{Missing: true}, nil, false), "not restored, missing since 03.05", Condition{Reason: v1alpha1.ReasonMissing, Message: away + ": the pod destroyed", Since: moments[3]}},
		{"virtual, given up", detached(attached(), netdev.Result{Missing: true}, nil, true), "untouched, missing since 03.05", Condition{Reason: v1alpha1.ReasonMissing, Message: away, Since: moments[3]}},
		{"hardware, missing", detached(hardware(), netdev.Result{Missing: true}, nil, true), "not restored, missing since 03.05", Condition{Reason: v1alpha1.ReasonDetachFailed, Message: away + ": it was unplugged", Since: moments[3]}},
		{"back on the host", detached(detached(hardware(), netdev.Result{Missing: true}, nil, true), netdev.Result{Name: "eth1"}, nil, false), "untouched, offered", Condition{Reason: v1alpha1.ReasonDetached, Message: onHost, Since: moments[3]}},
		{"not in the pod", attached().Seen(false, false, moments[4]), "attached, missing since 03.06", Condition{Reason: v1alpha1.ReasonMissing, Message: "the interface is not in the pod any more", Since: moments[4]}},
		{"not in the pod, still", attached().Seen(false, false, moments[4]).Seen(false, true, moments[5]), "attached, missing since 03.06", Condition{Reason: v1alpha1.ReasonMissing, Message: "the interface is not in the pod any more", Since: moments[4]}},
		{"back in the pod", attached().Seen(false, false, moments[4]).Seen(true, false, moments[5]), "attached, offered", Condition{Reason: v1alpha1.ReasonAttached, Message: "the interface is in the pod as net1", Since: moments[5]}},
		{"sandbox ended", attached().Seen(true, true, moments[4]), "attached, sandbox ended, offered", Condition{Reason: v1alpha1.ReasonSandboxEnded, Message: "the pod's sandbox has ended", Since: moments[4]}},
		{"sandbox lives", attached().Seen(true, true, moments[4]).Seen(true, false, moments[5]), "attached, offered", Condition{Reason: v1alpha1.ReasonAttached, Message: "the interface is in the pod as net1", Since: moments[5]}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := summary(tt.got); got != tt.state {
				t.Errorf("got state %q, want %q", got, tt.state)
			}
			got := tt.got.Condition
			if !strings.HasPrefix(got.Message, tt.want.Message) {
				t.Errorf("got message %q, want it to begin with %q", got.Message, tt.want.Message)
			}
			got.Message = tt.want.Message
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("condition (-want +got):\n%s", d)
			}
		})
	}
}

// TestDetachedErrors checks that a detach is an error as long as something
// remains to be done.
func TestDetachedErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		r      Record
		res    netdev.Result
		failed error
		giveUp bool
		want   string
	}{
		"restored":          {r: attached()},
		"with differences":  {r: attached(), res: netdev.Result{Unset: []string{"x"}}},
		"given up":          {r: attached(), res: netdev.Result{Missing: true}, giveUp: true},
		"failed":            {r: attached(), failed: syscall.EBUSY, want: "busy"},
		"missing":           {r: attached(), res: netdev.Result{Missing: true}, want: "destroyed it or moved it on"},
		"hardware, missing": {r: hardware(), res: netdev.Result{Missing: true}, giveUp: true, want: "unplugged"},
		"host name taken":   {r: attached(), res: netdev.Result{HostNameTaken: true, Name: "x"}, want: "another one has its name eth1"},
	} {
		if _, err := tt.r.Detached(tt.res, tt.failed, tt.giveUp, then); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

// TestTransitionsArePure checks that a transition changes nothing of the record
// that it is called on: others have copies of it.
func TestTransitionsArePure(t *testing.T) {
	r := attached()
	want, attachment := r, *r.Attachment
	r.Seen(true, true, then)
	r.Detached(netdev.Result{HostNameTaken: true}, nil, false, then)
	r.GiveUp()
	r.AttachDone(netdev.Attached{Omitted: []string{"c"}}, then)
	first := r.Supersede("s0")
	first.Supersede("s1")
	if d := cmp.Diff(want, r, byValue); d != "" {
		t.Errorf("the record (-want +got):\n%s", d)
	}
	if d := cmp.Diff(attachment, *r.Attachment, byValue); d != "" {
		t.Errorf("its attachment (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"s0"}, first.Superseded); d != "" {
		t.Errorf("superseded (-want +got):\n%s", d)
	}
}

// TestKey checks that every spelling of a key is unique, and that the one in an
// environment can be read back.
func TestKey(t *testing.T) {
	for _, k := range []Key{{"u", "eth1", ""}, {"u", "eth1", "a"}, {"u", "eth1-a", ""}} {
		if got, err := ParseKey(k.String()); err != nil || got != k {
			t.Errorf("ParseKey(%q) = %v, %v, want %v", k.String(), got, err, k)
		}
	}
	for _, s := range []string{"", "u", "u/d/s/x"} {
		if k, err := ParseKey(s); err == nil {
			t.Errorf("ParseKey(%q) = %v, want an error", s, k)
		}
	}
	k := Key{"u", "eth1", ""}
	if got, want := []string{k.File(), k.Tag(), k.CDIName()}, []string{"u_eth1.json", "dra-netdev-u-eth1", "u-eth1"}; !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
