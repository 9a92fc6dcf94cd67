package netdev

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// takenAltNames are altnames that a link cannot have in the pod: they are removed
// there, reported, and restored on the host.
var takenAltNames = []struct {
	name, onHost, inPod string
	as                  []string // names of h0, h1, … in the pod, in the order of the plans
	omitted             []string // of each plan, "" for none
}{
	{"a link of the pod has it", "ip link property add dev h0 altname eth0 altname enp1", "ip link add eth0 type ifb", []string{"h0 net0"}, []string{"altname eth0: the name eth0 is taken in "}},
	{"a link of the pod has it as altname", "ip link property add dev h0 altname enp1", "ip link add eth0 type ifb\nip link property add dev eth0 altname enp1", []string{"h0 net0"}, []string{"altname enp1: the name enp1 is taken in "}},
	{"the next link gets it", "ip link property add dev h0 altname net1", "", []string{"h0 net0", "h1 net1"}, []string{"altname net1: it is the name of another interface", ""}},
	{"the link before has got it", "ip link property add dev h0 altname net1", "", []string{"h1 net1", "h0 net0"}, []string{"", "altname net1: it is the name"}},
	{"each has the other's", "ip link property add dev h0 altname net1\nip link property add dev h1 altname net0", "", []string{"h0 net0", "h1 net1"}, []string{"altname net1: it is the name", "altname net0: it is the name"}},
	{"its own name, and the other's", "ip link property add dev h0 altname net0 altname net1", "", []string{"h0 net0", "h1 net1"}, []string{"altname net1: it is the name", ""}},
}

func TestAltNameTakenInThePod(t *testing.T) {
	for _, tt := range takenAltNames {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0\nip link add h1 type ifb\n"+tt.onHost, tt.inPod)
			var plans []Plan
			for _, as := range tt.as {
				host, pod, _ := strings.Cut(as, " ")
				plans = append(plans, w.plan(host, `{"interface":{"name":"`+pod+`"}}`))
			}
			out := w.watch(nil)
			done := w.attach(plans...)
			w.unwatch()
			for range 2 { // attached, and attached again
				for i, a := range done {
					if got := strings.Join(a.Omitted, ", "); (tt.omitted[i] == "") != (got == "") || !strings.HasPrefix(got, tt.omitted[i]) || a.State.Name != plans[i].Want.Name {
						t.Errorf("%s is %s, omitted: %q, want %q", plans[i].Original.Name, a.State.Name, got, tt.omitted[i])
					}
					plans[i].ID = a.ID
				}
				done = w.attach(plans...)
			}
			if strings.Contains(tt.onHost, "enp1") && !strings.Contains(tt.inPod, "enp1") && !slices.Contains(done[0].State.AltNames, "enp1") {
				t.Errorf("the pod lacks the altname enp1: %q", done[0].State.AltNames)
			}
			back := w.watch(nil)
			w.detach(plans...)
			w.unwatch()
			w.asBefore()
			for i := range plans {
				plans[i].ID = plans[i].ID.OnHost()
			}
			w.cutShort(plans, out.seen, back.seen)
		})
	}
}

// cutShort makes each request of an attach that moves a link, adds or removes an
// altname fail, and then makes each of these, and of a detach, the last of its
// process. It checks that all names are restored.
func (w *world) cutShort(plans []Plan, out, back []string) {
	w.t.Helper()
	for at, what := range slices.Concat(out, back) {
		if kind := kindOf(what); kind != "move interface" && !strings.HasSuffix(kind, " altname") {
			continue
		}
		faults := []func(n int) bool{func(n int) bool { return n == at }, func(n int) bool { return n >= at }}
		for i, fault := range faults {
			f := w.watch(fault)
			done, err := Attach(context.Background(), w.host, w.pod, plans)
			if err != nil && !errors.Is(err, errInjected) {
				w.t.Errorf("step %d (%s): got error %v", at, what, err)
			}
			again := slices.Clone(plans)
			if err == nil {
				for i, a := range done {
					again[i].ID = a.ID
				}
				f.seen = out // the detach begins here, also if the attach made fewer requests
				Detach(context.Background(), w.host, w.pod, again)
			}
			w.unwatch()
			if err != nil && i == 0 { // the attach has brought all back itself
				w.sameAltNames(at, what)
			}
			w.detach(again...)
			w.sameAltNames(at, what)
		}
	}
	w.asBefore()
}

// sameAltNames fails the test at once unless each link of the host has its
// original names.
func (w *world) sameAltNames(at int, what string) {
	w.t.Helper()
	for _, line := range strings.Split(w.hostBefore, "\n") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "altname "); ok {
			if _, err := w.Host.Try("ip link show " + name); err != nil {
				w.t.Fatalf("after step %d (%s): %s is not back\n%s", at, what, name, w.Host.Run("ip link"))
			}
		}
	}
}
