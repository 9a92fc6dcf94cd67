package driver

import (
	"encoding/json"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// TestDeviceNodes checks that a device's nodes are in its own edits of the
// claim's CDI spec, and not in those of the whole spec.
func TestDeviceNodes(t *testing.T) {
	store, _, err := allocation.Open(t.Context(), t.TempDir(), "boot")
	must(t, err)
	s := specs{dir: t.TempDir(), hook: "/hook", timeout: time.Second, store: store, sys: fstest.MapFS{}}
	claim := allocation.Ref{Namespace: "ns", Name: "c", UID: "u1"}
	must(t, s.write("u1", []allocation.Record{
		{Claim: claim, Device: inventory.Device{Name: "a", Nodes: []string{"/dev/infiniband/uverbs0", "/dev/infiniband/rdma_cm"}}},
		{Claim: claim, Device: inventory.Device{Name: "b"}},
	}))
	text, err := os.ReadFile(s.file("u1"))
	must(t, err)
	var spec cdi.Spec
	must(t, json.Unmarshal(text, &spec))
	got := map[string][]*cdi.DeviceNode{"whole": spec.ContainerEdits.DeviceNodes}
	for _, d := range spec.Devices {
		got[d.Name] = d.ContainerEdits.DeviceNodes
	}
	want := map[string][]*cdi.DeviceNode{
		"whole": nil, "u1-b": nil,
		"u1-a": {{Path: "/dev/infiniband/uverbs0", Permissions: "rw"}, {Path: "/dev/infiniband/rdma_cm", Permissions: "rw"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("device nodes (-want +got):\n%s", diff)
	}
}
