package netdev

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var errInjected = errors.New("injected")

// faults counts requests of both namespaces and fails some of them.
type faults struct {
	seen []string         // what was asked for so far
	fail func(n int) bool // whether the n-th request fails
}

func (f *faults) step(what string) error {
	n := len(f.seen)
	f.seen = append(f.seen, what)
	if f.fail != nil && f.fail(n) {
		return fmt.Errorf("%s: %w", what, errInjected)
	}
	return nil
}

// watch makes the next requests of the world count and fail.
func (w *world) watch(fail func(n int) bool) *faults {
	f := &faults{fail: fail}
	w.host.conn.failpoint, w.pod.conn.failpoint = f.step, f.step
	return f
}

func (w *world) unwatch() { w.host.conn.failpoint, w.pod.conn.failpoint = nil, nil }

// three gives the host two more links to move.
const three = rich + `
	ip link add h1 type ifb
	ip link set h1 up
	ip addr add 10.11.0.1/24 dev h1
	ip link add h2 type ifb
	ip addr add 10.12.0.1/24 dev h2
	ip addr add 2001:db8:12::1/64 dev h2 nodad`

func (w *world) plans() []Plan {
	var plans []Plan
	for _, name := range []string{"h0", "h1", "h2"} {
		plans = append(plans, w.plan(name, `{"interface":{"name":"net`+name[1:]+`"}}`))
	}
	return plans
}

// stride is how many steps apart faults are injected; 1 takes each.
var stride = flag.Int("stride", 1, "take every n-th step for a fault")

// tolerable are the requests whose failure an attach survives: look-ups that
// save a longer one, guards that are removed later, and what a pod can be
// without, which is reported.
var tolerable = map[string]bool{"get link": true, "remove altname": true, "add route": true, "add neighbor": true, "add rule": true}

func kindOf(step string) string {
	words := strings.Fields(step)
	return strings.Join(words[:min(2, len(words))], " ")
}

// TestAttachFailsAtEveryStep makes each request of an attach of three links
// fail, one at a time: it fails as a whole, and everything is as before.
func TestAttachFailsAtEveryStep(t *testing.T) {
	w := newWorld(t, three, "")
	f := w.watch(nil)
	plans := w.plans()
	f.seen = nil
	w.attach(plans...)
	total, names := len(f.seen), f.seen
	w.unwatch()
	w.detach(plans...)
	w.asBefore()
	tolerated := 0
	for at := 0; at < total; at += *stride {
		f := w.watch(func(n int) bool { return n == at })
		done, err := Attach(context.Background(), w.host, w.pod, plans)
		w.unwatch()
		switch {
		case err == nil && tolerable[kindOf(names[at])]:
			tolerated++
			reported := slices.ContainsFunc(done, func(a Attached) bool {
				return slices.ContainsFunc(a.Omitted, func(l string) bool { return strings.HasPrefix(l, names[at]) })
			})
			if len(done) != len(plans) || strings.HasPrefix(names[at], "add ") && !reported {
				t.Errorf("step %d (%s): %d links attached, reported: %t", at, names[at], len(done), reported)
			}
		case !errors.Is(err, errInjected):
			t.Errorf("step %d (%s) of %d: got error %v", at, names[at], len(f.seen), err)
		}
		w.detach(plans...) // after a failure there is nothing left to do
		w.asBefore()
		if t.Failed() {
			t.Fatalf("after step %d (%s)", at, names[at])
		}
	}
	t.Logf("%d of %d requests failed in turn, %d of them tolerated", (total+*stride-1)/(*stride), total, tolerated)
}

// TestKilledAtEveryStep makes each request of an attach and of a detach the last
// that the process makes, and checks that a new process, which knows the plans
// only, restores everything.
func TestKilledAtEveryStep(t *testing.T) {
	for _, way := range []string{"attach", "detach"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, three, "")
			plans := w.plans()
			act := func() {
				if way == "attach" {
					Attach(context.Background(), w.host, w.pod, plans)
				} else {
					Detach(context.Background(), w.host, w.pod, plans)
				}
			}
			prepare := func() {
				if way == "detach" {
					for i, a := range w.attach(plans...) {
						plans[i].ID = a.ID
					}
				}
			}
			prepare()
			f := w.watch(nil)
			act()
			total := len(f.seen)
			w.unwatch()
			w.detach(plans...)
			for at := 0; at < total; at += *stride {
				for i := range plans {
					plans[i].ID = plans[i].ID.OnHost()
				}
				prepare()
				w.watch(func(n int) bool { return n >= at })
				act()
				w.unwatch()
				results, err := Detach(context.Background(), w.host, w.pod, plans)
				if err != nil || slices.ContainsFunc(results, func(h Result) bool { return h.Missing || h.HostNameTaken }) {
					t.Fatalf("after step %d: %v, %+v", at, err, results)
				}
				w.asBefore()
				if t.Failed() {
					t.Fatalf("after step %d of %d", at, total)
				}
			}
			t.Logf("killed at %d of %d requests", (total+*stride-1)/(*stride), total)
		})
	}
}

// TestDetachFailsAtEveryStep makes each request of a detach of three links fail,
// one at a time: the other links are restored all the same, and what could not be
// restored is reported, as an error after which a further Detach restores it, or
// as unset.
func TestDetachFailsAtEveryStep(t *testing.T) {
	w := newWorld(t, three, "")
	plans := w.plans()
	attach := func() {
		for i := range plans {
			plans[i].ID = plans[i].ID.OnHost()
		}
		for i, a := range w.attach(plans...) {
			plans[i].ID = a.ID
		}
	}
	attach()
	f := w.watch(nil)
	w.detach(plans...)
	w.unwatch()
	total, names := len(f.seen), f.seen
	var failed, reported int
	for at := 0; at < total; at += *stride {
		attach()
		w.watch(func(n int) bool { return n == at })
		results, err := Detach(context.Background(), w.host, w.pod, plans)
		w.unwatch()
		late := 0
		for i, result := range results {
			switch {
			case len(result.Unset) > 0:
				reported++
			case result.Name != plans[i].Original.Name:
				late++
			}
			if result.Missing || result.HostNameTaken {
				t.Errorf("step %d (%s): %+v", at, names[at], result)
			}
		}
		if err != nil {
			failed++
		}
		if err != nil && !errors.Is(err, errInjected) || late > 1 || late == 1 && err == nil {
			t.Errorf("step %d (%s): got error %v, %+v", at, names[at], err, results)
		}
		unset := slices.ContainsFunc(results, func(h Result) bool { return len(h.Unset) > 0 })
		if unset {
			attach() // the next detach finds nothing in its way
		}
		if unset || err != nil {
			w.detach(plans...)
		}
		w.asBefore()
		if t.Failed() {
			t.Fatalf("after step %d (%s)", at, names[at])
		}
	}
	t.Logf("%d of %d requests failed in turn: %d errors, %d reported as unset", (total+*stride-1)/(*stride), total, failed, reported)
}
