package attachment

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const resumeSandbox = "s1"

// resumeWorld is a host with simple links, prepared for one claim, and a pod.
type resumeWorld struct {
	*chaosWorld
	pod               *nstest.NS
	links             []string
	store             *allocation.Store
	engine            *Engine // the second one, which has begun nothing
	before, podBefore string
}

// newResumeWorld makes n links y0, y1 and so on, which must all be as before at
// the end of the test.
func newResumeWorld(t *testing.T, n int) *resumeWorld {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: moves links between network namespaces")
	}
	w := &resumeWorld{chaosWorld: &chaosWorld{t: t, dir: t.TempDir()}, pod: nstest.New(t)}
	for i := range n {
		link := fmt.Sprintf("y%d", i)
		w.links = append(w.links, link)
		nstest.Host(t, fmt.Sprintf("ip link add %s type ifb\nip link set %[1]s up\nip addr add 10.12.%d.1/24 dev %[1]s", link, i))
		t.Cleanup(func() { nstest.Host(t, "ip link del "+link) })
	}
	w.pod.Run("ip link set lo up")
	w.before, w.podBefore = w.host(), w.pod.Snapshot()
	var err error
	w.store, _, err = allocation.Open(t.Context(), filepath.Join(w.dir, "allocations"), "boot")
	must(t, err)
	w.engine = New(Config{
		Store: w.store, StateDir: w.dir, Sys: os.DirFS("/sys").(fs.ReadLinkFS), AttachTimeout: 30 * time.Second,
		Options: func() inventory.Options { return inventory.Options{} }, Changed: func(Change) {},
	})
	for _, link := range w.links {
		must(t, w.store.Put(w.record(link)))
	}
	t.Cleanup(w.over)
	return w
}

func (w *resumeWorld) record(link string) allocation.Record {
	return allocation.Record{
		Claim: allocation.Ref{Name: "c", UID: "uid-c"}, Pods: []allocation.Ref{{Name: "web", UID: "uid-web"}}, Pool: "n1",
		Device: inventory.Device{Name: link, Link: netdev.Link{Name: link, Kind: "ifb"}},
	}
}

func (w *resumeWorld) host() string {
	var out strings.Builder
	for _, link := range w.links {
		out.WriteString(showLink(link))
	}
	return out.String()
}

// over ends sandbox and claim, and fails the test unless all is as before.
func (w *resumeWorld) over() {
	ctx := context.Background()
	w.engine.Detach(ctx, allocation.Sandbox{ID: resumeSandbox})
	w.eventually("the links are restored", func() bool { return len(w.store.InSandbox(resumeSandbox)) == 0 })
	must(w.t, w.engine.Release(ctx, "uid-c"))
	w.engine.Close(ctx)
	w.same(w.before, w.host, "the host")
	w.same(w.podBefore, w.pod.Snapshot, "the pod")
	for _, dir := range []string{"netns", "allocations", "locks"} {
		if left, _ := os.ReadDir(filepath.Join(w.dir, dir)); len(left) > 0 {
			w.t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// settled waits until nothing is on its way, and returns the records.
func (w *resumeWorld) settled() []allocation.Record {
	w.t.Helper()
	w.eventually("no link is on its way", func() bool {
		return !slices.ContainsFunc(w.store.All(), func(r allocation.Record) bool { return r.Attaching() })
	})
	unlock, err := w.store.LockClaims(w.t.Context(), "uid-c") // the job has ended
	must(w.t, err)
	defer unlock()
	return w.store.All()
}

// attached fails the test unless all links are in the sandbox, once its
// container may begin.
func (w *resumeWorld) attached() {
	w.t.Helper()
	for _, r := range w.settled() {
		if !r.AttachedTo(resumeSandbox) {
			w.t.Errorf("%s is not in sandbox %s: %s", r, resumeSandbox, r.Condition.Message)
		}
	}
	must(w.t, w.engine.Await(w.t.Context(), allocation.Sandbox{ID: resumeSandbox, PodUID: "uid-web"}))
	for i, link := range w.links {
		if out := w.pod.Run("ip -oneline addr show dev " + link); !strings.Contains(out, fmt.Sprintf(" 10.12.%d.1/24 ", i)) {
			w.t.Errorf("%s lacks its address in the pod: %s", link, out)
		}
	}
}

// inPod counts the links that are in the pod.
func (w *resumeWorld) inPod() int {
	return strings.Count(w.pod.Run("ip -oneline link show type ifb"), "\n")
}

// attachOnce begins an attach in a process that is to be killed, or ends it at
// once with the attach under way.
func attachOnce(ctx context.Context, e *Engine) error {
	if err := e.Attach(ctx, allocation.Sandbox{ID: resumeSandbox, PodUID: "uid-web", NetNS: os.Getenv(chaosPod)}); err != nil {
		return err
	}
	if os.Getenv("CHAOS") == "attach" {
		<-ctx.Done() // never
	}
	closing, cancel := context.WithCancel(ctx)
	cancel() // which leaves the job no time
	e.Close(closing)
	return nil
}

// TestResume checks that an attach whose engine was killed or closed in its
// middle is resumed by Reconcile of the next one: the links end up in the same
// sandbox.
func TestResume(t *testing.T) {
	for _, how := range []string{"attach", "close"} {
		t.Run(map[string]string{"attach": "killed", "close": "closed"}[how], func(t *testing.T) {
			const n = 16
			w := newResumeWorld(t, n)
			c := w.victim(w.pod, how)
			must(t, c.Start())
			if how == "attach" {
				w.eventually("a link is in the pod", func() bool { return w.inPod() > 0 })
				must(t, c.Process.Kill())
			}
			if err := c.Wait(); (err == nil) != (how == "close") {
				t.Fatalf("the first process: %v\n%s", err, c.Stderr)
			}
			moved, on := w.inPod(), w.store.Find(func(r allocation.Record) bool { return r.AttachingTo(resumeSandbox) })
			if moved == n || len(on) != n {
				t.Fatalf("%d links moved, %d on their way, want the first process to have ended in the middle", moved, len(on))
			}
			t.Logf("%d of %d links were in the pod when the first process ended", moved, n)
			must(t, w.engine.Reconcile(t.Context()))
			w.attached()
		})
	}
}

// begun records that an attach into the pod has begun, as a process does that is
// then killed, with so many links moved.
func (w *resumeWorld) begun(moved int, deadline time.Time) {
	w.t.Helper()
	host, err := netdev.Open("")
	must(w.t, err)
	defer host.Close()
	pod, err := netdev.Open(w.pod.Path)
	must(w.t, err)
	defer pod.Close()
	must(w.t, pod.Pin(w.engine.pin(resumeSandbox)))
	s := allocation.Sandbox{ID: resumeSandbox, PodUID: "uid-web", NetNS: w.pod.Path, Cookie: pod.Cookie()}
	for i, link := range w.links {
		r := w.record(link)
		original, l, err := netdev.Read(w.t.Context(), host, r.ID())
		must(w.t, err)
		want, omitted, err := netdev.Desired(l, original, r.Config)
		must(w.t, err)
		must(w.t, w.store.Put(r.Begin(s, r.ID(), original, omitted, deadline, time.Now())))
		if i < moved {
			_, err := netdev.Attach(w.t.Context(), host, pod, []netdev.Plan{{ID: r.ID(), Original: original, Want: want}})
			must(w.t, err)
		}
	}
}

// TestResumeFrom checks what the next engine makes of an attach that was cut off
// at each of its stages: it goes on with it unless it cannot, the time is up or
// the sandbox has ended, and then restores the links and records why.
func TestResumeFrom(t *testing.T) {
	const n = 3
	inTime, late := 20*time.Second, -time.Second
	change := func(change func(*allocation.Sandbox)) func(*resumeWorld) {
		return func(w *resumeWorld) {
			for _, r := range w.store.All() {
				change(&r.Attachment.Sandbox)
				must(w.t, w.store.Put(r))
			}
		}
	}
	none := func(*resumeWorld) {}
	tests := []struct {
		name  string
		moved int
		left  time.Duration      // before the deadline
		then  func(*resumeWorld) // before the next engine
		fails string             // why the attach is given up; empty: it is not
	}{
		{"nothing has moved", 0, inTime, none, ""},
		{"one has moved", 1, inTime, none, ""},
		{"all have moved", n, inTime, none, ""},
		{"the time is up, nothing has moved", 0, late, none, context.DeadlineExceeded.Error()},
		{"the time is up, one has moved", 1, late, none, context.DeadlineExceeded.Error()},
		{"the time is up, all have moved", n, late, none, context.DeadlineExceeded.Error()},
		{"the namespace is gone", 0, inTime, func(w *resumeWorld) {
			must(w.t, netdev.Unpin(w.engine.pin(resumeSandbox)))
			change(func(s *allocation.Sandbox) { s.NetNS += ".none" })(w)
		}, errSandboxEnded.Error()},
		{"the pod's network is gone", 1, inTime, change(func(s *allocation.Sandbox) { s.PodLink.Index = 99 }), errSandboxEnded.Error()},
		{"a name is taken in the pod", 1, inTime, func(w *resumeWorld) {
			w.pod.Run("ip link add y2 type ifb")
			w.t.Cleanup(func() { w.pod.Run("ip link del y2") })
		}, "the name y2 is taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newResumeWorld(t, n)
			w.begun(tt.moved, time.Now().Add(tt.left))
			tt.then(w)
			must(t, w.engine.Reconcile(t.Context()))
			if tt.fails == "" {
				w.attached()
				return
			}
			for _, r := range w.settled() {
				if r.Attachment != nil || r.Condition.Reason != "AttachFailed" || !strings.Contains(r.Condition.Message, tt.fails) {
					t.Errorf("%s: attachment %+v, condition %+v, want it restored for %q", r, r.Attachment, r.Condition, tt.fails)
				}
			}
			if err := w.engine.Await(t.Context(), allocation.Sandbox{ID: resumeSandbox, PodUID: "uid-web"}); err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("a container that waits: %v, want %q", err, tt.fails)
			}
		})
	}
}
