package node

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/plugins/default-validator/builtin"
	rspec "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// keepNames are parameters with which each interface keeps its name.
var keepNames = fmt.Sprintf(`{"apiVersion":%q,"kind":%q}`, v1alpha1.GroupVersion, v1alpha1.ConfigKind)

// claimOf makes a claim with several devices, whose interfaces keep their names.
func (w *world) claimOf(name string, devices []string, pods ...*corev1.Pod) *resourceapi.ResourceClaim {
	w.t.Helper()
	var results []result
	for _, d := range devices {
		results = append(results, result{driverName, w.node, d})
	}
	return w.allocateWith(w.newClaim(name), results, keepNames, pods...)
}

// xs are the names of the node's simple links from the first to before the last.
func xs(first, last int) (names []string) {
	for i := first; i < last; i++ {
		names = append(names, fmt.Sprintf("x%d", i))
	}
	return names
}

// hasAll fails the test unless the sandbox has so many of the node's simple
// links, all of them up.
func (w *world) hasAll(s *sandbox, n int) {
	w.t.Helper()
	for _, x := range xs(0, n) {
		if l, err := read(s.ns, x); err != nil || !l.Up {
			w.t.Errorf("sandbox %s: %s is %+v, %v, want it up", s.Id, x, l, err)
		}
	}
}

// moved counts the node's simple links in the sandbox.
func (w *world) moved(s *sandbox) (n int) {
	w.t.Helper()
	for _, line := range lines(s.ns, "ip -oneline link show type ifb") {
		if strings.Contains(line, ": x") {
			n++
		}
	}
	return n
}

// attaching counts the interfaces that are on their way into the sandbox.
func (w *world) attaching(s *sandbox) (n int) {
	w.t.Helper()
	for _, a := range w.attachments() {
		if a.Sandbox.ID == s.Id && !a.Deadline.IsZero() {
			n++
		}
	}
	return n
}

// start is the handler of a new sandbox, which does not wait for the links.
func (w *world) start(s *sandbox) {
	w.t.Helper()
	r := w.runtime
	r.mu.Lock()
	r.sandboxes = append(r.sandboxes, s.PodSandbox)
	r.mu.Unlock()
	w.must(r.RunPodSandbox(w.ctx, runRequest(s)))
}

// trust shows the drivers that the runtime handler of this name runs hooks. Two
// of them ask for the same container one after the other, and wait both: so
// each sees a hook of its own.
func (w *world) trust(handler string, drivers int) {
	w.t.Helper()
	for i := range drivers {
		name := fmt.Sprintf("trusted%d", i)
		p := w.pod(name, name)
		w.claimOf(name, append(xs(0, w.simple), "h2"), p)
		w.must(w.prepare(p))
		s := w.sandbox(p, name)
		s.RuntimeHandler = handler
		w.start(s)
		w.must(w.create(s))
		w.finish(p, s)
	}
}

// freeze stops the process of a driver until thaw is called.
func (w *world) freeze(d *process) (thaw func()) {
	w.t.Helper()
	w.must(d.Process.Signal(syscall.SIGSTOP))
	w.eventually("the driver has stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.Process.Pid))
		w.must(err)
		_, after, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(after, "T")
	})
	thaw = func() { d.Process.Signal(syscall.SIGCONT) }
	w.t.Cleanup(thaw)
	return thaw
}

// midway is a pod whose container's runtime hook waits for interfaces of which
// some are in the pod, with the driver stopped.
type midway struct {
	pod   *corev1.Pod
	claim *resourceapi.ResourceClaim
	*sandbox
	n    int
	made <-chan error // the hook's answer
	thaw func()
}

// midway makes a pod with n simple links of which some have arrived. The
// driver that moves them must be w.driver.
func (w *world) midway(n int) *midway {
	w.t.Helper()
	w.trust("", 1)
	return w.midwayOf(w.driver, n)
}

func (w *world) midwayOf(driver *process, n int) *midway {
	w.t.Helper()
	m := &midway{pod: w.pod("web", "c"), n: n}
	m.claim = w.claimOf("c", xs(0, n), m.pod)
	m.sandbox = w.sandbox(m.pod, "s1")
	w.must(w.prepare(m.pod))
	c, err := w.container(m.sandbox)
	w.must(err)
	w.start(m.sandbox)
	hooks, err := w.ask(m.sandbox, c)
	w.must(err)
	m.thaw = w.freeze(driver)
	for w.moved(m.sandbox) == 0 {
		m.thaw()
		time.Sleep(10 * time.Millisecond)
		m.thaw = w.freeze(driver)
	}
	if n := w.attaching(m.sandbox); n != m.n {
		w.t.Fatalf("%d interfaces are on their way, %d moved, want %d on their way: the test is too late", n, w.moved(m.sandbox), m.n)
	}
	m.made = w.background(m.sandbox, c.Id, hooks)
	return m
}

// background runs the hooks of a container, and returns when the first one has
// begun.
func (w *world) background(s *sandbox, id string, hooks []rspec.Hook) <-chan error {
	w.t.Helper()
	made := make(chan error, 1)
	go func() { made <- w.ociHooks(s, id, hooks) }() // ends with the hooks
	w.eventually("the hook runs", func() bool {
		marks, _ := os.ReadDir(w.dir + "/state/hookruns")
		for _, m := range marks {
			if text, _ := os.ReadFile(w.dir + "/state/hookruns/" + m.Name()); string(text) == id {
				return true
			}
		}
		return false
	})
	select {
	case err := <-made:
		w.t.Fatalf("the hook did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	return made
}

// answer is a hook's, which must come.
func (w *world) answer(made <-chan error) error {
	w.t.Helper()
	select {
	case err := <-made:
		return err
	case <-time.After(soon):
		w.t.Fatalf("the hook has not ended within %v", soon)
		return nil
	}
}

// TestManyInterfaces checks that a pod can have as many interfaces as a claim
// or more, that the handlers of its sandbox do not wait for them, and that all
// are restored.
//
// It is about time, so no other test runs meanwhile.
func TestManyInterfaces(t *testing.T) {
	tests := []struct {
		name   string
		claims [][]string
		n      int
	}{
		{"24 of one claim", [][]string{xs(0, 24)}, 24},
		{"32 of one claim", [][]string{xs(0, 32)}, 32},
		{"32 of four claims", [][]string{xs(0, 8), xs(8, 16), xs(16, 24), xs(24, 32)}, 32},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldOf(t, tt.n)
			var names []string
			for i := range tt.claims {
				names = append(names, fmt.Sprintf("c%d", i))
			}
			p := w.pod("web", names...)
			for i, devices := range tt.claims {
				w.claimOf(names[i], devices, p)
			}
			w.must(w.prepare(p))
			s := w.sandbox(p, "s1")
			started := time.Now()
			w.start(s)
			if took := time.Since(started); took > 500*time.Millisecond {
				t.Errorf("the handler of the sandbox took %v, want at most 500ms", took)
			} else {
				t.Logf("the handler of the sandbox took %v", took)
			}
			// The first container of a runtime handler waits in the handler, which may
			// be too short for so many on a busy machine; the kubelet asks again.
			var err error
			w.eventually("the container is made", func() bool { err = w.create(s); return err == nil }, func() string { return fmt.Sprint(err) })
			t.Logf("the container was made %v after the sandbox", time.Since(started))
			w.hasAll(s, tt.n)
			started = time.Now()
			w.must(w.runtime.StopPodSandbox(w.ctx, stopRequest(s)))
			if took := time.Since(started); took > 500*time.Millisecond {
				t.Errorf("the handler of the sandbox's end took %v, want at most 500ms", took)
			}
			w.finish(p, s)
		})
	}
}

// TestInterruptedAttach checks what becomes of a container that waits for its
// interfaces when something happens to the driver, the runtime, the kubelet or
// the pod: it is made with all of them, but for a pod that has ended.
func TestInterruptedAttach(t *testing.T) {
	t.Parallel()
	none := func(*world, *midway) {}
	tests := []struct {
		name    string
		during  func(*world, *midway) // the driver is stopped
		after   func(*world, *midway) // the container's hook has ended
		refused string                // what the hook answers; empty: the container is made
	}{
		{"the driver is killed", func(w *world, _ *midway) {
			w.kill()
			w.startDriver()
		}, func(w *world, _ *midway) { w.ready() }, ""},
		{"a newer instance starts, and the older one is killed", func(w *world, _ *midway) {
			older := w.driver
			w.startDriver("--pod-uid=newer")
			w.hooked()
			w.must(older.Process.Kill())
			<-older.exited
		}, func(w *world, _ *midway) { w.ready() }, ""},
		{"the sandbox ends", func(w *world, m *midway) {
			stopped := make(chan error, 1)
			go func() { stopped <- w.runtime.StopPodSandbox(w.ctx, stopRequest(m.sandbox)) }() // ends with the handler
			time.Sleep(50 * time.Millisecond)
			m.thaw()
			w.check(<-stopped)
		}, none, "was not moved into this pod's network namespace"},
		{"the connection to the runtime is cut", func(w *world, m *midway) {
			w.runtime.gate.cut()
			m.thaw()
		}, func(w *world, m *midway) {
			w.connections = w.runtime.synchronized()
			w.runtime.gate.mend()
			w.hooked()
		}, ""},
		{"the runtime restarts", func(w *world, m *midway) {
			w.restartRuntime()
			m.thaw()
		}, func(w *world, _ *midway) { w.hooked() }, ""},
		{"the kubelet restarts", func(w *world, m *midway) {
			w.kubelet.stop()
			m.thaw()
			w.startKubelet()
		}, func(w *world, m *midway) {
			w.registered()
			w.must(w.prepare(m.pod))
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, 12)
			m := w.midway(12)
			tt.during(w, m)
			err := w.answer(m.made)
			tt.after(w, m)
			if tt.refused != "" {
				w.refused(err, errOCI)
				if !strings.Contains(fmt.Sprint(err), tt.refused) {
					t.Errorf("the hook: %v, want %q", err, tt.refused)
				}
				w.isHome()
				w.says(m.claim, "False", "AttachFailed")
			} else {
				w.check(err)
				w.hasAll(m.sandbox, m.n)
				w.says(m.claim, "True", "Attached")
			}
			w.finish(m.pod, m.sandbox)
		})
	}
}

// TestOlderInstanceKilled checks that of two instances the newer one goes on at
// once with the attach that the older one had begun, when that is killed.
func TestOlderInstanceKilled(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, 12)
	older := w.driver
	w.startDriver("--pod-uid=newer")
	w.hooked()
	w.trust("", 2)
	m := w.midwayOf(older, 12)
	w.must(older.Process.Kill())
	<-older.exited
	killed := time.Now()
	w.must(w.answer(m.made))
	if took := time.Since(killed); took > 3*time.Second {
		t.Errorf("the container was made %v after the kill: nobody went on before the next reconciliation", took)
	}
	w.hasAll(m.sandbox, m.n)
	w.says(m.claim, "True", "Attached")
	w.ready()
	w.finish(m.pod, m.sandbox)
}

// TestSlowMoves checks that a container waits for eight interfaces of which each
// takes a quarter of a second, longer than a handler of the runtime could; that
// all are restored just as slowly; and that a container whose runtime is not
// known to run hooks is refused in time.
//
// The lock is the whole kernel's, so no other test runs meanwhile.
func TestSlowMoves(t *testing.T) {
	tests := []struct {
		name   string
		trusts bool
	}{
		{"the container's hook waits", true},
		{"the handler waits", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const n, slow = 8, 300 * time.Millisecond
			w := newWorldOf(t, n)
			if tt.trusts {
				w.trust("", 1)
			}
			p := w.pod("web", "c")
			claim := w.claimOf("c", xs(0, n), p)
			w.must(w.prepare(p))
			s := w.sandbox(p, "s1")
			c, err := w.container(s)
			w.must(err)
			w.start(s)
			thaw := w.freeze(w.driver)
			stop := nstest.SlowRTNL(t, slow, time.Millisecond)
			thaw()
			started := time.Now()
			hooks, err := w.ask(s, c)
			took := time.Since(started)
			t.Logf("the handler took %v: %v", took, err)
			if (err == nil) != tt.trusts || took > nriTimeout {
				t.Errorf("the handler came back after %v with %v", took, err)
			}
			w.eventually("the container is made", func() bool {
				if err == nil {
					err = w.ociHooks(s, c.Id, hooks)
					w.must(err)
					return true
				}
				w.refused(err, errNRI)
				hooks, err = w.ask(s, c)
				return false
			})
			took = time.Since(started)
			t.Logf("the container was made after %v", took)
			if took < nriTimeout {
				t.Errorf("the container was made after %v, want more than %v: the test tests nothing", took, nriTimeout)
			}
			stop()
			w.hasAll(s, n)
			w.says(claim, "True", "Attached")
			if tt.trusts {
				stop = nstest.SlowRTNL(t, slow, time.Millisecond)
			}
			w.end(s)
			stop()
			w.isHome()
			w.unprepare(p)
			w.nothingLeft()
			if n := w.runtime.synchronized(); n != w.connections+1 {
				t.Errorf("the runtime has connected %d times, want once: it has dropped the driver", n)
			}
		})
	}
}

// TestNamespaceGone checks that interfaces are restored though the pod's
// namespace is gone from its path while they are moved into it, whoever reports
// the end of the sandbox.
func TestNamespaceGone(t *testing.T) {
	t.Parallel()
	for name, reported := range map[string]bool{"the runtime reports the end": true, "the kubelet alone reports the end": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, 12)
			m := w.midway(12)
			w.removeNetNS(m.sandbox)
			m.thaw()
			w.check(w.answer(m.made)) // its process is in the namespace all the time
			if reported {
				w.stopHook(m.sandbox)
				w.isHome()
				w.removeHook(m.sandbox)
			} else {
				w.runtime.forget(m.sandbox)
			}
			w.unprepare(m.pod)
			w.isHome()
			w.nothingLeft()
			w.says(m.claim, "False", "Detached")
		})
	}
}

// TestLateFailure checks what becomes of an attach that fails after the handler
// of the sandbox has answered: the hook refuses the container and names the
// reason, as do the claims, all is restored on the host, and the next container
// of the pod is made once the reason is gone.
func TestLateFailure(t *testing.T) {
	t.Parallel()
	const n = 12
	w := newWorldOf(t, n+1)
	w.trust("", 1)
	p := w.pod("web", "c", "last")
	claims := []*resourceapi.ResourceClaim{
		w.claimOf("c", xs(0, n), p),
		w.allocateWith(w.newClaim("last"), []result{{driverName, w.node, "x12"}}, fmt.Sprintf(`{"apiVersion":%q,"routes":[{"destination":"10.66.0.0/16"}],"kind":%q}`, v1alpha1.GroupVersion, v1alpha1.ConfigKind), p),
	}
	s := w.sandbox(p, "s1")
	s.ns.Lines("ip link set lo up\nip route add 10.66.0.0/16 dev lo")
	w.must(w.prepare(p))
	w.start(s)
	err := w.create(s)
	w.refused(err, errOCI)
	const reason = "add route 10.66.0.0/16"
	if !strings.Contains(fmt.Sprint(err), reason) {
		t.Errorf("the hook: %v, want to read %q", err, reason)
	}
	for _, c := range claims {
		if got := w.says(c, "False", "AttachFailed"); !strings.Contains(got.message, reason) {
			t.Errorf("claim %s: %s, want to read %q", c.Name, got.message, reason)
		}
	}
	w.isHome()
	w.lacks(s)
	s.ns.Run("ip route del 10.66.0.0/16 dev lo")
	w.must(w.create(s))
	w.hasAll(s, n+1)
	for _, c := range claims {
		w.says(c, "True", "Attached")
	}
	w.finish(p, s)
}

// TestHookMissing checks that a container without the runtime hook that CDI adds
// gets one while its interfaces are on their way, unless the runtime takes none
// of a plugin: then it is refused until they have arrived.
func TestHookMissing(t *testing.T) {
	t.Parallel()
	for name, rejects := range map[string]bool{"the runtime takes hooks": false, "the runtime takes no hooks": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 12
			w := newWorldOf(t, n)
			w.trust("", 1)
			w.runtimeOptions = append(w.runtimeOptions, adaptation.WithDefaultValidator(&builtin.DefaultValidatorConfig{Enable: rejects, RejectOCIHookAdjustment: rejects}))
			w.runtime.stop()
			w.eventually("the driver has seen it", func() bool { return !w.healthy("/readyz") })
			w.startRuntime()
			w.eventually("the driver is ready", func() bool { return w.healthy("/readyz") })
			p := w.pod("web", "c", "other")
			w.claimOf("c", xs(0, n-1), p)
			w.claimOf("other", xs(n-1, n), p)
			w.must(w.prepare(p))
			s := w.sandbox(p, "s1")
			c, err := w.container(s)
			w.must(err)
			whole := c.Hooks
			c.Hooks = nil
			w.start(s)
			hooks, err := w.ask(s, c)
			if w.attaching(s) == 0 {
				t.Error("the interfaces have arrived: the test tests nothing")
			}
			if rejects {
				w.refused(err, errNRI)
				if !strings.Contains(fmt.Sprint(err), "restricted OCI hook injection") {
					t.Errorf("the container: %v, want it refused by the validator", err)
				}
				w.await("the interfaces have arrived", func(a attachment) bool { return a.Deadline.IsZero() })
				hooks, err = w.ask(s, c)
				w.must(err)
				if len(hooks) > 0 {
					t.Errorf("the container has the hooks %v, want none: its interfaces are there", hooks)
				}
			} else {
				w.must(err)
				if len(hooks) != 1 || len(hooks[0].Args) != 1+2*n {
					t.Errorf("the container has the hooks %v, want one, with %d records", hooks, n)
				}
				w.must(w.ociHooks(s, c.Id, hooks))
			}
			w.hasAll(s, n)
			w.end(s)
			w.isHome()

			// One with CDI's hook needs no other.
			s = w.sandbox(p, "s2")
			c.Id, c.PodSandboxId, c.Hooks = "c-s2", "s2", whole
			w.start(s)
			hooks, err = w.ask(s, c)
			w.must(err)
			if n := w.attaching(s); n == 0 || len(hooks) != 2 {
				t.Errorf("%d interfaces are on their way, %d hooks: want some, and a hook for each claim", n, len(hooks))
			}
			w.must(w.ociHooks(s, c.Id, hooks))
			w.hasAll(s, n)
			w.finish(p, s)
		})
	}
}

// TestRuntimeHandlers checks that a container waits for its interfaces before it
// is made, not in its hook, until a hook has been seen to run for a container of
// the same runtime handler: some run none.
func TestRuntimeHandlers(t *testing.T) {
	t.Parallel()
	const n = 12
	w := newWorldOf(t, n)
	p := w.pod("web", "c")
	w.claimOf("c", xs(0, n), p)
	w.must(w.prepare(p))
	for i, step := range []struct {
		handler string
		runs    bool // the hook
		waits   bool // the handler of the container
	}{
		{"", true, true},
		{"", true, false},
		{"kata", false, true},
		{"kata", false, true},
		{"kata", true, true},
		{"kata", true, false},
		{"", true, false},
		{"gvisor", true, true},
	} {
		s := w.sandbox(p, fmt.Sprintf("s%d", i))
		s.RuntimeHandler = step.handler
		c, err := w.container(s)
		w.must(err)
		w.start(s)
		hooks, err := w.ask(s, c)
		on := w.attaching(s)
		w.must(err)
		if waits := on == 0; waits != step.waits {
			t.Errorf("step %d: %d interfaces are on their way when the handler %q has answered: it waits %t, want %t", i, on, step.handler, waits, step.waits)
		}
		if step.runs {
			w.must(w.ociHooks(s, c.Id, hooks))
			w.hasAll(s, n)
		}
		w.end(s)
		w.isHome()
	}
	w.unprepare(p)
}

// TestPodBeside checks that the sandbox and the container of a pod without claims
// hardly wait for another pod's interfaces.
//
// It is about time, so no other test runs meanwhile, and one try of ten is
// enough: other programs that hold the kernel's lock delay the pods as well.
func TestPodBeside(t *testing.T) {
	const n, most, tries = 20, 60 * time.Millisecond, 10
	w := newWorldOf(t, n)
	w.trust("", 1)
	plain := w.sandbox(w.pod("plain"), "plain")
	c := &api.Container{Id: "c-plain", PodSandboxId: "plain", Name: "c"}
	handlers := func() time.Duration {
		started := time.Now()
		w.must(w.runtime.RunPodSandbox(w.ctx, runRequest(plain)))
		_, err := w.ask(plain, c)
		w.must(err)
		return time.Since(started)
	}
	var alone []time.Duration
	for range 51 {
		alone = append(alone, handlers())
	}
	slices.Sort(alone)
	p := w.pod("web", "c")
	w.claimOf("c", xs(0, n), p)
	w.must(w.prepare(p))
	best, limit := time.Hour, alone[len(alone)/2]+most
	for i := 0; i < tries && best > limit; i++ {
		s := w.sandbox(p, fmt.Sprintf("s%d", i))
		begun := make(chan struct{})
		go func() { // ends with the handler
			defer close(begun)
			w.start(s)
		}()
		time.Sleep(5 * time.Millisecond) // the other pod's handler runs
		var beside []time.Duration
		for first := true; first || w.attaching(s) > 0; first = false {
			beside = append(beside, handlers())
		}
		<-begun
		slices.Sort(beside)
		t.Logf("a plain pod waits %v alone (median), beside %d interfaces %v at most, median %v of %d", alone[len(alone)/2], n, beside[len(beside)-1], beside[len(beside)/2], len(beside))
		if len(beside) < 3 {
			t.Errorf("only %d plain pods began beside the attach: the test tests nothing", len(beside))
		}
		best = min(best, beside[len(beside)-1])
		w.must(w.create(s))
		w.end(s)
		w.isHome()
	}
	if best > limit {
		t.Errorf("a plain pod waits %v beside %d interfaces, want at most %v more than the %v that it waits alone", best, n, most, alone[len(alone)/2])
	}
	w.unprepare(p)
}
