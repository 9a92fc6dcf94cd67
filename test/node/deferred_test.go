package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	validator "github.com/containerd/nri/plugins/default-validator/builtin"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
)

const handlerLimit = 500 * time.Millisecond // for the answer of a handler, which moves nothing itself

// many makes n interfaces x0, x1, … on the host and a pod with a claim for all of
// them, which is prepared.
func (w *world) many(n int) (*corev1.Pod, *resourceapi.ResourceClaim) {
	w.t.Helper()
	var add, remove strings.Builder
	var results []result
	for i := range n {
		fmt.Fprintf(&add, "link add x%d type ifb\nlink set x%d up\naddr add 10.9.%d.1/24 dev x%d\n", i, i, i, i)
		fmt.Fprintf(&remove, "link del x%d\n", i)
		results = append(results, result{driverName, w.node, fmt.Sprintf("x%d", i)})
	}
	without := w.before
	w.batch(add.String())
	w.t.Cleanup(func() {
		w.batch(remove.String())
		w.before = without
	})
	w.eventually("all interfaces are published", func() bool { return len(w.published()) == n+4 })
	w.before = w.host.Settled()
	w.t.Cleanup(w.over) // before they are removed
	p := w.pod("web", "c")
	c := w.allocateWith(w.newClaim("c"), results, "{}", p)
	w.must(w.prepare(p))
	return p, c
}

// hasMany fails the test unless the sandbox has the first n interfaces of many.
func (w *world) hasMany(s *sandbox, n int) {
	w.t.Helper()
	out := s.ns.Run("ip -oneline -4 address show")
	for i := range n {
		if want := fmt.Sprintf(" 10.9.%d.1/24 ", i); !strings.Contains(out, want) {
			w.t.Errorf("the pod lacks %s", want)
		}
	}
}

// begin calls the handler of a new sandbox, and fails the test unless it answers
// soon.
func (w *world) begin(s *sandbox) {
	w.t.Helper()
	start := time.Now()
	w.must(w.runtime.RunPodSandbox(w.ctx, runRequest(s)))
	if took := time.Since(start); took > handlerLimit {
		w.t.Errorf("the handler of a new sandbox took %v, want %v", took, handlerLimit)
	}
}

// onTheWay is how many records say that their interface is on its way.
func (w *world) onTheWay() (n int) {
	for _, a := range w.attachments() {
		if !a.Deadline.IsZero() {
			n++
		}
	}
	return n
}

// TestManyInterfaces checks that a pod gets 24 and 32 interfaces, of which the
// kernel's moves take longer than a runtime waits for handlers on a slow machine,
// and that a pod without any waits for none of it.
func TestManyInterfaces(t *testing.T) {
	for _, n := range []int{24, 32} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(w.hookRuns())
			p, c := w.many(n)
			s := w.sandbox(p, "s1")
			w.begin(s)
			if w.onTheWay() == 0 {
				t.Error("the moves are over when the handler has answered: the test tests nothing")
			}
			plain := w.sandbox(w.pod("plain"), "s2")
			start := time.Now()
			w.must(w.runtime.RunPodSandbox(w.ctx, runRequest(plain)))
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("the sandbox of a pod without interfaces waited %v", took)
			}
			w.must(w.create(s))
			w.hasMany(s, n)
			w.says(c, "True", "Attached")
			w.finish(p, s)
		})
	}
}

// TestSlowMoves checks that a pod starts, and returns its interfaces, though
// each of the kernel's moves takes so long that all together take longer than a
// runtime waits for a handler.
//
// The lock is the whole kernel's, so no other test runs meanwhile.
func TestSlowMoves(t *testing.T) {
	const interfaces, hold = 8, 600 * time.Millisecond // of the lock, before each of the requests of a move
	w := newWorld(t)
	w.must(w.hookRuns())
	p, c := w.many(interfaces)
	program := filepath.Join(t.TempDir(), "holdrtnl")
	build := exec.Command("go", "build", "-o", program, "./internal/nstest/holdrtnl")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build holdrtnl: %v\n%s", err, out)
	}
	slow := func(during func()) time.Duration {
		stop := make(chan struct{})
		var holders sync.WaitGroup
		for range 2 { // one waits for the lock while the other has it
			holders.Go(func() { // ends with stop
				for {
					select {
					case <-stop:
						return
					default:
						exec.Command(program, "-for", hold.String()).Run()
					}
				}
			})
		}
		start := time.Now()
		during()
		took := time.Since(start)
		close(stop)
		holders.Wait()
		return took
	}
	s := w.sandbox(p, "s1")
	w.begin(s)
	took := slow(func() { w.must(w.create(s)) })
	t.Logf("%d interfaces took %v", interfaces, took)
	if took < nriTimeout {
		t.Errorf("the moves took %v, want them to take longer than %v: the test tests nothing", took, nriTimeout)
	}
	w.hasMany(s, interfaces)
	w.says(c, "True", "Attached")
	slow(func() { w.end(s) })
	w.isHome()
	w.unprepare(p)
	w.nothingLeft()
}

// TestAttachFailsLater checks that an attach that fails after the sandbox's
// handler has answered fails the container with the reason, that the claim has it
// too and the host is as before, and that the next container is well when the
// reason is gone.
func TestAttachFailsLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	w.must(w.prepare(p))
	s := w.sandbox(p, "s1")
	s.ns.Run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
	w.begin(s)
	err := w.create(s)
	if !errors.Is(err, errOCI) && !errors.Is(err, errNRI) || !strings.Contains(err.Error(), "2001:db8::1") {
		t.Errorf("the container: %v, want it refused with the address that the pod cannot have", err)
	}
	w.isHome()
	if got := w.says(c, "False", "AttachFailed"); !strings.Contains(got.message, "2001:db8::1") {
		t.Errorf("the claim has the message %q, want one with the address", got.message)
	}
	s.ns.Run("sysctl -qw net.ipv6.conf.default.disable_ipv6=0")
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	w.finish(p, s)
}

// TestEndsDuringAttach checks that the end of a sandbox ends its attach, with the
// namespace gone from its path before or after the runtime reports it, and that
// a container that waits is refused.
func TestEndsDuringAttach(t *testing.T) {
	for _, first := range []string{"namespace", "handler"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p, _ := w.many(16)
			s := w.sandbox(p, "s1")
			w.begin(s)
			made := make(chan error, 1)
			if first == "handler" {
				go func() { made <- w.create(s) }()
			}
			w.eventually("some have arrived", func() bool { return strings.Contains(s.ns.Run("ip -oneline link show"), "x1") })
			if first == "namespace" {
				w.sh("umount --lazy " + s.path)
				w.must(os.Remove(s.path))
				made <- errOCI
			}
			w.stopHook(s)
			if err := <-made; err == nil {
				t.Log("the container was made before the end")
			}
			w.removeNetNS(s)
			w.removeHook(s)
			w.isHome()
			w.unprepare(p)
			w.nothingLeft()
		})
	}
}

// TestKilledDuringAttach checks that a container that waits gets all interfaces
// though the driver is killed while it moves them: the next one, or the one
// beside it, goes on. The kubelet and the runtime's connection may go and come
// meanwhile.
func TestKilledDuringAttach(t *testing.T) {
	tests := map[string]func(w *world){
		"the next one":   func(w *world) { w.kill(); w.startDriver(); w.hooked() },
		"the connection": func(w *world) { w.runtime.gate.cut(); w.runtime.gate.mend(); w.hooked() },
		"the kubelet":    func(w *world) { w.restartKubelet() },
	}
	for name, happens := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p, c := w.many(16)
			w.connections = w.runtime.synchronized()
			s := w.sandbox(p, "s1")
			w.must(w.hookRuns()) // the runtime is seen to run the hook
			w.begin(s)
			made := make(chan error, 1)
			go func() { made <- w.create(s) }()
			w.eventually("some have arrived", func() bool { return strings.Contains(s.ns.Run("ip -oneline link show"), "x1") })
			happens(w)
			w.must(<-made)
			w.hasMany(s, 16)
			w.says(c, "True", "Attached")
			w.registered()
			w.finish(p, s)
		})
	}
}

// hookRuns makes another pod's sandbox and container with h2, so that the runtime
// is seen to run the hook, and ends it.
func (w *world) hookRuns() error {
	w.t.Helper()
	p := w.pod("first", "first")
	w.claim("first", "h2", "net1", p)
	w.must(w.prepare(p))
	s := w.sandbox(p, "s0")
	w.must(w.run(s))
	if err := w.create(s); err != nil {
		return err
	}
	w.end(s)
	w.unprepare(p)
	w.isHome()
	return nil
}

// TestRuntimeThatRunsNoHooks checks that a container of a runtime handler whose
// hook was never seen to run waits in CreateContainer until its interfaces are
// there, and that one of a handler whose hook was seen does not.
func TestRuntimeThatRunsNoHooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.hookRuns()) // of the default handler
	p, c := w.many(16)
	s := w.sandbox(p, "s1")
	w.begin(s)
	container := func() *api.CreateContainerRequest {
		ids, err := w.cdiDevices(p)
		w.must(err)
		spec := w.injected(ids)
		return &api.CreateContainerRequest{Pod: s.PodSandbox, Container: &api.Container{Id: "x", PodSandboxId: s.Id, Name: "c", Env: spec.Process.Env, Hooks: api.FromOCIHooks(spec.Hooks)}}
	}
	if _, err := w.runtime.CreateContainer(w.ctx, container()); err != nil || w.onTheWay() == 0 {
		t.Errorf("a container whose hook waits: %v, with %d interfaces on their way, want it let through at once", err, w.onTheWay())
	}
	s.PodSandbox.RuntimeHandler = "kata"
	if _, err := w.runtime.CreateContainer(w.ctx, container()); err != nil || w.onTheWay() != 0 {
		t.Errorf("a container of a runtime that may run no hooks: %v, with %d interfaces on their way, want none", err, w.onTheWay())
	}
	w.hasMany(s, 16)
	w.says(c, "True", "Attached")
	w.finish(p, s)
}

// TestContainerWithoutHook checks that a container of a pod that does not use the
// claim itself, so that CDI adds no hook, gets one by NRI, and that a runtime
// that lets nobody add hooks refuses it until the interfaces are there.
func TestContainerWithoutHook(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		t.Run(fmt.Sprintf("refuses=%t", refuses), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if refuses {
				w.runtime.stop()
				w.startRuntimeWith(adaptation.WithDefaultValidator(&validator.DefaultValidatorConfig{Enable: true, RejectOCIHookAdjustment: true}))
				w.hooked()
				w.ready()
			}
			w.must(w.hookRuns())
			p, _ := w.many(16)
			s := w.sandbox(p, "s1")
			w.begin(s)
			plain := &api.CreateContainerRequest{Pod: s.PodSandbox, Container: &api.Container{Id: "side", PodSandboxId: s.Id, Name: "side"}}
			out, err := w.runtime.CreateContainer(w.ctx, plain)
			switch hooks := out.GetAdjust().GetHooks().GetCreateRuntime(); {
			case refuses && err == nil:
				t.Error("the container began without a hook")
			case refuses:
				w.await("all are there", func(a attachment) bool { return a.Deadline.IsZero() })
				_, err := w.runtime.CreateContainer(w.ctx, plain)
				w.check(err)
			case err != nil || len(hooks) != 1 || w.onTheWay() == 0:
				t.Errorf("%v, %d hooks, %d interfaces on their way, want a hook that waits for them", err, len(hooks), w.onTheWay())
			default:
				w.check(w.ociHooks(s, "side", toOCI(hooks)))
			}
			w.hasMany(s, 16)
			w.finish(p, s)
		})
	}
}
