package node

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// nriTimeout is how long the runtime waits for a hook. Then it drops the
// plugin, and starts the pod as if it had agreed.
const nriTimeout = 2 * time.Second

// TestSlowKernel checks that a hook which cannot do its work in the runtime's
// time says so within it: the pod fails, and the driver stays connected.
//
// The lock is the whole kernel's, so no other test runs meanwhile.
func TestSlowKernel(t *testing.T) {
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	w.must(w.prepare(p))
	s := w.sandbox(p, "s1")
	nstest.HoldRTNL(t, 3*time.Second)
	started := time.Now()
	err := w.runtime.RunPodSandbox(w.ctx, runRequest(s))
	if took := time.Since(started); err == nil || took > nriTimeout {
		t.Errorf("the hook came back after %v with %v, want an error within %v", took, err, nriTimeout)
	}
	w.end(s) // the kernel is still busy
	w.isHome()
	w.says(c, "False", "AttachFailed")
	if n := w.runtime.synchronized(); n != w.connections+1 {
		t.Errorf("the runtime has connected %d times, want once: it has dropped the driver", n)
	}
	s = w.sandbox(p, "s2") // the kubelet tries again
	w.must(w.run(s))
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	w.finish(p, s)
}

// TestFrozenDriver checks that a pod which the runtime starts without its link,
// because the driver did not answer in time, gets no container without it; and
// that the driver does not act on the old request when it comes to.
func TestFrozenDriver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	w.must(w.prepare(p))
	s := w.sandbox(p, "s1")
	w.must(w.driver.Process.Signal(syscall.SIGSTOP))
	thaw := func() { w.must(w.driver.Process.Signal(syscall.SIGCONT)) }
	t.Cleanup(func() { w.driver.Process.Signal(syscall.SIGCONT) })
	w.must(w.run(s)) // this is NRI's answer to a timeout
	w.refused(w.create(s), errOCI)
	w.isHome()
	w.connections = w.runtime.synchronized()
	thaw()
	w.hooked()
	w.must(w.create(s)) // late
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	w.finish(p, s)
}

// TestFrozenWhilePodEnds holds the same for a pod that the runtime ends and
// forgets while the driver does not answer.
func TestFrozenWhilePodEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.must(w.driver.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { w.driver.Process.Signal(syscall.SIGCONT) })
	w.end(s) // the namespace is gone
	w.connections = w.runtime.synchronized()
	w.must(w.driver.Process.Signal(syscall.SIGCONT))
	w.hooked()
	w.unprepare(p)
	w.isHome()
	w.nothingLeft()
	w.says(c, "False", "Detached")
}

// TestConnectionLost checks that a pod which starts while the driver is not
// connected gets its link as soon as it is, and no container before.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	w.must(w.prepare(p))
	w.runtime.gate.cut()
	w.eventually("the driver has seen it", func() bool { return !w.healthy("/readyz") })
	s := w.sandbox(p, "s1")
	w.must(w.run(s))
	w.refused(w.create(s), errOCI)
	w.isHome()
	w.connections = w.runtime.synchronized()
	w.runtime.gate.mend()
	w.hooked()
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	w.finish(p, s)
}

// TestRuntimeRestarts checks that the driver finds a new runtime, that pods keep
// their links, and that the kubelet's word alone restores them: containerd
// sends no hooks for pods that are older than itself.
func TestRuntimeRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.restartRuntime()
	w.hooked()
	w.has(s, "h0", "net1")
	w.must(w.create(s))
	w.endUnseen(s)
	w.unprepare(p)
	w.isHome()
	w.nothingLeft()
	w.says(c, "False", "Detached")
}

// restartRuntime ends the runtime and starts another. Pods go on running.
func (w *world) restartRuntime() {
	w.t.Helper()
	w.runtime.stop()
	w.startRuntime(w.runtime.sandboxes...)
}

// TestRuntimeAwayWhenPodStarts checks that Prepare says that no hook would come.
func TestRuntimeAwayWhenPodStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	w.claim("c", "h0", "net1", p)
	w.runtime.stop()
	w.eventually("the driver is not ready without a runtime", func() bool { return !w.healthy("/readyz") && w.healthy("/livez") })
	if err := w.prepare(p); err == nil || !strings.Contains(err.Error(), "NRI") {
		t.Errorf("prepare without a runtime: %v, want an error that names NRI", err)
	}
	w.startRuntime()
	w.hooked()
	w.eventually("the kubelet prepares the claim", func() bool { return w.prepare(p) == nil })
	s := w.sandbox(p, "s1")
	w.must(w.run(s))
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	w.finish(p, s)
}

// TestCRIOOrder checks that the link survives the end of the pod's namespace:
// CRI-O takes it away first, and then calls the hook with its path.
func TestCRIOOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.removeNetNS(s)
	w.stopHook(s)
	w.isHome()
	w.says(c, "False", "Detached")
	w.removeHook(s)
	w.unprepare(p)
	w.nothingLeft()

	// The path is somebody else's by now: only the namespace's cookie counts.
	p2 := w.pod("next", "c2")
	w.claim("c2", "h0", "net1", p2)
	w.must(w.prepare(p2))
	s2 := w.sandbox(p2, "s2")
	w.must(w.run(s2))
	w.removeNetNS(s2)
	other := w.sandbox(w.pod("other"), "s2")
	other.ns.Run("ip link add net1 type ifb")
	w.stopHook(s2)
	w.isHome()
	other.ns.Run("ip link show net1")
	w.removeHook(s2)
	w.unprepare(p2)
}

// TestNewSandbox checks that a pod's new sandbox gets the link when the old one
// was killed, whether or not the driver has heard of its end.
func TestNewSandbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.end(s)
	w.isHome()
	w.says(c, "False", "Detached")
	w.must(w.prepare(p)) // the kubelet knows that it is: no call
	second := w.sandbox(p, "s2")
	w.must(w.run(second))
	w.must(w.create(second))
	w.has(second, "h0", "net1")

	third := w.sandbox(p, "s3")
	w.must(w.run(third))
	w.must(w.create(third))
	w.has(third, "h0", "net1")
	w.lacks(second)
	w.refused(w.create(second), errNRI)
	w.end(second) // late: not the link's any more
	w.has(third, "h0", "net1")
	w.says(c, "True", "Attached")
	w.finish(p, third)
}

// lacks fails the test if the sandbox has a link beside lo.
func (w *world) lacks(s *sandbox) {
	w.t.Helper()
	if all := lines(s.ns, "ip -oneline link show"); len(all) != 1 {
		w.t.Errorf("sandbox %s has links: %q", s.Id, all)
	}
}
