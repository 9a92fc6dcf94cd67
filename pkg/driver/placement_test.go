package driver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

// devicesNamed returns devices with nothing but these names, sorted.
func devicesNamed(names ...string) []resourceapi.Device {
	devices := make([]resourceapi.Device, len(names))
	for i, name := range slices.Sorted(slices.Values(names)) {
		devices[i].Name = name
	}
	return devices
}

// names are "x100", "x101" and so on, n of them.
func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("x%d", 1000+i)
	}
	return all
}

func lengths(placed [][]resourceapi.Device) (n []int) {
	for _, slice := range placed {
		n = append(n, len(slice))
	}
	return n
}

func TestPlace(t *testing.T) {
	full := place(nil, devicesNamed(names(130)...))
	without := func(drop ...string) []string {
		return slices.DeleteFunc(names(130), func(name string) bool { return slices.Contains(drop, name) })
	}
	for _, tt := range []struct {
		name    string
		before  [][]resourceapi.Device
		devices []string
		want    []int // lengths of the slices
		changed []int
	}{
		{"nothing at all", nil, nil, []int{0}, nil},
		{"at first", nil, names(130), []int{64, 64, 2}, nil},
		{"nothing new", full, names(130), []int{64, 64, 2}, []int{}},
		{"one sorts first", full, append(names(130), "a"), []int{64, 64, 3}, []int{2}},
		{"one goes", full, without("x1000"), []int{63, 64, 2}, []int{0}},
		{"one of the last slice goes, which stays", full, without("x1128", "x1129"), []int{64, 64, 0}, []int{2}},
		{"one is renamed", full, append(without("x1070"), "a"), []int{64, 64, 2}, []int{1}},
		{"one more than there is room for", full[:2], append(names(128), "a"), []int{64, 64, 1}, []int{2}},
		{"a free place beside a change is filled first", place(full, devicesNamed(without("x1000")...)), append(without("x1000", "x1064"), "a"), []int{63, 64, 2}, []int{1}},
		{"half of them go", full, names(65), []int{64, 1, 0}, []int{1, 2}},
		{"most of them go", full, names(48), []int{48}, nil},
		{"all go", full, nil, []int{0}, nil},
		{"twice published", [][]resourceapi.Device{devicesNamed("a", "b"), devicesNamed("a", "c")}, append(names(60), "a", "b", "c"), []int{61, 2}, nil},
		{"more in a slice than we place", [][]resourceapi.Device{devicesNamed(names(70)...)}, names(70), []int{64, 6}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			devices := devicesNamed(tt.devices...)
			after := place(tt.before, devices)
			if diff := cmp.Diff(tt.want, lengths(after)); diff != "" {
				t.Errorf("lengths (-want +got):\n%s", diff)
			}
			all := slices.Concat(after...)
			slices.SortFunc(all, func(a, b resourceapi.Device) int { return strings.Compare(a.Name, b.Name) })
			if !resourceslice.DevicesDeepEqual(all, devices) {
				t.Errorf("placed %d devices, want each of %d once", len(all), len(devices))
			}
			if tt.changed == nil {
				return
			}
			changed := []int{}
			for i := range after {
				if i >= len(tt.before) || !resourceslice.DevicesDeepEqual(after[i], tt.before[i]) {
					changed = append(changed, i)
				}
			}
			if diff := cmp.Diff(tt.changed, changed); diff != "" {
				t.Errorf("changed slices (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSlicesWritten checks with the helper library's own code how many
// ResourceSlices are written on a node with a thousand links, also by a process
// that has just started.
func TestSlicesWritten(t *testing.T) {
	ctx := t.Context() // without a logger: the controller logs each slice
	client := newClient()
	links := names(1000)
	p := newSlicesWorld(ctx, t, client)
	if got := p.publish(links); got != 16 {
		t.Errorf("at first %d slices were written, want 16", got)
	}
	generation := generationOf(ctx, t, client)
	for _, step := range []struct {
		what   string
		change func()
		most   int
	}{
		{"nothing changes", func() {}, 0},
		{"a link comes that sorts first", func() { links = append(links, "a") }, 1},
		{"a link goes", func() { links = slices.Delete(links, 500, 501) }, 1},
		{"a link is renamed", func() { links[77] = "b" }, 1},
		{"a process starts", func() { p.stop(); p = newSlicesWorld(ctx, t, client) }, 0},
		{"after that a link comes that sorts first", func() { links = append(links, "0") }, 1},
	} {
		step.change()
		if got := p.publish(links); got != step.most {
			t.Errorf("%s: %d slices were written, want %d", step.what, got, step.most)
		}
		if now := generationOf(ctx, t, client); now != generation {
			t.Errorf("%s: the pool's generation went from %d to %d", step.what, generation, now)
		}
	}
	p.stop()
}

// slicesWorld is what a process publishes with.
type slicesWorld struct {
	ctx        context.Context
	t          *testing.T
	client     *fake.Clientset
	placed     [][]resourceapi.Device
	controller *resourceslice.Controller
}

func newSlicesWorld(ctx context.Context, t *testing.T, client *fake.Clientset) *slicesWorld {
	t.Helper()
	placed, err := newPublisher(client, nodeName, nil, nil).published(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &slicesWorld{ctx: ctx, t: t, client: client, placed: placed}
}

func (p *slicesWorld) stop() { p.controller.Stop() }

// publish publishes devices of these names and returns how many slices were
// written for it.
func (p *slicesWorld) publish(names []string) int {
	p.t.Helper()
	before := writesOf(p.client)
	p.placed = place(p.placed, devicesNamed(names...))
	all := resources(nodeName, p.placed)
	if p.controller == nil {
		var err error
		if p.controller, err = resourceslice.StartController(p.ctx, resourceslice.Options{DriverName: v1alpha1.DriverName, KubeClient: p.client,
			Owner: &resourceslice.Owner{APIVersion: "v1", Kind: "Node", Name: nodeName, UID: "node-uid"}, Resources: &all}); err != nil {
			p.t.Fatal(err)
		}
	} else {
		p.controller.Update(&all)
	}
	want, found := slices.Sorted(slices.Values(names)), []string(nil)
	for end := time.Now().Add(soon); time.Now().Before(end) && !slices.Equal(want, found); time.Sleep(20 * time.Millisecond) {
		found = nil
		for _, s := range slicesOf(p.ctx, p.t, p.client) {
			for _, dev := range s.Spec.Devices {
				found = append(found, dev.Name)
			}
		}
		slices.Sort(found)
	}
	if !slices.Equal(want, found) {
		p.t.Fatalf("%d devices are published, want %d", len(found), len(want))
	}
	time.Sleep(200 * time.Millisecond) // more writes than needed come now
	return writesOf(p.client) - before
}

func slicesOf(ctx context.Context, t *testing.T, client *fake.Clientset) []resourceapi.ResourceSlice {
	t.Helper()
	list, err := client.ResourceV1().ResourceSlices().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// generationOf returns the pool's generation; the pool must be consistent.
func generationOf(ctx context.Context, t *testing.T, client *fake.Clientset) int64 {
	t.Helper()
	all := slicesOf(ctx, t, client)
	for _, s := range all {
		if s.Spec.Pool.Generation != all[0].Spec.Pool.Generation || s.Spec.Pool.ResourceSliceCount != int64(len(all)) {
			t.Errorf("of %d slices %s has generation %d and the count %d, and %s generation %d",
				len(all), s.Name, s.Spec.Pool.Generation, s.Spec.Pool.ResourceSliceCount, all[0].Name, all[0].Spec.Pool.Generation)
		}
	}
	return all[0].Spec.Pool.Generation
}

// writesOf counts the calls that write a ResourceSlice.
func writesOf(client *fake.Clientset) (n int) {
	for _, a := range client.Actions() {
		if a.GetResource().Resource == "resourceslices" && slices.Contains([]string{"create", "update", "patch", "delete"}, a.GetVerb()) {
			n++
		}
	}
	return n
}
