package node

import (
	"fmt"
	"strings"
	"testing"

	drapb "k8s.io/kubelet/pkg/apis/dra/v1"
)

// network gives a sandbox the link of a pod's network, as the runtime does
// before the hook: one end of a veth whose other end is on the host.
func (w *world) network(s *sandbox) {
	w.t.Helper()
	w.host.Run("ip link add pod-" + s.Id + " type veth peer name eth0 netns " + s.ns.Path)
	w.t.Cleanup(func() { w.host.Try("ip link del pod-" + s.Id) })
}

// noNetwork is what stopping a sandbox does to it first.
func (w *world) noNetwork(s *sandbox) {
	w.t.Helper()
	w.host.Run("ip link del pod-" + s.Id)
}

// TestDeadSandbox checks that a pod goes on whose sandbox has died unseen: the
// driver is not connected to NRI, the namespace stays at its path and no Stop
// is sent, as CRI-O does when the pause process is dead.
func TestDeadSandbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	w.must(w.prepare(p))
	dead := w.sandbox(p, "s1")
	w.network(dead)
	w.must(w.run(dead))
	w.must(w.create(dead))
	w.has(dead, "h0", "net1")
	w.says(c, "True", "Attached")

	w.runtime.gate.cut()
	w.eventually("the driver has seen it", func() bool { return !w.healthy("/readyz") })
	w.noNetwork(dead)
	s := w.sandbox(p, "s2")
	w.network(s)
	w.must(w.run(s)) // nobody hears it
	w.refused(w.create(s), errOCI)
	w.says(c, "False", "SandboxEnded")
	w.connections = w.runtime.synchronized()
	w.runtime.gate.mend()
	w.hooked()
	var err error
	w.eventually("the container is made", func() bool { err = w.create(s); return err == nil }, func() string { return fmt.Sprint(err) })
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	w.refused(w.create(dead), errNRI)
	w.removeHook(dead) // the kubelet's garbage collection
	w.has(s, "h0", "net1")
	w.must(w.create(s))
	w.noNetwork(s)
	w.finish(p, s)
}

// TestUnprepareWhilePodRuns checks that the kubelet's word takes no link out of
// a pod that runs: kubelets before kubernetes#140212 give it when another pod
// on the claim goes that never ran.
func TestUnprepareWhilePodRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	w.must(w.prepare(p))
	s := w.sandbox(p, "s1")
	w.network(s)
	w.must(w.run(s))
	w.must(w.create(s))
	plugin, err := w.kubelet.plugins.GetPlugin(driverName)
	w.must(err)
	out, err := plugin.NodeUnprepareResources(w.ctx, &drapb.NodeUnprepareResourcesRequest{Claims: []*drapb.Claim{{Namespace: c.Namespace, Name: c.Name, Uid: string(c.UID)}}})
	w.must(err)
	if got := out.Claims[string(c.UID)].GetError(); !strings.Contains(got, "which still runs") {
		t.Errorf("unprepare: %q, want it refused", got)
	}
	w.has(s, "h0", "net1")
	w.must(w.create(s)) // its next container
	w.says(c, "True", "Attached")
	w.noNetwork(s)
	w.finish(p, s)
	w.says(c, "False", "Detached")
}
