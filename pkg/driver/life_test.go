package driver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	drapb "k8s.io/kubelet/pkg/apis/dra/v1"
)

// network gives a pod's sandbox what the runtime gives it: a link whose other
// end is on the host. It goes with the pod's namespace at the latest.
func (w *world) network(p pod) {
	w.t.Helper()
	peer := fmt.Sprintf("pod-%s", p.Id)
	w.host("ip link add " + peer + " type veth peer name eth0 netns " + p.ns.Path)
	w.t.Cleanup(func() { p.ns.Try("ip link del eth0") })
}

// TestUnprepareInUse checks that the kubelet's word takes no link out of
// a pod that runs, and is heard when the pod has ended, whether or not the
// hooks saw that, and whatever the pod has done to look as if it ran.
func TestUnprepareInUse(t *testing.T) {
	for name, ends := range map[string]string{
		"seen":     "",
		"removed":  "ip link del eth0",             // as CRI-O does, whose namespace stays
		"renamed":  "ip link set eth0 name other0", // so that the runtime does not find it
		"imitated": "ip link del eth0\nip link add eth0 index INDEX type veth peer name other0",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			c, p := w.claim("c", "h0", net1, "web"), w.pod("web", "s1")
			w.network(p)
			must(t, w.prepare(c))
			must(t, w.run(p))
			out, err := w.kubelet.NodeUnprepareResources(w.ctx, &drapb.NodeUnprepareResourcesRequest{Claims: []*drapb.Claim{{Namespace: c.Namespace, Name: c.Name, Uid: string(c.UID)}}})
			must(t, err)
			if got := out.Claims[string(c.UID)].GetError(); !strings.Contains(got, "interface h0 of claim default/c is in pod uid-web, which still runs") {
				t.Errorf("unprepare: %q, want it refused", got)
			}
			if !has(p, "net1") {
				t.Error("the link has left the running pod")
			}
			must(t, w.create(p, c)) // its next container
			if ends == "" {
				w.end(p)
			} else {
				p.ns.Lines(strings.ReplaceAll(ends, "INDEX", fmt.Sprint(w.driver.store.All()[0].Attachment.Sandbox.PodLink.Index)))
			}
			w.unprepare(c)
			w.restored()
		})
	}
}

// TestEndedUnseen checks that a link is restored whose sandbox has ended though
// the runtime has not reported it, that the claim is not Ready meanwhile, and
// that another pod on the claim gets the link, at once or later.
func TestEndedUnseen(t *testing.T) {
	for _, namespaceStays := range []bool{true, false} {
		for _, restored := range []bool{true, false} {
			t.Run(fmt.Sprintf("%t/%t", namespaceStays, restored), func(t *testing.T) {
				w := newWorld(t, "")
				c, first, second := w.claim("c", "h0", net1, "one", "two"), w.pod("one", "s1"), w.pod("two", "s2")
				w.network(first)
				w.network(second)
				must(t, w.prepare(c))
				must(t, w.run(first))
				refused(t, w.run(second), "another pod has it")
				first.ns.Run("ip link del eth0")
				if !namespaceStays {
					first.ns.Close()
				}
				w.driver.engine.Observe(w.ctx)
				w.driver.engine.Observe(w.ctx) // it says the same again
				w.eventually("the claim says so", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonSandboxEnded })
				if restored {
					w.driver.reconcile(w.ctx)
					w.restored()
					w.eventually("the claim says so", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonDetached })
				}
				must(t, w.run(second))
				if !has(second, "net1") {
					t.Error("the second pod lacks the link")
				}
				w.end(second)
				w.unprepare(c)
				w.restored()
			})
		}
	}
}

// TestDeadSandbox checks that a link goes from a sandbox that has ended to the
// pod's newer one though the hooks saw neither the end nor the start and the
// old namespace is still at its path, that the claim does not say Ready
// meanwhile, and that nothing of this befalls a sandbox that runs.
func TestDeadSandbox(t *testing.T) {
	w := newWorld(t, "")
	c, first, next := w.claim("c", "h0", net1, "web"), w.pod("web", "s1"), w.pod("web", "s2")
	w.network(first)
	must(t, w.prepare(c))
	must(t, w.run(first))
	says := func(want string) {
		t.Helper()
		w.eventually("the claim says "+want, func() bool { _, reason, _, _, _ := w.device(c); return reason == want })
	}
	says(v1alpha1.ReasonAttached)
	w.network(next)
	w.driver.engine.Observe(w.ctx)
	refused(t, w.create(next, c), "is in a newer sandbox of the pod") // it may be an older one
	first.ns.Run("ip link set eth0 name other0")                      // the pod's own doing: it runs
	w.driver.engine.Observe(w.ctx)
	refused(t, w.create(next, c), "is in a newer sandbox of the pod")
	says(v1alpha1.ReasonAttached)

	first.ns.Run("ip link del other0")
	w.driver.engine.Observe(w.ctx)
	says(v1alpha1.ReasonSandboxEnded)
	w.driver.engine.Observe(w.ctx)
	w.driver.status.add(string(c.UID))
	w.scans()
	says(v1alpha1.ReasonSandboxEnded)
	next.ns.Run("ip link del eth0")
	refused(t, w.create(next, c), "is in a newer sandbox of the pod") // both have ended: none is the newer
	w.network(next)
	must(t, w.create(next, c))
	if !has(next, "net1") || has(first, "net1") {
		t.Error("the link is not in the newer sandbox")
	}
	says(v1alpha1.ReasonAttached)
	refused(t, w.create(first, c), "is in a newer sandbox of the pod")
	w.end(first)
	if !has(next, "net1") {
		t.Error("the dead sandbox's late end took the link from the new one")
	}
	w.end(next)
	w.restored()
	w.unprepare(c)
}
