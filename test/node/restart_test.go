package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// running makes a pod that has h0 as net1.
func (w *world) running() (*corev1.Pod, *resourceapi.ResourceClaim, *sandbox) {
	w.t.Helper()
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	s := w.sandbox(p, "s1")
	w.must(w.prepare(p))
	w.must(w.run(s))
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	return p, c, s
}

// finish ends a pod as kubelet and containerd do, and fails the test unless
// everything is restored.
func (w *world) finish(p *corev1.Pod, s *sandbox) {
	w.t.Helper()
	w.end(s)
	w.isHome()
	w.unprepare(p)
	w.nothingLeft()
}

// TestKubeletRestarts checks that a kubelet that starts while a pod runs, and
// prepares its claim again, changes nothing for the pod, and that the slices
// which it removes at its start come back.
func TestKubeletRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.restartKubelet()
	w.eventually("the slices are back", func() bool { return len(w.published()) == 4 })
	w.must(w.prepare(p)) // it does not remember that it has
	w.has(s, "h0", "net1")
	w.must(w.create(s)) // the container crashed meanwhile
	w.says(c, "True", "Attached")
	w.restartKubelet() // and now it only ends the pod
	w.finish(p, s)
	w.says(c, "False", "Detached")
}

// TestDriverKilledWhilePodRuns checks that the pod keeps its link, and that the
// next driver knows of it.
func TestDriverKilledWhilePodRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.kill()
	w.has(s, "h0", "net1")
	w.must(w.create(s)) // the OCI hook alone sees that the link is there
	w.restartDriver()
	w.has(s, "h0", "net1")
	w.must(w.create(s))
	w.says(c, "True", "Attached")
	w.finish(p, s)
	w.says(c, "False", "Detached")
}

// TestDriverAwayWhenPodEnds checks that the link survives a pod, and its
// namespace, that end while nobody looks, and is restored with the kubelet's
// word alone.
func TestDriverAwayWhenPodEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.kill()
	w.end(s) // nobody hears the hooks
	if err := w.kubelet.manager.UnprepareResources(w.kubelet.ctx, p); err == nil {
		t.Error("the kubelet takes a claim for unprepared without its driver")
	}
	w.restartDriver()
	w.unprepare(p)
	w.isHome()
	w.nothingLeft()
	w.says(c, "False", "Detached")
}

// TestDriverAwayWhenPodStarts checks that a pod whose sandbox was made without
// the driver gets no container until the link is there, late, and that an event
// of the pod has the reason, whatever the runtime makes of the hook's words.
func TestDriverAwayWhenPodStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	w.must(w.prepare(p))
	w.kill()
	s := w.sandbox(p, "s1")
	w.must(w.run(s)) // nobody hears it
	w.refused(w.create(s), errOCI)
	w.isHome()
	w.startDriver()
	w.hooked()
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	w.warned(p, "ContainerRefused", "interface h0 was not moved into this pod's network namespace")
	w.ready()
	w.finish(p, s)
}

// warned waits for a warning event of the pod with this reason and note.
func (w *world) warned(p *corev1.Pod, reason, note string) {
	w.t.Helper()
	var seen []string
	w.eventually("an event of pod "+p.Name+": "+reason, func() bool {
		seen = nil
		list, err := master.client.EventsV1().Events(p.Namespace).List(w.ctx, metav1.ListOptions{})
		w.must(err)
		for _, e := range list.Items {
			if e.Regarding.Kind == "Pod" && e.Regarding.UID == p.UID && e.Type == corev1.EventTypeWarning && e.Reason == reason {
				seen = append(seen, e.Note)
			}
		}
		return slices.ContainsFunc(seen, func(s string) bool { return strings.Contains(s, note) })
	}, func() string { return fmt.Sprintf("%q", seen) })
}

// TestReboot checks that records of another boot are void: their namespaces are
// gone, and the links are back as the boot made them. What the kubelet has on
// disk makes it prepare the claim again.
func TestReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.reboot(s)
	w.must(w.prepare(p))
	s = w.sandbox(p, "s2")
	w.must(w.run(s))
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	w.finish(p, s)
}

// reboot ends everything on the node, with a pod whose sandbox s has h0, and
// starts it again with new links.
func (w *world) reboot(s *sandbox) {
	w.t.Helper()
	w.kill()
	w.kubelet.stop()
	w.endUnseen(s)
	w.sh("umount " + w.dir + "/state/netns/*") // with the namespace the kernel destroys h0 and its peer
	w.sh("rm " + w.dir + "/state/netns/* " + w.dir + "/cdi/*")
	w.eventually("the kernel has ended the pod's namespace", func() bool { _, err := read(w.host, "p0"); return err != nil })
	w.host.Lines("ip link del h1\nip link del h2\n" + links)
	w.before = w.host.Settled()
	w.setBootID("22222222-0000-0000-0000-000000000002")
	w.startKubelet()
	w.startDriver()
	w.ready()
}
