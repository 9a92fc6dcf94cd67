//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
)

const otherDriver = "gpu.example.com"

// brokenDriver is a DRA driver whose Prepare always fails.
type brokenDriver struct{}

func (brokenDriver) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	return nil, errors.New("the GPU has fallen off the bus")
}

func (brokenDriver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, c := range claims {
		results[c.UID] = nil
	}
	return results, nil
}

func (brokenDriver) HandleError(context.Context, error, string) {}

func (brokenDriver) WatchHealthStatus(context.Context, chan<- kubeletplugin.DeviceHealthReport) error {
	return kubeletplugin.ErrHealthNotSupported
}

// startBrokenDriver registers brokenDriver, which runs in this process, with the
// kubelet of n1: the node's disk is in this file system, at the same path. The
// driver's API client is a fake without claims, so it fails on each claim.
func startBrokenDriver(t *testing.T) {
	t.Helper()
	kubelet := filepath.Join(os.Getenv("CLUSTER_STATE"), "n1/kubelet")
	data := filepath.Join(kubelet, "plugins", otherDriver)
	if err := os.MkdirAll(data, 0o750); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	helper, err := kubeletplugin.Start(ctx, brokenDriver{}, kubeletplugin.DriverName(otherDriver), kubeletplugin.NodeName("n1"),
		kubeletplugin.KubeClient(fake.NewClientset()), kubeletplugin.PluginDataDirectoryPath(data),
		kubeletplugin.RegistrarDirectoryPath(filepath.Join(kubelet, "plugins_registry")))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		helper.Stop()
		cancel()
		os.RemoveAll(data)
	})
	eventually(t, podLimit, "registration of the other driver", func() error {
		if s := helper.RegistrationStatus(); s == nil || !s.PluginRegistered {
			return fmt.Errorf("its registration is %v", s)
		}
		return nil
	})
}

// TestOtherDriverFails checks that the NICs of pods whose GPU another driver
// cannot prepare are prepared, not touched, and free again when the pods are
// deleted. There are several pods, since the kubelet calls drivers in random order.
func TestOtherDriverFails(t *testing.T) {
	ownCluster(t)
	const count = 4
	var nics []*nic
	var devices []string
	manifest := ""
	for i := range count {
		n := &nic{node: "n1", name: fmt.Sprintf("nic%d", i), n: 10 + i}
		name, gpu := fmt.Sprintf("both%d", i), fmt.Sprintf("gpu%d", i)
		manifest += nicClaim(name, n.name, "{}") + strings.NewReplacer("GPU", gpu, "DRIVER", otherDriver).Replace(`
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: GPU}
spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: DRIVER}}]}}
---`) + podFor(name, "", name, gpu)
		nics, devices = append(nics, n), append(devices, "{name: "+gpu+"}")
	}
	makeNICs(t, nics...)
	startBrokenDriver(t)
	apply(t, strings.NewReplacer("DRIVER", otherDriver, "DEVICES", strings.Join(devices, ", ")).Replace(`
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: DRIVER}
spec: {selectors: [{cel: {expression: 'device.driver == "DRIVER"'}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: n1-gpus}
spec: {driver: DRIVER, nodeName: n1, pool: {name: n1-gpus, generation: 1, resourceSliceCount: 1}, devices: [DEVICES]}
---`))
	check := untouched(t, nics...)
	apply(t, manifest)
	for i := range count {
		eventOf(t, fmt.Sprintf("both%d", i), "FailedPrepareDynamicResources", "gpu")
	}
	took := eventually(t, recoverLimit, "preparation of one NIC", func() error {
		if prepared(t) == 0 {
			return errors.New("found no record")
		}
		return nil
	})
	t.Logf("%d NICs were prepared after %.1f s", prepared(t), took.Seconds())
	time.Sleep(time.Second) // enough for a container to start
	for i := range count {
		notStarted(t, fmt.Sprintf("both%d", i))
	}
	kubectl(t, "delete", "pod", "--all", "--timeout="+podLimit.String())
	if got := prepared(t); got != 0 {
		t.Errorf("%d NICs are still prepared after the end of the pods", got)
	}
	check()
}

// prepared counts the allocation records on n1.
func prepared(t *testing.T) int {
	t.Helper()
	return len(strings.Fields(onNode(t, "n1", "sh", "-c", "ls /run/dra-netdev/allocations | grep json$ || true")))
}
