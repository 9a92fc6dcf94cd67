package driver

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"golang.org/x/sys/unix"
	clienttesting "k8s.io/client-go/testing"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	floodEntries = 10_000
	floodLimit   = 15 * time.Millisecond // CPU of one call, median
)

// prepared enters claims of 32 devices each into the store, as prepared for
// another pod, and returns their environment entries.
func (w *world) prepared(namespace string, claims ...string) (entries []string) {
	w.t.Helper()
	for _, name := range claims {
		c := w.claim(name, "h0", net1, "somebody")
		for i := range 32 {
			a := allocation.Record{
				Claim: allocation.Ref{Namespace: namespace, Name: name, UID: string(c.UID)}, Pods: []allocation.Ref{{Namespace: namespace, Name: "somebody", UID: "uid-somebody"}}, Pool: nodeName,
				Device: inventory.Device{Name: fmt.Sprintf("%s-x%d", name, i), Link: netdev.Link{Name: fmt.Sprintf("x%d", i)}},
			}
			must(w.t, w.driver.store.Put(a))
			entries = append(entries, deviceEnv(a.Key()))
		}
	}
	return entries
}

// cpu is what this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// gets counts the questions for these claims since the actions were cleared.
func (w *world) gets(claims ...string) (n int) {
	for _, a := range w.client.Actions() {
		if get, ok := a.(clienttesting.GetAction); ok && get.GetVerb() == "get" && get.GetResource().Resource == "resourceclaims" && slices.Contains(claims, get.GetName()) {
			n++
		}
	}
	return n
}

// TestFloodedEnvironment checks that a container whose environment names ten
// thousand devices costs next to nothing: more than there can be are refused,
// the same ones over and over are looked at once, the API server is asked once
// for a claim of the pod's namespace and never for another's, and another pod's
// container does not wait.
func TestFloodedEnvironment(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	own, foreign := w.prepared("default", "ours"), w.prepared("elsewhere", "theirs")
	flood := w.pod("flood", "s2")
	h := w.driver.runtime.handlers
	many := make([]string, floodEntries)
	for i := range many {
		many[i] = fmt.Sprintf("%sX%d=uid-ours/none-%d", envPrefix, i, i)
	}
	tests := []struct {
		name string
		env  []string
		want string // of the refusal
		gets int    // of the API server, at most
	}{
		{"no such devices", many, "names more than 256 network devices", 0},
		{"all there are, over and over", slices.Repeat(slices.Concat(own, foreign), floodEntries/64), "is not known to be reserved for this pod", 1},
		{"another namespace's", slices.Repeat(foreign, floodEntries/32), "is not known to be reserved for this pod", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var spent []time.Duration
			asked := 0
			for range 9 {
				w.client.ClearActions()
				before := cpu(t)
				_, err := h.createContainer(w.ctx, flood.PodSandbox, &api.Container{Name: "c", Env: tt.env})
				spent = append(spent, cpu(t)-before)
				refused(t, err, tt.want)
				if len(err.Error()) > 1000 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
				n := w.gets("ours", "theirs")
				if asked += n; n > tt.gets {
					t.Errorf("%d questions to the API server, want at most %d", n, tt.gets)
				}
			}
			if tt.gets > 0 && asked == 0 {
				t.Error("the API server was never asked")
			}
			slices.Sort(spent)
			t.Logf("%d entries, 65 records: %v of CPU (median; most %v)", len(tt.env), spent[len(spent)/2], spent[len(spent)-1])
			if got := spent[len(spent)/2]; got > floodLimit {
				t.Errorf("a call took %v of CPU, want at most %v", got, floodLimit)
			}
		})
	}
	w.notDelayed(p, func() string {
		return deviceEnv(w.driver.store.Find(func(r allocation.Record) bool { return r.Attached() })[0].Key())
	}, func(ctx context.Context) {
		for ctx.Err() == nil {
			h.createContainer(w.ctx, flood.PodSandbox, &api.Container{Name: "c", Env: tests[1].env})
		}
	})
	w.end(p)
	w.unprepare(c)
	for _, a := range w.driver.store.All() {
		must(t, w.driver.store.Release(a.Key()))
	}
	w.restored()
}

// notDelayed fails the test unless a container of a pod that has its link
// starts as fast while something goes on as without it.
func (w *world) notDelayed(p pod, entry func() string, goesOn func(context.Context)) {
	w.t.Helper()
	h := w.driver.runtime.handlers
	asked := &api.Container{Name: "c", Env: []string{entry()}}
	median := func() time.Duration {
		var times []time.Duration
		for range 101 {
			start := time.Now()
			if _, err := h.createContainer(w.ctx, p.PodSandbox, asked); err != nil {
				w.t.Error(err)
			}
			times = append(times, time.Since(start))
		}
		slices.Sort(times)
		return times[len(times)/2]
	}
	alone := median()
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		goesOn(ctx)
	}()
	beside := median()
	cancel()
	<-done
	w.t.Logf("another pod's container waits %v alone, %v beside it (median)", alone, beside)
	if beside > alone+guardLimit {
		w.t.Errorf("another pod's container waits %v, %v when nothing else goes on", beside, alone)
	}
}
