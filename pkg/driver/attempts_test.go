package driver

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	dto "github.com/prometheus/client_model/go"
	resourceapi "k8s.io/api/resource/v1"
)

// batch runs the commands of ip(8) in one process.
func batch(t *testing.T, commands string) {
	t.Helper()
	c := exec.Command("ip", "-batch", "-")
	c.Stdin = strings.NewReader(commands)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("ip -batch: %v\n%s", err, out)
	}
}

// failures returns how many attaches of links the driver has failed at.
func failures(t *testing.T, d *Driver) int {
	t.Helper()
	var m dto.Metric
	must(t, d.metrics.operations.WithLabelValues("attach", "error").Write(&m))
	return int(m.GetCounter().GetValue())
}

// TestAttachBacksOff checks that links whose attach has failed twice for the
// same reason are not moved more than once in 30 s, that the pod and the claim
// hear of it, and that another reason or a success begins anew.
func TestAttachBacksOff(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb")
	now := time.Now()
	w.driver.engine.Now = func() time.Time { return now }
	c0, c1 := w.claim("c0", "h0", net1, "web"), w.claim("c1", "h1", `{"interface":{"name":"net2"}}`, "web")
	must(t, w.prepare(c0))
	must(t, w.prepare(c1))
	sandboxes := 0
	attempt := func(taken string) error {
		t.Helper()
		sandboxes++
		p := w.pod("web", fmt.Sprintf("s%d", sandboxes))
		if taken != "" {
			p.ns.Run("ip link add " + taken + " type ifb")
		}
		err := w.run(p)
		if err == nil {
			w.end(p)
		}
		w.restored()
		return err
	}
	const again, reason = "tried again after ", "the name net2 is taken"
	check := func(err error, tries int, waits bool) {
		t.Helper()
		refused(t, err, reason)
		if got := failures(t, w.driver); got != 2*tries { // of two links each
			t.Errorf("%d links failed to be attached, want %d", got, 2*tries)
		}
		if strings.Contains(fmt.Sprint(err), again) != waits {
			t.Errorf("the pod is told %q, want it to name a time: %t", err, waits)
		}
	}
	check(attempt("net2"), 1, false)
	check(attempt("net2"), 2, true) // at once
	next := now.Add(30 * time.Second).UTC().Format("15:04:05 UTC")
	for _, c := range []*resourceapi.ResourceClaim{c0, c1} {
		w.eventually("claim "+c.Name+" names the next attempt", func() bool {
			_, reasonNow, message, _, _ := w.device(c)
			return reasonNow == v1alpha1.ReasonAttachFailed && strings.Contains(message, reason) && strings.HasSuffix(message, again+next)
		})
	}
	check(attempt("net2"), 2, true)
	check(attempt(""), 2, true) // though it would do now
	late := w.pod("web", "late")
	check(w.create(late, c0), 2, true)
	now = now.Add(29 * time.Second)
	check(attempt("net2"), 2, true)
	now = now.Add(2 * time.Second)
	check(attempt("net2"), 3, true)
	now = now.Add(31 * time.Second)
	if err := attempt("net1"); err == nil || strings.Contains(err.Error(), again) {
		t.Errorf("another reason: %v, want no waiting", err)
	}
	must(t, attempt(""))
	check(attempt("net2"), 5, false)
	must(t, attempt(""))
	check(attempt("net2"), 6, false)
	w.unprepare(c0)
	w.unprepare(c1)
}

// TestAttachBacksOffForEachPod checks that what one pod fails at keeps no other
// pod of the claim waiting, and that a pod with the host's network waits for
// nothing: its failure moves no link.
func TestAttachBacksOffForEachPod(t *testing.T) {
	w := newWorld(t, "")
	c := w.claim("c", "h0", net1, "bad", "host", "good")
	must(t, w.prepare(c))
	for i := range 3 {
		bad := w.pod("bad", fmt.Sprintf("b%d", i))
		bad.ns.Run("ip link add net1 type ifb")
		refused(t, w.run(bad), "the name net1 is taken")
		host := w.pod("host", fmt.Sprintf("h%d", i))
		host.Linux = nil
		if err := w.run(host); err == nil || strings.Contains(err.Error(), "tried again after") {
			t.Errorf("a pod with the host's network: got error %v", err)
		}
	}
	good := w.pod("good", "g")
	must(t, w.run(good))
	w.end(good)
	w.unprepare(c)
	w.restored()
}
