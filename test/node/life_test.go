package node

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestLifeOfADevice walks one device from the slice to the pod and home.
func TestLifeOfADevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.eventually("the node's devices are in a slice", func() bool { return slices.Equal(w.published(), []string{"h0", "h1", "h2", "p0"}) })
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	s := w.sandbox(p, "s1")
	podBefore := s.ns.Snapshot()
	w.must(w.prepare(p))
	w.must(w.prepare(p)) // the sandbox is made again: harmless
	w.isHome()           // nothing moves before there is a sandbox
	w.must(w.run(s))
	w.has(s, "h0", "net1")
	w.must(w.create(s))
	status := w.says(c, "True", "Attached")
	want := []string{"192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64"}
	if n := status.network; n == nil || n.InterfaceName != "net1" || n.HardwareAddress != "02:00:00:00:00:10" || !slices.Equal(n.IPs, want) || status.data.HostInterface != "h0" || status.data.MTU != 9000 {
		t.Errorf("the claim says %+v, %+v", status.data, n)
	}
	// Nobody answers: the NIC asks who has the address.
	exec.Command("nsenter", "--net="+s.path, "busybox", "ping", "-c", "3", "-W", "1", "-I", "net1", "2001:db8::9").Run()
	w.eventually("the packets that were sent, in the claim", func() bool { return w.status(c).data.Statistics.TxPackets >= 3 })
	w.stopHook(s)
	s.ns.Same(podBefore, "the pod's namespace")
	w.isHome()
	w.says(c, "False", "Detached")
	w.removeNetNS(s)
	w.removeHook(s)
	w.unprepare(p)
	w.unprepare(p) // again: harmless
	w.nothingLeft()
	if got := w.published(); !slices.Equal(got, []string{"h0", "h1", "h2", "p0"}) {
		t.Errorf("published are %v", got)
	}
}

// published are the devices in the node's slices.
func (w *world) published() (names []string) {
	w.t.Helper()
	list, err := master.client.ResourceV1().ResourceSlices().List(w.ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + w.node})
	w.must(err)
	for _, s := range list.Items {
		if s.Spec.Driver == driverName && strings.EqualFold(s.Spec.Pool.Name, w.node) {
			for _, d := range s.Spec.Devices {
				names = append(names, d.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}
