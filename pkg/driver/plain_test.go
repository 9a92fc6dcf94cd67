package driver

import (
	"slices"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
)

// plainLimit is what a handler may take for a pod without claims, median.
const plainLimit = 50 * time.Microsecond

// TestPlainPod checks that the handlers of a pod without claims take next to no
// time while the store has records of others: they hold up all pods of the node.
func TestPlainPod(t *testing.T) {
	w := newWorld(t, "")
	w.prepared("default", "c") // 32 devices
	plain, h := w.pod("plain", "s1"), w.driver.runtime.handlers
	time.Sleep(100 * time.Millisecond) // the store's directory has not changed for a while
	tests := []struct {
		name string
		call func() error
	}{
		{"RunPodSandbox", func() error { return h.runSandbox(w.ctx, plain.PodSandbox) }},
		{"CreateContainer", func() error {
			_, err := h.createContainer(w.ctx, plain.PodSandbox, &api.Container{Id: "c", Name: "c", Env: []string{"PATH=/bin", "HOME=/"}})
			return err
		}},
		{"StopPodSandbox", func() error { return h.endSandbox(w.ctx, plain.PodSandbox) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			times := make([]time.Duration, 501)
			for i := range times {
				start := time.Now()
				must(t, tt.call())
				times[i] = time.Since(start)
			}
			slices.Sort(times)
			t.Logf("%v median, %v p95", times[len(times)/2], times[len(times)*95/100])
			if got := times[len(times)/2]; got > plainLimit {
				t.Errorf("the handler takes %v, want at most %v", got, plainLimit)
			}
		})
	}
	if n := len(w.driver.store.All()); n != 32 {
		t.Errorf("the store has %d records, want 32", n)
	}
	for _, r := range w.driver.store.All() {
		must(t, w.driver.store.Release(r.Key()))
	}
}
