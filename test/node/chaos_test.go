package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestDriverKilledInHooks kills the driver at random moments while it attaches
// and detaches three links. A pod's container runs with all of them or not at
// all, and whatever a driver leaves behind the next one finishes.
func TestDriverKilledInHooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c0", "c1", "c2")
	for i, link := range []string{"h0", "h1", "h2"} {
		w.claim("c"+link[1:], link, []string{"net0", "net1", "net2"}[i], p)
	}
	w.must(w.prepare(p))
	const kills = 30
	var without, with, atEnd int
	for n := range kills {
		s := w.sandbox(p, "s"+strconv.Itoa(n))
		ending := n%3 == 2
		hook := func() { w.runtime.RunPodSandbox(w.ctx, runRequest(s)) }
		if ending {
			w.must(w.run(s))
			hook = func() { w.runtime.StopPodSandbox(w.ctx, stopRequest(s)) }
		}
		done := make(chan struct{})
		go func() {
			hook()
			close(done)
		}()
		// Three links take 60 ms, and longer beside other tests. A third of the
		// kills is to come before the records say that they are on their way.
		within := 120_000
		if n%3 == 0 {
			within = 4_000
		}
		time.Sleep(time.Duration(rand.IntN(within)) * time.Microsecond)
		w.kill()
		<-done
		// Nobody but the OCI hook sees the container. It waits if the links are on
		// their way: the next driver goes on with them.
		made := make(chan error, 1)
		go func() { made <- w.create(s) }()
		w.startDriver()
		w.hooked()
		err := <-made
		switch {
		case ending:
			atEnd++
		case err == nil:
			with++
			w.has(s, "h0", "net0")
		default:
			without++
			if !errors.Is(err, errOCI) && !errors.Is(err, errNRI) {
				w.refused(err, errOCI)
			}
			// Late, and perhaps not at once: what was cut off is restored first.
			w.eventually("the container is made", func() bool { err = w.create(s); return err == nil }, func() string { return fmt.Sprint(err) })
			w.has(s, "h0", "net0")
		}
		w.end(s)
		w.eventually("the links are restored", func() bool { return w.host.Snapshot() == w.before })
		if left, _ := os.ReadDir(w.dir + "/state/netns"); len(left) > 0 {
			t.Fatalf("after kill %d pins are left: %v", n, left)
		}
	}
	t.Logf("%d kills: %d before all links were there, %d after, %d in the detach", kills, without, with, atEnd)
	if without == 0 {
		t.Error("no kill came before the links were there: the test tests nothing")
	}
	w.ready()
	w.unprepare(p)
}
