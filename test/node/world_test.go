package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// soon is how long anything may take that should be there soon, on a machine
// that does other things too.
const soon = 30 * time.Second

// world is a node: a host with links, and on it a kubelet, a container runtime
// and a driver. Its names in the API server are its own, so worlds can be
// tested side by side.
type world struct {
	t      *testing.T
	ctx    context.Context
	dir    string // of everything that the node has on disk
	node   string // name of the Node and of the namespace of its pods
	host   *nstest.NS
	before string // all of the host, with the driver running and no pod
	gate   *gate  // the node's way to the API server

	gated       kubernetes.Interface // goes through gate
	kubelet     *kubelet
	runtime     *runtime
	driver      *process
	connections int32 // that the runtime had when the driver was started

	simple         int                 // links x0, x1 and so on that the host has
	runtimeOptions []adaptation.Option // of the next runtime, beside the usual ones

	mu   sync.Mutex // guards pods
	pods []*corev1.Pod
}

// links are what a host has: h0 with addresses and routes of both families, in
// the order in which the kernel must list them afterwards, and two simple ones.
const links = `ip link set lo up
	ip link add h0 mtu 9000 address 02:00:00:00:00:10 type veth peer name p0
	ip link set p0 up
	ip link set h0 up alias storage
	ip link property add dev h0 altname enp1
	ip addr add 192.0.2.1/24 dev h0
	ip addr add 192.0.2.2/24 dev h0
	ip addr add 2001:db8::1/64 dev h0 nodad
	ip addr add 2001:db8::2/64 dev h0 nodad
	ip route add 10.1.0.0/16 via 192.0.2.9 src 192.0.2.2 metric 7
	ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev h0 nud permanent
	ip link add h1 type ifb
	ip link set h1 up
	ip addr add 198.51.100.1/24 dev h1
	ip link add h2 type ifb`

var worlds atomic.Int32

// newWorld makes a node, on which everything runs. At the end of the test it
// must be as it was, with nothing of ours left over.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, 0)
}

// newWorldOf is newWorld for a node that has so many simple links beside the
// usual ones: x0, x1 and so on.
func newWorldOf(t *testing.T, n int) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: moves links between network namespaces")
	}
	w := &world{t: t, ctx: context.Background(), node: fmt.Sprintf("n%d", worlds.Add(1)), simple: n, gate: &gate{network: "tcp", address: master.address}}
	w.makeDir()
	w.host = nstest.New(t)
	w.host.Lines(links)
	var more strings.Builder
	for i := range n {
		fmt.Fprintf(&more, "link add x%d type ifb\n", i)
	}
	w.host.Batch(more.String())
	w.gated = gatedClient(t, w.gate)
	_, err := master.client.CoreV1().Nodes().Create(w.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: w.node}}, metav1.CreateOptions{})
	w.must(err)
	_, err = master.client.CoreV1().Namespaces().Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.node}}, metav1.CreateOptions{})
	w.must(err)
	w.openGate()
	w.setBootID("11111111-0000-0000-0000-000000000001")
	w.startRuntime()
	w.startKubelet()
	w.startDriver()
	t.Cleanup(w.tellMore)
	t.Cleanup(func() { w.stop() })
	w.ready()
	w.before = w.host.Settled()
	t.Cleanup(w.over)
	return w
}

// makeDir makes the node's directory. It is short, because it holds sockets,
// and shared, because the driver's mounts are to reach it. It goes with the
// programs' directory.
func (w *world) makeDir() {
	w.t.Helper()
	w.dir = filepath.Join(programs, w.node)
	w.must(os.Mkdir(w.dir, 0o755))
	w.sh("mount --bind " + w.dir + " " + w.dir)
	w.sh("mount --make-shared " + w.dir)
	w.must(os.Mkdir(w.dir+"/state", 0o700)) // in memory, as /run is
	w.sh("mount -t tmpfs tmpfs " + w.dir + "/state")
}

func (w *world) setBootID(id string) {
	w.t.Helper()
	w.must(os.WriteFile(w.dir+"/boot_id", []byte(id+"\n"), 0o600))
}

// over fails the test unless everything is as before the first pod.
func (w *world) over() {
	if w.t.Failed() {
		return
	}
	w.host.Same(w.before, "the host")
	w.nothingLeft()
}

// nothingLeft fails the test if something speaks of a claim.
func (w *world) nothingLeft() {
	w.t.Helper()
	var left []string
	for _, dir := range []string{"state/netns", "state/allocations", "cdi"} {
		entries, err := os.ReadDir(filepath.Join(w.dir, dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Error(err)
		}
		for _, e := range entries {
			left = append(left, dir+"/"+e.Name())
		}
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "kubelet/plugins/*/dra-device-metadata/*"))
	w.check(err)
	left = append(left, files...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	w.check(err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, w.dir+"/state/") {
			left = append(left, line)
		}
	}
	if len(left) > 0 {
		w.t.Errorf("left over: %q", left)
	}
}

// tellMore prints what driver and kubelet had to say about a failure.
func (w *world) tellMore() {
	if !w.t.Failed() {
		return
	}
	for _, name := range []string{"driver.log", "kubelet.log"} {
		log, _ := os.ReadFile(filepath.Join(w.dir, name))
		w.t.Logf("%s:\n%s", name, log[max(0, len(log)-6000):])
	}
}

func (w *world) sh(command string) {
	w.t.Helper()
	if out, err := shell(command); err != nil {
		w.t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// must ends the test on an error.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// check fails the test on an error.
func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}

// eventually waits until f is true; why adds what was seen instead.
func (w *world) eventually(what string, f func() bool, why ...func() string) {
	w.t.Helper()
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	text := ""
	for _, f := range why {
		text += ": " + f()
	}
	w.t.Fatalf("not within %v: %s%s", soon, what, text)
}

// pod is a pod as the kubelet knows it, with claims of these names. It is not
// in the API server: nothing here asks for it.
func (w *world) pod(name string, claims ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.node, Name: name, UID: uuid.NewUUID()}}
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	for _, c := range claims {
		p.Spec.ResourceClaims = append(p.Spec.ResourceClaims, corev1.PodResourceClaim{Name: c, ResourceClaimName: &c})
		p.Spec.Containers[0].Resources.Claims = append(p.Spec.Containers[0].Resources.Claims, corev1.ResourceClaim{Name: c})
	}
	return p
}

// claim makes a claim as the scheduler leaves it: device is allocated to it,
// and it is reserved for the pods.
func (w *world) claim(name, device, ifName string, pods ...*corev1.Pod) *resourceapi.ResourceClaim {
	w.t.Helper()
	return w.allocate(w.newClaim(name), []result{{driverName, w.node, device}}, ifName, pods...)
}

func (w *world) newClaim(name string) *resourceapi.ResourceClaim {
	w.t.Helper()
	c := &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: name}}
	c.Spec.Devices.Requests = []resourceapi.DeviceRequest{{Name: "nic", Exactly: &resourceapi.ExactDeviceRequest{DeviceClassName: "nic"}}}
	c, err := master.client.ResourceV1().ResourceClaims(w.node).Create(w.ctx, c, metav1.CreateOptions{})
	w.must(err)
	return c
}

type result struct{ driver, pool, device string }

// allocate writes what the scheduler writes into a claim's status.
func (w *world) allocate(c *resourceapi.ResourceClaim, results []result, ifName string, pods ...*corev1.Pod) *resourceapi.ResourceClaim {
	w.t.Helper()
	// The keys are sorted, as kubectl sends them.
	parameters := fmt.Sprintf(`{"apiVersion":%q,"interface":{"name":%q},"kind":%q}`, v1alpha1.GroupVersion, ifName, v1alpha1.ConfigKind)
	return w.allocateWith(c, results, parameters, pods...)
}

func (w *world) allocateWith(c *resourceapi.ResourceClaim, results []result, parameters string, pods ...*corev1.Pod) *resourceapi.ResourceClaim {
	w.t.Helper()
	c.Status.Allocation = &resourceapi.AllocationResult{NodeSelector: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{w.node}}},
	}}}}
	for _, r := range results {
		c.Status.Allocation.Devices.Results = append(c.Status.Allocation.Devices.Results,
			resourceapi.DeviceRequestAllocationResult{Request: "nic", Driver: r.driver, Pool: r.pool, Device: r.device})
	}
	opaque := &resourceapi.OpaqueDeviceConfiguration{Driver: driverName}
	opaque.Parameters.Raw = []byte(parameters)
	c.Status.Allocation.Devices.Config = []resourceapi.DeviceAllocationConfiguration{{Source: resourceapi.AllocationConfigSourceClaim, DeviceConfiguration: resourceapi.DeviceConfiguration{Opaque: opaque}}}
	c.Status.ReservedFor = nil
	for _, p := range pods {
		c.Status.ReservedFor = append(c.Status.ReservedFor, resourceapi.ResourceClaimConsumerReference{Resource: "pods", Name: p.Name, UID: p.UID})
	}
	c, err := master.client.ResourceV1().ResourceClaims(w.node).UpdateStatus(w.ctx, c, metav1.UpdateOptions{})
	w.must(err)
	return c
}

// status is what a claim says of a device.
type status struct {
	ready, reason, message string
	data                   v1alpha1.NetDeviceStatus
	network                *resourceapi.NetworkDeviceData
}

func (w *world) status(c *resourceapi.ResourceClaim) (s status) {
	w.t.Helper()
	now, err := master.client.ResourceV1().ResourceClaims(w.node).Get(w.ctx, c.Name, metav1.GetOptions{})
	w.must(err)
	i := slices.IndexFunc(now.Status.Devices, func(d resourceapi.AllocatedDeviceStatus) bool { return d.Driver == driverName })
	if i < 0 || len(now.Status.Devices[i].Conditions) != 1 {
		return s
	}
	d := now.Status.Devices[i]
	s.ready, s.reason, s.message = string(d.Conditions[0].Status), d.Conditions[0].Reason, d.Conditions[0].Message
	s.network = d.NetworkData
	if d.Data != nil {
		w.check(json.Unmarshal(d.Data.Raw, &s.data))
	}
	return s
}

// says waits until the claim's condition is Ready=ready for the reason.
func (w *world) says(c *resourceapi.ResourceClaim, ready, reason string) status {
	w.t.Helper()
	var s status
	w.eventually(fmt.Sprintf("claim %s says Ready=%s, %s", c.Name, ready, reason), func() bool {
		s = w.status(c)
		return s.ready == ready && s.reason == reason
	}, func() string { return fmt.Sprintf("it says %+v", s) })
	return s
}

// deleteClaim deletes a claim and takes its finalizers away, as somebody does
// who waits no longer.
func (w *world) deleteClaim(c *resourceapi.ResourceClaim) {
	w.t.Helper()
	claims := master.client.ResourceV1().ResourceClaims(w.node)
	w.must(claims.Delete(w.ctx, c.Name, metav1.DeleteOptions{}))
	_, err := claims.Patch(w.ctx, c.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
}
