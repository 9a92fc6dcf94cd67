package driver

import (
	"slices"
	"testing"
	"time"
)

// guardLimit is how much later a container may start because it is looked at
// whether it has its links.
const guardLimit = 15 * time.Millisecond

// TestContainerThatNamesNoClaim holds that no container of a pod begins before
// the pod's links are there, though it is another one that uses them.
func TestContainerThatNamesNoClaim(t *testing.T) {
	w := newWorld(t, "")
	c, p, other := w.claim("c", "h0", net1, "web"), w.pod("web", "s1"), w.pod("other", "s2")
	must(t, w.prepare(c))
	must(t, w.create(other))
	// The sandbox was made while the hooks were away.
	p.ns.Run("ip link add net1 type ifb")
	refused(t, w.create(p), "the name net1 is taken")
	p.ns.Run("ip link del net1")
	must(t, w.create(p))
	if !has(p, "net1") || has(other, "net1") {
		t.Error("the link is not where it belongs")
	}
	must(t, w.create(p))
	w.end(p)
	w.home()
}

// TestSandboxUnseen holds that a pod whose sandbox was made anew while the
// hooks were away, so that the end of the last one and the start of the new
// one went unseen, gets its link when its container is made.
func TestSandboxUnseen(t *testing.T) {
	w := newWorld(t, "")
	c := w.claim("c", "h0", net1, "web")
	must(t, w.prepare(c))
	first, next := w.pod("web", "s1"), w.pod("web", "s2")
	must(t, w.run(first))
	w.forget(first)
	first.ns.Close()
	must(t, w.create(next, c))
	if !has(next, "net1") {
		t.Error("the new sandbox lacks the link")
	}
	refused(t, w.create(first, c), "is in a newer sandbox of the pod")
	w.end(next)
	w.home()
}

// TestGuardTime holds how long the runtime waits for the driver's word on a
// container that has its link.
func TestGuardTime(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	var times []time.Duration
	for range 200 {
		start := time.Now()
		must(t, w.create(p, c))
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	p50, p95 := times[len(times)/2], times[len(times)*95/100]
	t.Logf("a container waits %v for the hook (p50; p95 %v)", p50, p95)
	if p50 > guardLimit {
		t.Errorf("a container waits %v for the hook, want at most %v", p50, guardLimit)
	}
	w.end(p)
	w.home()
}
