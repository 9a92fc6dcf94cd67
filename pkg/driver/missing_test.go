package driver

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestMissingForAWhile checks that a virtual link that is not found when its
// pod ends, as it is in a namespace of the pod's, is not given up at once: it is
// restored when it is back, though the claim is gone, and given up only when
// it has been missing for a while.
func TestMissingForAWhile(t *testing.T) {
	for name, tt := range map[string]struct{ back bool }{
		"back in time": {back: true},
		"never back":   {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			before := w.snapshot()
			c, p := w.running("h0")
			child := nstest.New(t)
			p.ns.Run("ip link set net1 netns " + child.Path)
			w.end(p)
			w.eventually("the claim says so", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonMissing })
			w.unprepare(c)
			w.driver.reconcile(w.ctx)
			if all := w.driver.store.All(); len(all) != 1 || !all[0].Missing() || all[0].MissingSince.IsZero() || !all[0].Released {
				t.Fatalf("the record is not kept as of a missing link: %+v", all)
			}
			pin, err := netdev.Open(filepath.Join(w.dir, "state", "netns", "s1"))
			if err != nil || pin == nil {
				t.Fatalf("the pod's namespace is not kept: %v", err)
			}
			pin.Close()
			if tt.back {
				child.Run("ip link set net1 netns " + p.ns.Path)
			} else {
				w.driver.engine.MissingFor = time.Nanosecond
			}
			w.driver.reconcile(w.ctx)
			if all := w.driver.store.All(); len(all) != 0 {
				t.Errorf("records afterwards: %+v", all)
			}
			if tt.back {
				w.restored()
				if now := w.snapshot(); now != before {
					t.Errorf("the host is not as before: got\n%s\nwant\n%s", now, before)
				}
			}
			w.eventually("what is offered", func() bool { return slices.Contains(w.published(), "h0") == tt.back })
			if !tt.back { // the link ends with the child, and its other end with it
				child.Close()
				w.eventually("p0 is gone", func() bool { return exec.Command("ip", "link", "show", "p0").Run() != nil })
				w.host("ip link add p0 type ifb")
			}
		})
	}
}

// TestPairInTwoPods checks that both ends of a pair are restored that two pods
// have, whichever ends first.
func TestPairInTwoPods(t *testing.T) {
	for _, first := range []int{0, 1} {
		t.Run(fmt.Sprintf("pod %d ends first", first), func(t *testing.T) { pairInTwoPods(t, first) })
	}
}

func pairInTwoPods(t *testing.T, first int) {
	w := newWorld(t, "")
	before := w.snapshot()
	a, b := w.claim("a", "h0", net1, "one"), w.claim("b", "p0", net1, "two")
	must(t, w.prepare(a))
	must(t, w.prepare(b))
	pods := []pod{w.pod("one", "s1"), w.pod("two", "s2")}
	for _, end := range []string{"h0", "p0"} { // none of them can have its index in the first pod
		l, err := net.InterfaceByName(end)
		must(t, err)
		pods[0].ns.Run(fmt.Sprintf("ip link add taken-%s index %d type ifb", end, l.Index))
	}
	must(t, w.run(pods[0]))
	must(t, w.run(pods[1]))
	w.driver.engine.Observe(w.ctx)
	for _, i := range []int{first, 1 - first} {
		w.end(pods[i])
		if out, err := pods[i].ns.Try("ip link show net1"); err == nil {
			t.Errorf("pod %d, the %s to end: its link is still there: %s", i, []string{"first", "second"}[i], out)
		}
	}
	w.unprepare(a)
	w.unprepare(b)
	w.eventually("the host is as before", func() bool { return w.snapshot() == before })
	if n := len(w.driver.store.All()); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// TestUppersOutsideTheLock checks that what a pod has made on its link is
// deleted, and the link detached, while somebody else has the store.
func TestUppersOutsideTheLock(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	p.ns.Lines("ip link add m0 link net1 type macvlan\nip link add m1 link net1 type macvlan")
	unlock, err := w.driver.store.Lock(w.ctx)
	must(t, err)
	ended := make(chan struct{})
	go func() { // ends with the sandbox
		defer close(ended)
		w.end(p)
	}()
	w.eventually("they and the link are gone", func() bool {
		out := p.ns.Run("ip link show")
		return !strings.Contains(out, "@net1") && !strings.Contains(out, "net1")
	})
	unlock()
	<-ended
	w.unprepare(c)
	w.restored()
}

// TestAttachNothing checks that a sandbox is not pinned for links that are there
// already, or are no longer to come.
func TestAttachNothing(t *testing.T) {
	w := newWorld(t, "")
	p := w.pod("web", "s1")
	must(t, w.driver.engine.Attach(w.ctx, sandboxOf(p.PodSandbox)))
	w.restored()
}
