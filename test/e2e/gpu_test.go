//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/dynamic-resource-allocation/deviceattribute"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

// gpuNode is set in a process that is a driver of GPUs: its node.
const gpuNode = "DRA_NETDEV_TEST_GPU_NODE"

const (
	nodeKubelet = "/var/lib/kubelet"
	nodeCDI     = "/var/run/cdi"
)

// gpus are the GPUs of a node with two NUMA nodes, by their PCIe roots.
var gpus = []struct {
	name, root string
	numa       int64
}{{"gpu-0", "pci0000:17", 0}, {"gpu-1", "pci0000:97", 1}, {"gpu-2", "pci0000:17", 0}}

// gpuDriver is a DRA driver for GPUs that do not exist. A container gets the name
// of its GPU in the environment.
type gpuDriver struct{}

func (gpuDriver) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	results := map[types.UID]kubeletplugin.PrepareResult{}
	for _, c := range claims {
		result := kubeletplugin.PrepareResult{}
		var devices []any
		for _, r := range c.Status.Allocation.Devices.Results {
			if r.Driver != otherDriver {
				continue
			}
			name := string(c.UID) + "-" + r.Device
			devices = append(devices, map[string]any{"name": name, "containerEdits": map[string]any{"env": []string{"GPU=" + r.Device}}})
			result.Devices = append(result.Devices, kubeletplugin.Device{Requests: []string{r.Request}, PoolName: r.Pool, DeviceName: r.Device,
				CDIDeviceIDs: []string{otherDriver + "/gpu=" + name}})
		}
		spec, err := json.Marshal(map[string]any{"cdiVersion": "0.6.0", "kind": otherDriver + "/gpu", "devices": devices})
		if err == nil {
			err = os.WriteFile(gpuSpec(c.UID)+".new", spec, 0o644)
		}
		if err == nil {
			err = os.Rename(gpuSpec(c.UID)+".new", gpuSpec(c.UID))
		}
		result.Err = err
		results[c.UID] = result
	}
	return results, nil
}

func (gpuDriver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, c := range claims {
		if results[c.UID] = os.Remove(gpuSpec(c.UID)); errors.Is(results[c.UID], os.ErrNotExist) {
			results[c.UID] = nil
		}
	}
	return results, nil
}

func gpuSpec(claim types.UID) string {
	return filepath.Join(nodeCDI, otherDriver+"-"+string(claim)+".json")
}

func (gpuDriver) HandleError(_ context.Context, err error, msg string) {
	fmt.Fprintln(os.Stderr, msg, err)
}

func (gpuDriver) WatchHealthStatus(context.Context, chan<- kubeletplugin.DeviceHealthReport) error {
	return kubeletplugin.ErrHealthNotSupported
}

// runGPUDriver serves the kubelet of a node, in the node's namespaces, until it gets
// SIGTERM.
func runGPUDriver(node string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(os.Getenv("CLUSTER_STATE"), "admin.conf"))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	data := filepath.Join(nodeKubelet, "plugins", otherDriver)
	for _, dir := range []string{data, nodeCDI} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	defer os.RemoveAll(data)
	helper, err := kubeletplugin.Start(ctx, gpuDriver{}, kubeletplugin.DriverName(otherDriver), kubeletplugin.NodeName(node), kubeletplugin.KubeClient(client),
		kubeletplugin.PluginDataDirectoryPath(data), kubeletplugin.RegistrarDirectoryPath(filepath.Join(nodeKubelet, "plugins_registry")))
	if err != nil {
		return err
	}
	defer helper.Stop()
	var devices []resourceapi.Device
	for _, g := range gpus {
		devices = append(devices, resourceapi.Device{Name: g.name, Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{
			deviceattribute.StandardDeviceAttributePCIeRoot: {StringValue: &g.root}, deviceattribute.StandardDeviceAttributeNUMANode: {IntValue: &g.numa},
		}})
	}
	pools := map[string]resourceslice.Pool{node: {Slices: []resourceslice.Slice{{Devices: devices}}}}
	if err := helper.PublishResources(ctx, resourceslice.DriverResources{Pools: pools}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// startGPUDriver runs the driver of GPUs, which is this program, on a node until the
// test ends, and waits for its devices.
func startGPUDriver(t *testing.T, node string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(root, "test/cluster/node"), node, "env", gpuNode+"="+node, program)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, podLimit, "deletion of all pods and claims", nothingLeft) // the kubelet needs the driver for that
		syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		if err := c.Wait(); err != nil || t.Failed() {
			t.Logf("the driver of GPUs: %v, %s", err, last(out.String(), 4000))
		}
		kubectl(t, "delete", "resourceslices", "--field-selector=spec.driver="+otherDriver)
	})
	eventually(t, podLimit, "the devices of the other driver", func() error {
		list, err := get[resourceapi.ResourceSliceList]("resourceslices", "--field-selector=spec.driver="+otherDriver)
		if err == nil && len(list.Items) == 0 {
			err = errors.New("got no slice")
		}
		return err
	})
}

// testGPUAndNIC checks, with a driver for GPUs, that each pod gets a GPU and a NIC of
// one PCIe root, and that a pod waits when no such pair is left although there are
// a GPU and a NIC.
func testGPUAndNIC(t *testing.T) {
	ownCluster(t)
	nics := []*nic{{node: "n1", name: "eth1", n: 1}, {node: "n1", name: "eth2", n: 2}, {node: "n1", name: "eth3", n: 3}}
	roots := map[string]string{"eth1": "pci0000:17", "eth2": "pci0000:97", "eth3": "pci0000:97"}
	makeNICs(t, nics...)
	startGPUDriver(t, "n1")
	withValues(t, valuesFile(t, `
attributes: # what a node with two NUMA nodes has in sysfs
- match: device.attributes["dra-netdev.github.io"].ifName == "eth1"
  attributes: {resource.kubernetes.io/pcieRoot: "pci0000:17", resource.kubernetes.io/numaNode: 0}
- match: device.attributes["dra-netdev.github.io"].ifName in ["eth2", "eth3"]
  attributes: {resource.kubernetes.io/pcieRoot: "pci0000:97", resource.kubernetes.io/numaNode: 1}
`))
	awaitAttribute(t, "n1", deviceattribute.StandardDeviceAttributePCIeRoot, withGPUs(roots))
	apply(t, strings.ReplaceAll(`
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu.nvidia.com}
spec: {selectors: [{cel: {expression: 'device.driver == "DRIVER"'}}]}
---`, "DRIVER", otherDriver))
	example(t, "16-gpu-and-nic.yaml")
	used := map[string]bool{}
	for _, p := range replicas(t, 2, "app=gpu-and-nic") {
		gpu, n := pairOf(t, p)
		if roots[n] != rootOf(gpu) || strings.TrimSpace(kubectl(t, "exec", p.Name, "--", "sh", "-c", "echo $GPU")) != gpu {
			t.Errorf("pod %s has %s of %s and %s of %s", p.Name, gpu, rootOf(gpu), n, roots[n])
		}
		used[gpu], used[n] = true, true
		inPod(t, nics[slices.IndexFunc(nics, func(each *nic) bool { return each.name == n })], p.Name, "net1")
	}
	if len(used) != 4 || !used["eth1"] || !used["gpu-1"] {
		t.Fatalf("the pods have %v, want eth1 with a GPU of its root, and gpu-1 with a NIC of its own", used)
	}

	kubectl(t, "scale", "deployment/gpu-and-nic", "--replicas=3")
	waiting := ""
	eventually(t, eventLimit, "a third pod", func() error {
		for _, p := range pods(t, "default", "app=gpu-and-nic") {
			if p.Spec.NodeName == "" {
				waiting = p.Name
				return nil
			}
		}
		return errors.New("found none that waits")
	})
	eventOf(t, waiting, "FailedScheduling", "cannot allocate all claims")
	// A pod that does not ask for one root gets what is left.
	apply(t, `
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: any-root}
spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.nvidia.com}}, {name: nic, exactly: {deviceClassName: dra-netdev,
  selectors: [{cel: {expression: 'device.attributes["resource.kubernetes.io"].?pcieRoot.hasValue()'}}]}}]}}
---`+podFor("any-root", "", "any-root"))
	ready(t, "any-root")
	gpu, n := pairOf(t, mustGet[corev1.Pod](t, "pod", "any-root"))
	if used[gpu] || used[n] || roots[n] == rootOf(gpu) {
		t.Errorf("a pod without a constraint has %s of %s and %s of %s; used were %v", gpu, rootOf(gpu), n, roots[n], used)
	}
	if p := mustGet[corev1.Pod](t, "pod", waiting); p.Spec.NodeName != "" || p.Status.Phase != corev1.PodPending {
		t.Errorf("pod %s is %s on node %q, want it to wait", waiting, p.Status.Phase, p.Spec.NodeName)
	}
}

// withGPUs returns the PCIe roots of these NICs and of all GPUs.
func withGPUs(nics map[string]string) map[string]string {
	all := map[string]string{}
	for _, g := range gpus {
		all[g.name] = g.root
	}
	for n, root := range nics {
		all[n] = root
	}
	return all
}

func rootOf(gpu string) string { return withGPUs(nil)[gpu] }

// pairOf returns the devices that a pod's claim has.
func pairOf(t *testing.T, p corev1.Pod) (gpu, nic string) {
	t.Helper()
	name := ""
	if len(p.Status.ResourceClaimStatuses) == 1 && p.Status.ResourceClaimStatuses[0].ResourceClaimName != nil {
		name = *p.Status.ResourceClaimStatuses[0].ResourceClaimName
	}
	name = cmp.Or(name, p.Name)
	claim := mustGet[resourceapi.ResourceClaim](t, "resourceclaim", name)
	if claim.Status.Allocation == nil {
		t.Fatalf("claim %s of pod %s is not allocated", name, p.Name)
	}
	devices := map[string]string{}
	for _, r := range claim.Status.Allocation.Devices.Results {
		devices[r.Request] = r.Device
	}
	return devices["gpu"], devices["nic"]
}

// valuesFile writes values of the chart to a file.
func valuesFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
