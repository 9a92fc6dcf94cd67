package driver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// withRDMA returns the record of an interface that is in the pod of sandbox s, whose
// RDMA device is given in JSON as it is recorded, and had these nodes at Prepare.
func withRDMA(t *testing.T, device string, nodes ...string) allocation.Record {
	t.Helper()
	var r allocation.Record
	for i, n := range nodes {
		nodes[i] = "/dev/infiniband/" + n
	}
	text := fmt.Sprintf(`{"claim":{"namespace":"ns","name":"c","uid":"u1"},"device":{"name":"a","link":{}},
		"attachment":{"sandbox":{"id":"s"},"original":{"rdma":%s},"inPod":{"State":{"rdma":%[1]s}}}}`, device)
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	r.Device.Nodes = nodes
	return r
}

const (
	movedRDMA = `{"index":3,"name":"evil","exclusive":true,"port":1,"base":{"port_rcv_data":5,"rcvd_pkts":9},
		"nodes":[{"name":"uverbs0","major":231,"minor":192},{"name":"umad2","major":231,"minor":2},{"name":"rdma_cm","major":10,"minor":120}]}`
	sharedRDMA  = `{"index":3,"name":"mlx5_0","port":1}`
	stayingRDMA = `{"index":3,"name":"mlx4_0","exclusive":true,"stays":"it has 2 ports, which would all move"}`
)

// TestDeviceNodeNumbers checks that a node has its numbers where sysfs has them, so
// that the runtime need not find the node at a moment at which its device moves.
func TestDeviceNodeNumbers(t *testing.T) {
	s := specs{sys: fstest.MapFS{
		"class/infiniband_verbs/uverbs0/dev": {Data: []byte("231:192\n")}, "class/infiniband_mad/umad0/dev": {Data: []byte("231:0\n")},
		"class/misc/rdma_cm/dev": {Data: []byte("10:120\n")}, "class/vfio/7/dev": {Data: []byte("508:0\n")},
	}}
	want := []*cdi.DeviceNode{
		{Path: "/dev/infiniband/uverbs0", Type: "c", Major: 231, Minor: 192, Permissions: "rw"},
		{Path: "/dev/infiniband/umad0", Type: "c", Major: 231, Permissions: "rw"},
		{Path: "/dev/infiniband/rdma_cm", Type: "c", Major: 10, Minor: 120, Permissions: "rw"},
		{Path: "/dev/vfio/7", Type: "c", Major: 508, Permissions: "rw"},
		{Path: "/dev/infiniband/uverbs9", Permissions: "rw"},
	}
	var paths []string
	for _, n := range want {
		paths = append(paths, n.Path)
	}
	if diff := cmp.Diff(want, s.deviceNodes(paths)); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

// TestReplaceNodes checks that a container gets the nodes that its RDMA device has
// since its move, and none that it did not get by CDI.
func TestReplaceNodes(t *testing.T) {
	node := func(name string, major, minor int64) *api.LinuxDevice {
		return &api.LinuxDevice{Path: "/dev/infiniband/" + name, Type: "c", Major: major, Minor: minor}
	}
	gone := func(name string) *api.LinuxDevice { return &api.LinuxDevice{Path: "-/dev/infiniband/" + name} }
	verbs, mad, cm := node("uverbs0", 231, 192), node("umad2", 231, 2), node("rdma_cm", 10, 120)
	key := allocation.Key{ClaimUID: "u1", Device: "a"}
	for name, tt := range map[string]struct {
		record allocation.Record
		keys   []allocation.Key
		have   []*api.LinuxDevice
		want   []*api.LinuxDevice
	}{
		"as before":      {withRDMA(t, movedRDMA, "uverbs0", "umad2", "rdma_cm"), []allocation.Key{key}, []*api.LinuxDevice{verbs, mad, cm}, nil},
		"other numbers":  {withRDMA(t, movedRDMA, "uverbs0", "umad2", "rdma_cm"), []allocation.Key{key}, []*api.LinuxDevice{node("uverbs0", 231, 194), mad, cm}, []*api.LinuxDevice{verbs}},
		"other names":    {withRDMA(t, movedRDMA, "uverbs4", "umad4", "rdma_cm"), []allocation.Key{key}, []*api.LinuxDevice{node("uverbs4", 231, 196), node("umad4", 231, 4), cm}, []*api.LinuxDevice{verbs, mad, gone("uverbs4"), gone("umad4")}},
		"not listed":     {withRDMA(t, movedRDMA, "uverbs4", "rdma_cm"), nil, []*api.LinuxDevice{node("uverbs4", 231, 196)}, nil},
		"named only":     {withRDMA(t, movedRDMA, "uverbs4", "rdma_cm"), []allocation.Key{key}, []*api.LinuxDevice{node("other", 1, 3)}, nil},
		"shared mode":    {withRDMA(t, sharedRDMA, "uverbs4", "rdma_cm"), []allocation.Key{key}, []*api.LinuxDevice{node("uverbs4", 231, 196)}, nil},
		"stays":          {withRDMA(t, stayingRDMA, "uverbs4", "rdma_cm"), []allocation.Key{key}, []*api.LinuxDevice{node("uverbs4", 231, 196)}, nil},
		"no RDMA at all": {withRDMA(t, "null"), []allocation.Key{key}, []*api.LinuxDevice{verbs}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := replaceNodes(&api.Container{Linux: &api.LinuxContainer{Devices: tt.have}}, []allocation.Record{tt.record}, tt.keys)
			var want, got []string
			for _, d := range tt.want {
				want = append(want, d.String())
			}
			for _, d := range a.GetLinux().GetDevices() {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("adjustment (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMovesNodes checks which containers wait for a move: those that list the claim of
// an RDMA device that is on its way.
func TestMovesNodes(t *testing.T) {
	key := allocation.Key{ClaimUID: "u1", Device: "a"}
	for name, tt := range map[string]struct {
		record allocation.Record
		keys   []allocation.Key
		want   bool
	}{
		"listed":      {withRDMA(t, movedRDMA), []allocation.Key{key}, true},
		"not listed":  {withRDMA(t, movedRDMA), nil, false},
		"shared mode": {withRDMA(t, sharedRDMA), []allocation.Key{key}, false},
		"stays":       {withRDMA(t, stayingRDMA), []allocation.Key{key}, false},
		"no RDMA":     {withRDMA(t, "null"), []allocation.Key{key}, false},
		"not begun":   {allocation.Record{Claim: allocation.Ref{UID: "u1"}, Device: inventory.Device{Name: "a"}}, []allocation.Key{key}, false},
	} {
		if got := movesNodes([]allocation.Record{tt.record}, tt.keys); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}

// TestRDMAStatus checks what a claim's status has of an RDMA device.
func TestRDMAStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		record    allocation.Record
		counters  map[string]uint64
		want      v1alpha1.RDMAStatus
		condition metav1.ConditionStatus
	}{
		"exclusive": {withRDMA(t, movedRDMA, "uverbs4"), map[string]uint64{"port_rcv_data": 7, "rcvd_pkts": 2}, v1alpha1.RDMAStatus{
			Device: "evil", Mode: "exclusive", Nodes: []string{"/dev/infiniband/uverbs0", "/dev/infiniband/umad2", "/dev/infiniband/rdma_cm"},
			Counters: map[string]uint64{"port_rcv_data": 2, "rcvd_pkts": 2},
		}, metav1.ConditionTrue},
		"shared": {withRDMA(t, sharedRDMA, "uverbs4"), nil, v1alpha1.RDMAStatus{Device: "mlx5_0", Mode: "shared", Nodes: []string{"/dev/infiniband/uverbs4"}}, metav1.ConditionTrue},
		"stays": {withRDMA(t, stayingRDMA, "uverbs4"), nil, v1alpha1.RDMAStatus{
			Device: "mlx4_0", Mode: "exclusive", Nodes: []string{"/dev/infiniband/uverbs4"}, Message: "it has 2 ports, which would all move",
		}, metav1.ConditionFalse},
		"no module": {withRDMA(t, sharedRDMA, "rdma_cm"), nil, v1alpha1.RDMAStatus{Device: "mlx5_0", Mode: "shared", Nodes: []string{"/dev/infiniband/rdma_cm"}, Message: rdmaNoVerbs}, metav1.ConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			s := data(tt.record, nic.Statistics{}, tt.counters, time.Now())
			if s.RDMA == nil {
				t.Fatal("there is no RDMA device")
			}
			if diff := cmp.Diff(tt.want, *s.RDMA); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			conditions := deviceStatus{Ready: true, Reason: "Attached", Data: s}.apply().Conditions
			if len(conditions) != 2 || *conditions[1].Type != v1alpha1.ConditionRDMAReady || *conditions[1].Status != tt.condition {
				t.Errorf("conditions: got %+v", conditions)
			}
		})
	}
	if s := data(withRDMA(t, "null"), nic.Statistics{}, nil, time.Now()); s.RDMA != nil {
		t.Errorf("without RDMA: got %+v", s.RDMA)
	}
}

// TestRDMAFits checks that data fits with counters that are as long as can be, and
// much else: then they are omitted.
func TestRDMAFits(t *testing.T) {
	counters := map[string]uint64{}
	for i := range 40 {
		counters[fmt.Sprintf("np_ecn_marked_roce_packets_%d", i)] = 1<<64 - 1
	}
	r := withRDMA(t, movedRDMA, "uverbs4")
	for _, omitted := range []int{0, 10, 1000} {
		r.Attachment.Omitted = slices.Repeat([]string{strings.Repeat("x", maxText)}, omitted)
		s := data(r, nic.Statistics{}, counters, time.Now())
		if raw, err := json.Marshal(s); err != nil || len(raw) > maxData || len(s.RDMA.Counters) != len(counters) {
			t.Errorf("%d omitted: data has %d bytes and %d counters (%v)", omitted, len(raw), len(s.RDMA.Counters), err)
		}
	}
}

// TestRDMAMetrics checks that the counters are metrics while the interface is in a
// pod and was seen there.
func TestRDMAMetrics(t *testing.T) {
	store, _, err := allocation.Open(t.Context(), t.TempDir(), "boot")
	must(t, err)
	r := withRDMA(t, movedRDMA, "uverbs4")
	must(t, store.Put(r))
	other := allocation.Record{Claim: r.Claim, Device: inventory.Device{Name: "b"}}
	must(t, store.Put(other))
	registry := prometheus.NewRegistry()
	registry.MustRegister(rdmaMetrics{store, func(r allocation.Record) (attachment.Observation, bool) {
		return attachment.Observation{RDMA: map[string]uint64{"port_rcv_data": 7, "rcvd_pkts": 2}}, true
	}})
	families, err := registry.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			got[f.GetName()+" "+m.Label[1].GetValue()+" "+m.Label[0].GetValue()] = m.Counter.GetValue()
		}
	}
	want := map[string]float64{"dra_netdev_rdma_port_counter_total a port_rcv_data": 2, "dra_netdev_rdma_port_counter_total a rcvd_pkts": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
