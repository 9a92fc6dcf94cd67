package driver

import (
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestSampleOfAnEndedPod holds that a sample which was taken just before the
// link went home does not say Attached again afterwards.
func TestSampleOfAnEndedPod(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	stale := w.driver.attachedNow()
	w.end(p)
	w.eventually("the end in the claim", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonDetached })
	w.driver.counted(w.ctx, stale[0], v1alpha1.Statistics{TxBytes: 1})
	time.Sleep(200 * time.Millisecond) // the writer's
	if ready, reason, _, _, _ := w.device(c); ready != "False" || reason != v1alpha1.ReasonDetached {
		t.Errorf("the claim says %s, %s", ready, reason)
	}
}
