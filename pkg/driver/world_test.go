package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	nrilog "github.com/containerd/nri/pkg/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
	drapb "k8s.io/kubelet/pkg/apis/dra/v1"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

const (
	nodeName = "n1"
	soon     = 10 * time.Second
)

// TestMain runs the tests in network and mount namespaces of their own: the
// driver takes the process's network namespace for the host's.
func TestMain(m *testing.M) {
	nrilog.Set(nriLogger{klog.Logger{}}) // the runtime's own messages
	nstest.Main(m)
}

// world is a node: a driver between a kubelet's socket, a runtime's NRI and an
// API server that is fake.
type world struct {
	t          *testing.T
	ctx        context.Context
	dir        string
	address    string // of the health server; empty for none
	client     *fake.Clientset
	runtime    *adaptation.Adaptation
	kubelet    drapb.DRAPluginClient
	driver     *Driver
	stop       func() // ends the driver
	before     string
	include    *inventory.Filter
	attributes string // file of the administrator
	sys        fs.ReadLinkFS

	mu   sync.Mutex // guards pods
	pods []*api.PodSandbox
}

// newWorld makes a node with the NIC h0 and the commands' links, and starts
// its runtime and driver.
func newWorld(t *testing.T, onHost string) *world {
	t.Helper()
	return newWorldOn(t, os.DirFS("/sys"), onHost)
}

// newWorldOn is newWorld with another sysfs.
func newWorldOn(t *testing.T, sys fs.FS, onHost string) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: moves links between network namespaces")
	}
	_, ctx := ktesting.NewTestContext(t)
	w := &world{t: t, ctx: ctx, dir: t.TempDir(), sys: sys.(fs.ReadLinkFS)}
	w.host("ip link set lo up\nip link add h0 type veth peer name p0\nip link set p0 up\nip link set h0 up\nip addr add 192.0.2.1/24 dev h0\nip addr add 2001:db8::1/64 dev h0 nodad\nip route add 10.1.0.0/16 via 192.0.2.9\n" + onHost)
	t.Cleanup(func() { w.host("ip link del p0\n" + cleanup(onHost)) })
	w.eventually("the kernel has made the routes of h0's addresses", func() bool {
		w.before = w.snapshot()
		return strings.Count(w.before, "local 2001:db8::1 table local") == 2 // both commands show it
	})
	w.client = newClient()
	w.startRuntime()
	w.startDriver()
	return w
}

// cleanup deletes what "ip link add NAME" made.
func cleanup(commands string) string {
	var out strings.Builder
	for line := range strings.Lines(commands) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == "link" && f[2] == "add" {
			fmt.Fprintln(&out, "ip link del "+f[3])
		}
	}
	return out.String()
}

func (w *world) host(commands string) {
	w.t.Helper()
	nstest.Host(w.t, commands)
}

// snapshot is all of h0 on the host, or why there is none.
func (w *world) snapshot() string {
	out, _ := exec.Command("sh", "-c", "ip addr show dev h0; ip route show table all dev h0; ip -6 route show table all dev h0").CombinedOutput()
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "fe80") && !strings.Contains(line, "ff00::") && !strings.Contains(line, "_lft") { // come back with the link, by themselves
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
	}
	return strings.Join(lines, "\n")
}

// eventually waits until f is true.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	w.t.Fatalf("not within %v: %s", soon, what)
}

// scans waits until the driver has looked at the links since the call, and has
// published what it saw.
func (w *world) scans() { time.Sleep(republishDelay + time.Second) }

// home fails the test unless h0 is on the host as it was, with nothing of ours
// left over.
func (w *world) restored() {
	w.t.Helper()
	var now string
	var pins []os.DirEntry
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		now = w.snapshot()
		pins, _ = os.ReadDir(filepath.Join(w.dir, "state", "netns"))
		if now == w.before && len(pins) == 0 {
			return
		}
	}
	if now != w.before {
		w.t.Errorf("h0 is not as before:\n%s\nnow:\n%s", w.before, now)
	}
	if len(pins) > 0 {
		w.t.Errorf("pins are left: %v", pins)
	}
}

func newClient() *fake.Clientset {
	client := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, UID: "node-uid"}})
	version := 100
	// What the API server does for slices, and the fake client does not.
	for _, verb := range []string{"create", "update"} {
		client.PrependReactor(verb, "resourceslices", func(a clienttesting.Action) (bool, runtime.Object, error) {
			s := a.(clienttesting.CreateAction).GetObject().(*resourceapi.ResourceSlice)
			version++
			s.ResourceVersion = fmt.Sprint(version)
			if s.Name == "" {
				s.Name = fmt.Sprintf("%s%d", s.GenerateName, version)
			}
			return false, nil, nil
		})
	}
	return client
}

func (w *world) startRuntime() {
	w.t.Helper()
	sync := func(ctx context.Context, cb adaptation.SyncCB) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		_, err := cb(ctx, w.pods, nil)
		return err
	}
	update := func(context.Context, []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) { return nil, nil }
	r, err := adaptation.New("test", "1", sync, update, adaptation.WithSocketPath(filepath.Join(w.dir, "nri.sock")),
		adaptation.WithPluginPath(w.dir+"/none"), adaptation.WithPluginConfigPath(w.dir+"/none"))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.Stop)
	w.runtime = r
}

func (w *world) startDriver() { w.startInstance("") }

// startInstance starts a driver, beside the one that runs if it has a pod's
// UID, which is from now on what the kubelet talks to.
func (w *world) startInstance(podUID string) {
	w.t.Helper()
	w.host("mkdir -p " + w.dir + "/kubelet/plugins_registry")
	d, err := New(w.ctx, Config{
		NodeName: nodeName, PodUID: types.UID(podUID), Client: w.client, KubeletRoot: w.dir + "/kubelet", CDIDir: w.dir + "/cdi", NRISocket: w.dir + "/nri.sock",
		Hook: "/bin/true", HealthAddress: w.address, HealthSocket: w.dir + "/health" + podUID + ".sock", StateDir: w.dir + "/state", StatusInterval: 200 * time.Millisecond, Sys: w.sys,
		Include: w.include, Attributes: w.attributes,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	var once sync.Once
	w.driver = d
	w.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				w.t.Errorf("driver: %v", err)
			}
		})
	}
	w.t.Cleanup(w.stop)
	w.eventually("the driver is connected and has published", func() bool { return d.runtime.connected.Load() && d.slices.done.Load() })
	if podUID != "" {
		podUID = "-" + podUID
	}
	conn, err := grpc.NewClient("unix:"+filepath.Join(w.dir, "kubelet", "plugins", v1alpha1.DriverName, "dra"+podUID+".sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	w.kubelet = drapb.NewDRAPluginClient(conn)
}

// claim makes an allocated claim for a device, reserved for pods.
func (w *world) claim(name, device, config string, pods ...string) *resourceapi.ResourceClaim {
	w.t.Helper()
	c := &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name)}}
	c.Status.Allocation = &resourceapi.AllocationResult{Devices: resourceapi.DeviceAllocationResult{
		Results: []resourceapi.DeviceRequestAllocationResult{{Request: "nic", Driver: v1alpha1.DriverName, Pool: nodeName, Device: device}},
		Config: []resourceapi.DeviceAllocationConfiguration{{Source: resourceapi.AllocationConfigSourceClaim, DeviceConfiguration: resourceapi.DeviceConfiguration{
			Opaque: &resourceapi.OpaqueDeviceConfiguration{Driver: v1alpha1.DriverName, Parameters: runtime.RawExtension{Raw: []byte(config)}},
		}}},
	}}
	for _, p := range pods {
		c.Status.ReservedFor = append(c.Status.ReservedFor, resourceapi.ResourceClaimConsumerReference{Resource: "pods", Name: p, UID: types.UID("uid-" + p)})
	}
	if err := w.client.Tracker().Add(c); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// prepare asks the driver as the kubelet does.
func (w *world) prepare(c *resourceapi.ResourceClaim) error {
	w.t.Helper()
	out, err := w.kubelet.NodePrepareResources(w.ctx, &drapb.NodePrepareResourcesRequest{Claims: []*drapb.Claim{{Namespace: c.Namespace, Name: c.Name, Uid: string(c.UID)}}})
	if err != nil {
		return err
	}
	if text := out.Claims[string(c.UID)].GetError(); text != "" {
		return fmt.Errorf("%s", text)
	}
	return nil
}

func (w *world) unprepare(c *resourceapi.ResourceClaim) {
	w.t.Helper()
	out, err := w.kubelet.NodeUnprepareResources(w.ctx, &drapb.NodeUnprepareResourcesRequest{Claims: []*drapb.Claim{{Namespace: c.Namespace, Name: c.Name, Uid: string(c.UID)}}})
	if err != nil || out.Claims[string(c.UID)].GetError() != "" {
		w.t.Errorf("unprepare %s: %v, %v", c.Name, out, err)
	}
}

// pod is a sandbox with a network namespace of its own.
type pod struct {
	*api.PodSandbox
	ns *nstest.NS
}

func (w *world) pod(name, sandbox string) pod {
	w.t.Helper()
	ns := nstest.New(w.t)
	ns.Run("ip link set lo up")
	return pod{&api.PodSandbox{
		Id: sandbox, Name: name, Uid: "uid-" + name, Namespace: "default",
		Linux: &api.LinuxPodSandbox{Namespaces: []*api.LinuxNamespace{{Type: "network", Path: ns.Path}}},
	}, ns}
}

// arrived waits, as the runtime hook does, until no interface is on its way to
// the pod, and returns an error unless all are there.
func (w *world) arrived(p pod) error {
	for end := time.Now().Add(soon); ; time.Sleep(time.Millisecond) {
		on := w.driver.store.Find(func(r allocation.Record) bool { return r.AttachingTo(p.Id) })
		if len(on) == 0 {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %v: %s has arrived", soon, on[0])
		}
	}
	for _, r := range w.driver.store.OfPod(p.Uid) {
		if !r.AttachedTo(p.Id) {
			return fmt.Errorf("%s", r.Condition.Message)
		}
	}
	return nil
}

// left waits until the driver has tried to detach all of a sandbox.
func (w *world) left(p pod) {
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !slices.ContainsFunc(w.driver.store.InSandbox(p.Id), func(r allocation.Record) bool { return r.Attached() || r.Attaching() }) {
			return
		}
	}
}

// run does what the runtime does for a new sandbox: the handler, and on an error
// the handlers of its end.
func (w *world) run(p pod) error {
	err := w.runtime.RunPodSandbox(w.ctx, &api.RunPodSandboxRequest{Pod: p.PodSandbox})
	if err == nil {
		err = w.arrived(p)
	}
	if err != nil {
		w.end(p)
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods = append(w.pods, p.PodSandbox)
	return nil
}

func (w *world) end(p pod) {
	w.t.Helper()
	if err := w.runtime.StopPodSandbox(w.ctx, &api.StopPodSandboxRequest{Pod: p.PodSandbox}); err != nil {
		w.t.Error(err)
	}
	if err := w.runtime.RemovePodSandbox(w.ctx, &api.RemovePodSandboxRequest{Pod: p.PodSandbox}); err != nil {
		w.t.Error(err)
	}
	w.left(p)
	w.forget(p)
}

// forget takes a sandbox out of what the runtime lists.
func (w *world) forget(p pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.pods {
		if w.pods[i].Id == p.Id {
			w.pods = append(w.pods[:i], w.pods[i+1:]...)
			return
		}
	}
}

// create asks for a container that uses the claims' devices.
func (w *world) create(p pod, claims ...*resourceapi.ResourceClaim) error {
	var env []string
	for _, c := range claims {
		for _, r := range c.Status.Allocation.Devices.Results {
			env = append(env, deviceEnv(allocation.Key{ClaimUID: string(c.UID), Device: r.Device}))
		}
	}
	_, err := w.runtime.CreateContainer(w.ctx, &api.CreateContainerRequest{Pod: p.PodSandbox, Container: &api.Container{Id: "c-" + p.Id, PodSandboxId: p.Id, Name: "c", Env: env}})
	return err
}

// device returns what stands in the claim's status of its one device.
func (w *world) device(c *resourceapi.ResourceClaim) (ready, reason, message string, data v1alpha1.NetDeviceStatus, network *resourceapi.NetworkDeviceData) {
	w.t.Helper()
	now, err := w.client.ResourceV1().ResourceClaims(c.Namespace).Get(w.ctx, c.Name, metav1.GetOptions{})
	if err != nil || len(now.Status.Devices) != 1 || len(now.Status.Devices[0].Conditions) != 1 {
		return "", "", "", data, nil
	}
	d := now.Status.Devices[0]
	if d.Data != nil {
		if err := json.Unmarshal(d.Data.Raw, &data); err != nil {
			w.t.Error(err)
		}
	}
	return string(d.Conditions[0].Status), d.Conditions[0].Reason, d.Conditions[0].Message, data, d.NetworkData
}

// published are the names of the devices in the ResourceSlices, sorted.
func (w *world) published() []string {
	w.t.Helper()
	var all []string
	list, err := w.client.ResourceV1().ResourceSlices().List(w.ctx, metav1.ListOptions{})
	must(w.t, err)
	for _, s := range list.Items {
		for _, d := range s.Spec.Devices {
			all = append(all, d.Name)
		}
	}
	slices.Sort(all)
	return all
}

// warned counts the warning events of a pod with this reason.
func (w *world) warned(pod, reason string) int {
	w.t.Helper()
	list, err := w.client.EventsV1().Events("default").List(w.ctx, metav1.ListOptions{})
	must(w.t, err)
	n := 0
	for _, e := range list.Items {
		if e.Regarding.Kind == "Pod" && e.Regarding.Name == pod && e.Reason == reason && e.Type == corev1.EventTypeWarning {
			n++
		}
	}
	return n
}

// metered fails the test unless /metrics has these lines.
func (w *world) hasMetrics(lines ...string) {
	w.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", w.dir+"/health.sock")
	}}}
	answer, err := client.Get("http://driver/metrics")
	must(w.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(w.t, err)
	for _, line := range lines {
		if !strings.Contains("\n"+string(text), "\n"+line+"\n") {
			w.t.Errorf("/metrics lacks %q:\n%s", line, text)
		}
	}
}
