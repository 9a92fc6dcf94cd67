package attachment

import (
	"fmt"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

// TestNextPodAtOnce checks that a second pod on a claim gets the links though its
// sandbox begins as soon as Detach of the first pod's has returned: the runtime
// calls the one handler right after the other.
func TestNextPodAtOnce(t *testing.T) {
	w := newResumeWorld(t, 2)
	for _, r := range w.store.All() {
		r.Pods = append(r.Pods, allocation.Ref{Name: "next", UID: "uid-next"})
		must(t, w.store.Put(r))
	}
	last := allocation.Sandbox{}
	for i := range 30 {
		s := allocation.Sandbox{ID: fmt.Sprintf("s-%d", i), PodUID: []string{"uid-web", "uid-next"}[i%2], NetNS: w.pod.Path}
		w.engine.Detach(t.Context(), last)
		if err := w.engine.Attach(t.Context(), s); err != nil {
			t.Fatalf("sandbox %d: %v", i, err)
		}
		must(t, w.engine.Await(t.Context(), s))
		last = s
	}
	w.engine.Detach(t.Context(), last)
}
