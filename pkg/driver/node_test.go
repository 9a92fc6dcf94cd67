package driver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	drapb "k8s.io/kubelet/pkg/apis/dra/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const net1 = `{"interface":{"name":"net1"}}`

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// running makes a pod that has a device.
func (w *world) running(device string) (*resourceapi.ResourceClaim, pod) {
	w.t.Helper()
	c, p := w.claim("c", device, net1, "web"), w.pod("web", "s1")
	must(w.t, w.prepare(c))
	must(w.t, w.run(p))
	return c, p
}

// refused fails the test unless err says so.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

func has(p pod, link string) bool {
	out, err := p.ns.Try("ip addr show " + link)
	return err == nil && strings.Contains(out, "192.0.2.1/24") && strings.Contains(out, "2001:db8::1/64")
}

// TestLifeOfADevice walks one device from the slice to the pod and home.
func TestLifeOfADevice(t *testing.T) {
	w := newWorld(t, "")
	slices, err := w.client.ResourceV1().ResourceSlices().List(w.ctx, metav1.ListOptions{})
	if err != nil || len(slices.Items) != 1 || !strings.Contains(slices.Items[0].String(), "h0") {
		t.Fatalf("slices: %v, %v", slices, err)
	}
	c, p := w.claim("c", "h0", net1, "web"), w.pod("web", "s1")
	must(t, w.prepare(c))
	must(t, w.prepare(c)) // again: harmless
	must(t, w.run(p))
	if !has(p, "net1") {
		t.Error("the pod lacks net1 with its addresses")
	}
	must(t, w.create(p, c))
	w.eventually("Ready in the claim", func() bool { ready, _, _, _, _ := w.device(c); return ready == "True" })
	_, _, _, data, network := w.device(c)
	if network == nil || network.InterfaceName != "net1" || len(network.IPs) != 2 || data.HostInterface != "h0" || data.SampledAt.IsZero() {
		t.Errorf("status: %+v, %+v", network, data)
	}
	counted := func() bool { _, _, _, data, _ := w.device(c); return data.Statistics.TxPackets >= 3 }
	p.ns.Try("busybox ping -c 3 -W 1 -I net1 2001:db8::9") // nobody answers: the NIC asks who has it
	w.eventually("the packets that were sent, in the claim", counted)
	w.end(p)
	w.restored()
	w.eventually("not Ready any more", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonDetached })
	w.unprepare(c)
	w.unprepare(c) // again: harmless
	if all := w.driver.store.All(); len(all) != 0 {
		t.Errorf("the store still has %v", all)
	}
}

// TestPrepareRefuses checks that a bad claim is refused before anything is
// touched, and that the claim says why.
func TestPrepareRefuses(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb")
	tests := []struct{ name, device, config, want string }{
		{"unknown field", "h0", `{"interface":{"nane":"x"}}`, `unknown field "interface.nane"`},
		{"reserved name", "h0", `{"interface":{"name":"eth0"}}`, `interface.name: "eth0"`},
		{"multicast address", "h0", `{"interface":{"hardwareAddr":"01:00:00:00:00:01"}}`, `interface.hardwareAddr: "01:00:00:00:00:01"`},
		{"mtu too small for the kept addresses", "h0", `{"interface":{"mtu":1000}}`, "IPv6 addresses"},
		{"mtu above the device's limit", "h0", `{"interface":{"mtu":70000}}`, `interface.mtu: "70000"`},
		{"hardware address of 8 bytes", "h0", `{"interface":{"hardwareAddr":"02:00:00:00:00:00:00:aa"}}`, `interface.hardwareAddr: "02:00:00:00:00:00:00:aa"`},
		{"hardware address that cannot be set", "h1", `{"interface":{"hardwareAddr":"02:00:00:00:00:01"}}`, `interface.hardwareAddr: "02:00:00:00:00:01"`},
		{"neighbor with 2 bytes", "h0", `{"neighbors":[{"destination":"192.0.2.9","hardwareAddr":"02:00"}]}`, `neighbors[0].hardwareAddr: "02:00"`},
		{"neighbor twice", "h0", `{"neighbors":[{"destination":"192.0.2.9","hardwareAddr":"02:00:00:00:00:01"},{"destination":"192.0.2.9","hardwareAddr":"02:00:00:00:00:01"}]}`, `neighbors[1].destination: "192.0.2.9"`},
		{"broadcast address", "h0", `{"interface":{"addresses":["192.0.2.255/24"]}}`, `interface.addresses[0]: "192.0.2.255/24"`},
		{"gateway is broadcast", "h0", `{"interface":{"addresses":["192.0.2.1/24"]},"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.255"}]}`, `routes[0].gateway: "192.0.2.255"`},
		{"unreachable gateway", "h0", `{"routes":[{"destination":"10.0.0.0/8","gateway":"203.0.113.1"}]}`, "do not reach the gateway"},
		{"no such device", "h9", net1, "not on this node"},
		{"loopback", "lo", net1, "not offered"},
	}
	for _, tt := range tests {
		c := w.claim("c"+strings.NewReplacer(" ", "", "'", "").Replace(tt.name), tt.device, tt.config, "web")
		refused(t, w.prepare(c), tt.want)
		w.eventually(tt.name+" in the claim's status", func() bool {
			ready, reason, message, _, _ := w.device(c)
			return ready == "False" && reason == v1alpha1.ReasonPrepareFailed && strings.Contains(message, tt.want)
		})
	}
	w.restored()

	must(t, w.prepare(w.claim("first", "h0", net1, "web")))
	refused(t, w.prepare(w.claim("second", "h0", net1, "other")), "held by claim default/first")
	refused(t, w.prepare(w.claim("same-name", "h1", net1, "web")), `interface.name: "net1"`)
	must(t, w.prepare(w.claim("same-name-other-pod", "h1", net1, "other")))
}

// TestAttachFails checks that a failed attach fails the pod, that everything is
// as before, and that the pod can try again.
func TestAttachFails(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb")
	c0, c1 := w.claim("c0", "h0", net1, "web"), w.claim("c1", "h1", `{"interface":{"name":"net2"}}`, "web")
	must(t, w.prepare(c0))
	must(t, w.prepare(c1))
	p := w.pod("web", "s1")
	p.ns.Run("ip link add net2 type ifb")
	refused(t, w.run(p), "the name net2 is taken")
	w.restored()
	w.eventually("the failure in the claim", func() bool { _, reason, _, _, _ := w.device(c0); return reason == v1alpha1.ReasonAttachFailed })

	again := w.pod("web", "s2")
	must(t, w.run(again))
	if !has(again, "net1") {
		t.Error("the second try lacks net1")
	}
	w.end(again)
	w.restored()
}

func TestHostNetworkPodIsRefused(t *testing.T) {
	w := newWorld(t, "")
	must(t, w.prepare(w.claim("c", "h0", net1, "web")))
	p := w.pod("web", "s1")
	p.Linux.Namespaces = nil
	refused(t, w.run(p), "hostNetwork")
	p.Linux.Namespaces = []*api.LinuxNamespace{{Type: "network", Path: "/proc/thread-self/ns/net"}}
	refused(t, w.run(p), "hostNetwork")
	w.restored()
}

// TestContainerWithoutItsLink checks that a container never runs without the
// link that its claim has.
func TestContainerWithoutItsLink(t *testing.T) {
	w := newWorld(t, "")
	c, p, second := w.claim("c", "h0", net1, "web"), w.pod("web", "s1"), w.pod("second", "s2")
	refused(t, w.create(p, c), "is not prepared")
	must(t, w.prepare(c))
	refused(t, w.create(second, c), "is not known to be reserved for this pod")
	// The sandbox was made while the hooks were away: the link comes now.
	must(t, w.create(p, c))
	if !has(p, "net1") {
		t.Error("the late attach brought no link")
	}
	// A second pod on the claim gets no Prepare.
	must(t, w.run(second))
	refused(t, w.create(second, c), "another pod has it")
	w.end(p)
	w.restored()
	// The fake API server loses one of two writes at a time.
	w.eventually("the end in the claim", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonDetached })
	// Once the first pod has ended the second can have it, if the claim says so.
	refused(t, w.create(second, c), "is not known to be reserved for this pod")
	c.Status.ReservedFor = append(c.Status.ReservedFor, resourceapi.ResourceClaimConsumerReference{Resource: "pods", Name: "second", UID: "uid-second"})
	must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), c, "default"))
	w.eventually("the second pod gets the link", func() bool {
		start := time.Now()
		err := w.create(second, c)
		if err != nil && time.Since(start) < apiTimeout/2 { // else the machine is slow
			t.Errorf("refused before the claim was asked for: %v", err)
		}
		return err == nil
	})
	if !has(second, "net1") {
		t.Error("the second pod lacks its link")
	}
	w.end(second)
	w.restored()
}

// TestRefusedPodLeavesStatus checks that a pod which cannot have the link does
// not spoil what the claim says of the one that has it.
func TestRefusedPodLeavesStatus(t *testing.T) {
	w := newWorld(t, "")
	c := w.claim("c", "h0", net1, "web", "second")
	must(t, w.prepare(c))
	p, second := w.pod("web", "s1"), w.pod("second", "s2")
	must(t, w.run(p))
	w.eventually("Ready", func() bool { ready, _, _, _, _ := w.device(c); return ready == "True" })
	refused(t, w.run(second), "another pod has it")
	w.scans()
	if ready, reason, _, _, _ := w.device(c); ready != "True" || !has(p, "net1") {
		t.Errorf("Ready is %s (%s)", ready, reason)
	}
	w.end(p)
	w.restored()
}

// TestNewSandbox checks that a pod's new sandbox gets the link from the old
// one, also when the old one's end went unseen.
func TestNewSandbox(t *testing.T) {
	w := newWorld(t, "")
	must(t, w.prepare(w.claim("c", "h0", net1, "web")))
	first, next := w.pod("web", "s1"), w.pod("web", "s2")
	must(t, w.run(first))
	must(t, w.run(next))
	if has(first, "net1") || !has(next, "net1") {
		t.Error("the link is not in the new sandbox alone")
	}
	w.end(first) // late
	if !has(next, "net1") {
		t.Error("the old sandbox's end took the link from the new one")
	}
	w.end(next)
	w.restored()
}

// TestDriverRestarts checks that links stay in running pods, and that those of
// pods that ended meanwhile are restored.
func TestDriverRestarts(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	w.stop()
	w.startDriver()
	if !has(p, "net1") {
		t.Error("the link left the running pod")
	}
	w.eventually("Ready in the claim again", func() bool { ready, _, _, _, _ := w.device(c); return ready == "True" })
	must(t, w.create(p, c))
	w.stop()
	w.forget(p) // ends while nobody looks, and its namespace with it but for the pin
	p.ns.Close()
	w.startDriver()
	w.unprepare(c)
	w.restored()
}

// TestDamagedRecord checks that the link of a record which cannot be read stays
// where it is, alive by its pin, however often the driver starts.
func TestDamagedRecord(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	pin, a := filepath.Join(w.dir, "state", "netns", "s1"), w.driver.store.Find(func(r allocation.Record) bool { return r.Attached() })[0]
	t.Cleanup(func() {
		// Else the namespace ends, and p0 with it, before or after the node's cleanup looks for it.
		w.host(fmt.Sprintf("nsenter --net=%s ip link set net1 netns %d", pin, os.Getpid()))
		must(t, netdev.Unpin(pin))
	})
	w.stop()
	must(t, os.Truncate(w.driver.store.Path(a.Key()), 100))
	p.ns.Close() // the pod ends, and only the pin is left
	for range 2 {
		w.startDriver()
		refused(t, w.prepare(c), "not on this node")
		w.stop()
	}
	ns, err := netdev.Open(pin)
	must(t, err)
	defer ns.Close()
	if _, err := netdev.Inspect(t.Context(), ns, a.ID()); err != nil {
		t.Errorf("the link is gone: %v", err)
	}
}

// TestUnprepareAlone checks that the kubelet's word is enough to bring a link
// home: after a restart the runtime sends no hooks for older pods.
func TestUnprepareAlone(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	p.ns.Run("ip link set net1 down")
	p.ns.Run("ip link set net1 name other0")
	p.ns.Close()
	w.unprepare(c)
	w.restored()
}

// TestNameTaken checks that a link whose name was taken is on the host under another,
// is offered to nobody, and gets its name as soon as it is free.
func TestNameTaken(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	w.host("ip link add h0 type ifb")
	w.end(p)
	w.eventually("the claim says so", func() bool {
		_, reason, message, _, _ := w.device(c)
		return reason == v1alpha1.ReasonDetachFailed && strings.Contains(message, "another one has its name h0")
	})
	w.driver.reconcile(w.ctx) // in vain
	w.eventually("the device is offered no more, under neither name", func() bool { return slices.Equal(w.published(), []string{"p0"}) })
	w.eventually("an event of the pod", func() bool { return w.warned("web", v1alpha1.ReasonDetachFailed) == 1 })
	w.hasMetrics(`dra_netdev_interfaces{state="not_restored"} 1`)
	w.unprepare(c)
	refused(t, w.prepare(w.claim("next", "h0", net1, "next")), "not restored yet")
	w.host("ip link del h0")
	w.driver.reconcile(w.ctx)
	w.restored()
	w.eventually("the device is offered again", func() bool { return slices.Equal(w.published(), []string{"h0", "p0"}) })
	w.hasMetrics(`dra_netdev_interfaces{state="not_restored"} 0`)
	if all := w.driver.store.All(); len(all) != 0 {
		t.Errorf("the store still has %v", all)
	}
}

// TestNameTakenForAWhile checks that the link gets its name back while the
// claim is still there.
func TestNameTakenForAWhile(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	w.host("ip link add h0 type ifb")
	w.end(p)
	w.host("ip link del h0")
	w.driver.reconcile(w.ctx)
	w.restored()
	w.eventually("the claim says so", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonDetached })
	w.unprepare(c)
}

// TestNameTakenByAltName checks that what the administrator sets on a link whose
// name another link took as an altname is left alone until the name is free.
func TestNameTakenByAltName(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb")
	c, p := w.running("h0")
	w.host("ip link property add dev h1 altname h0")
	w.end(p)
	a := w.driver.store.All()[0]
	if !a.Attachment.HostNameTaken {
		t.Fatalf("the link got its name: %+v", a)
	}
	w.host("ip link set " + a.ID().Tag + " mtu 1400")
	w.driver.reconcile(w.ctx)
	out, err := exec.Command("ip", "link", "show", a.ID().Tag).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "mtu 1400") {
		t.Errorf("the administrator's MTU of 1400 was set back: %v\n%s", err, out)
	}
	w.host("ip link property del dev h1 altname h0")
	w.driver.reconcile(w.ctx)
	w.restored()
	w.unprepare(c)
}

// TestRestoredWithDifferences checks that what of a link could not be restored
// is named by condition and event. The device is offered again.
func TestRestoredWithDifferences(t *testing.T) {
	w := newWorld(t, "ip link property add dev h0 altname disk0")
	c, p := w.running("h0")
	w.host("ip link property add dev p0 altname disk0")
	w.end(p)
	w.eventually("the claim says so", func() bool {
		_, reason, message, _, _ := w.device(c)
		return reason == v1alpha1.ReasonRestoredWithDifferences && strings.Contains(message, "add altname disk0")
	})
	w.eventually("an event of the pod", func() bool { return w.warned("web", v1alpha1.ReasonRestoredWithDifferences) == 1 })
	w.hasMetrics(`dra_netdev_interfaces{state="not_restored"} 0`)
	w.unprepare(c)
}

// TestLost checks that a destroyed link is reported by condition, event and metric,
// and offered no more, until there is one again.
func TestLost(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb")
	w.driver.engine.MissingFor = 0 // TestMissingForAWhile is about that time
	c, p := w.running("h1")
	p.ns.Run("ip link del net1")
	w.eventually("the claim says so while the pod runs", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonMissing })
	w.eventually("an event of the pod", func() bool { return w.warned("web", v1alpha1.ReasonMissing) == 1 })
	w.hasMetrics("dra_netdev_interfaces_missing_total 1", `dra_netdev_interfaces{state="missing"} 1`)
	w.eventually("the device is offered no more", func() bool { return slices.Equal(w.published(), []string{"h0", "p0"}) })
	w.end(p)
	w.eventually("and afterwards", func() bool {
		_, reason, message, _, _ := w.device(c)
		return reason == v1alpha1.ReasonMissing && strings.Contains(message, "nor on the host")
	})
	w.hasMetrics("dra_netdev_interfaces_missing_total 1")
	refused(t, w.run(w.pod("web", "s2")), netdev.ErrNotFound.Error())
	w.unprepare(c)
	w.host("ip link add h1 type ifb")
	w.eventually("a new one is offered", func() bool { return slices.Equal(w.published(), []string{"h0", "h1", "p0"}) })
	must(t, w.prepare(w.claim("next", "h1", net1, "next")))
}

// TestHomeByItself checks that a link which comes to the host by itself while
// its pod runs, as hardware does whose namespace ends, is made as it was and
// offered then only.
func TestHomeByItself(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	p.ns.Run("ip link set net1 down")
	p.ns.Run("ip link set net1 name other0")
	// A process of the host's. Our own counts as where its first thread is,
	// which may be in the pod for a moment.
	host := exec.Command("sleep", "60")
	must(t, host.Start())
	defer func() { host.Process.Kill(); host.Wait() }()
	p.ns.Run(fmt.Sprintf("ip link set other0 netns %d", host.Process.Pid))
	w.driver.engine.Observe(w.ctx)
	w.restored()
	w.eventually("the claim says so", func() bool { _, reason, _, _, _ := w.device(c); return reason == v1alpha1.ReasonDetached })
	must(t, w.create(p, c)) // the pod's next container has it again
	if !has(p, "net1") {
		t.Error("the pod's next container lacks the link")
	}
	w.end(p)
	w.unprepare(c)
	w.restored()
}

// TestSlicesStay checks that a pod's start and end change no slice: its device
// stays published from the records.
func TestSlicesStay(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb")
	w.eventually("all links are published", func() bool { return slices.Equal(w.published(), []string{"h0", "h1", "p0"}) })
	w.client.ClearActions()
	c, p := w.running("h1")
	w.scans()
	w.end(p)
	w.scans()
	w.unprepare(c)
	w.scans()
	for _, a := range w.client.Actions() {
		if verb := a.GetVerb(); a.GetResource().Resource == "resourceslices" && verb != "list" && verb != "watch" {
			t.Errorf("a slice was written: %s", verb)
		}
	}
	if got := w.published(); !slices.Equal(got, []string{"h0", "h1", "p0"}) {
		t.Errorf("published are %v", got)
	}
}

// TestKubeletAsksForAnUnknownClaim checks that what is not ours is success.
func TestKubeletAsksForAnUnknownClaim(t *testing.T) {
	w := newWorld(t, "")
	out, err := w.kubelet.NodeUnprepareResources(w.ctx, &drapb.NodeUnprepareResourcesRequest{Claims: []*drapb.Claim{{Namespace: "x", Name: "y", Uid: "z"}}})
	if err != nil || out.Claims["z"].GetError() != "" {
		t.Errorf("unprepare: %v, %v", out, err)
	}
}
