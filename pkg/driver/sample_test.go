package driver

import (
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestSampleOfAnEndedPod checks that a sample which was taken just before the
// link was detached does not report Attached again afterwards.
func TestSampleOfAnEndedPod(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	stale := w.driver.engine.Observe(w.ctx)
	w.end(p)
	w.eventually("the end in the claim", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonDetached })
	w.driver.status.add(stale[0].Record.Claim.UID)
	time.Sleep(200 * time.Millisecond) // the writer's
	if ready, reason, _, _, _ := w.device(c); ready != "False" || reason != v1alpha1.ReasonDetached {
		t.Errorf("the claim reports %s, %s", ready, reason)
	}
}
