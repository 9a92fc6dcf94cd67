package driver

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

// guardLimit is how much later a container may start because it is looked at
// whether it has its links.
const guardLimit = 15 * time.Millisecond

// TestLateContainer checks that a container of an older sandbox gets no link of
// a newer one, whether it names the claim or not, nor whether the hooks saw the
// older one begin.
func TestLateContainer(t *testing.T) {
	for _, seen := range []bool{true, false} {
		t.Run(fmt.Sprintf("seen=%t", seen), func(t *testing.T) {
			w := newWorld(t, "")
			c := w.claim("c", "h0", net1, "web")
			must(t, w.prepare(c))
			old, now := w.pod("web", "s1"), w.pod("web", "s2")
			if seen {
				must(t, w.run(old))
			}
			must(t, w.run(now))
			refused(t, w.create(old, c), "is in a newer sandbox of the pod")
			refused(t, w.create(old), "is in a newer sandbox of the pod")
			must(t, w.create(now, c))
			must(t, w.create(now))
			if !has(now, "net1") || has(old, "net1") {
				t.Error("the link is not in the newer sandbox")
			}
			w.end(now)
			w.restored()
		})
	}
}

// TestContainerOfReleasedClaim checks that a container is refused whose claim
// is gone, though its record stays until the link has its name.
func TestContainerOfReleasedClaim(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	w.host("ip link add h0 type ifb")
	w.unprepare(c)
	refused(t, w.create(p, c), "is not prepared")
	w.host("ip link del h0")
	w.driver.reconcile(w.ctx)
	w.restored()
}

// TestSlowAPIServer checks that an API server which does not answer makes no
// hook late.
func TestSlowAPIServer(t *testing.T) {
	w := newWorld(t, "")
	c, second := w.claim("c", "h0", net1, "web"), w.pod("second", "s2")
	must(t, w.prepare(c))
	answer := make(chan struct{})
	defer close(answer)
	var asks atomic.Int32
	w.client.PrependReactor("get", "resourceclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
		asks.Add(1)
		<-answer
		return false, nil, nil
	})
	h := w.driver.runtime.handlers
	asked := &api.Container{Name: "c", Env: []string{deviceEnv(w.driver.store.All()[0].Key())}}
	for _, limit := range []time.Duration{600 * time.Millisecond, handlerTimeout} {
		ctx, cancel := context.WithTimeout(w.ctx, limit)
		start := time.Now()
		_, err := h.createContainer(ctx, second.PodSandbox, asked)
		cancel()
		refused(t, err, "is not known to be reserved for this pod")
		if took := time.Since(start); took >= limit {
			t.Errorf("the hook took %v of %v", took, limit)
		}
	}
	if asks.Load() != 1 { // the second container waits for the first one's answer
		t.Errorf("the API server was asked %d times, want once", asks.Load())
	}
}

// TestContainerThatNamesNoClaim checks that no container of a pod begins before
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
	w.restored()
}

// TestSandboxUnseen checks that a pod whose sandbox was made anew while the
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
	w.restored()
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
	w.restored()
}
