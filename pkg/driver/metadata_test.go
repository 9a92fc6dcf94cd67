package driver

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/api/metadata"
	"k8s.io/dynamic-resource-allocation/deviceattribute"
	"k8s.io/dynamic-resource-allocation/devicemetadata"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/dra-netdev/dra-netdev/internal/dhcptest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// mounted is a file that a CDI spec mounts, opened as a container's mount keeps it.
type mounted struct {
	t      *testing.T
	target string // in the container
	file   *os.File
}

// mounts opens what a container that is made now gets of a claim's metadata.
func (w *world) mounts(c *resourceapi.ResourceClaim) (all []mounted) {
	w.t.Helper()
	specs, err := filepath.Glob(filepath.Join(w.dir, "cdi", v1alpha1.DriverName+"_metadata_"+string(c.UID)+"_*.json"))
	must(w.t, err)
	for _, path := range specs {
		text, err := os.ReadFile(path)
		must(w.t, err)
		var spec cdi.Spec
		must(w.t, json.Unmarshal(text, &spec))
		m := spec.Devices[0].ContainerEdits.Mounts[0]
		f, err := os.Open(m.HostPath)
		must(w.t, err)
		w.t.Cleanup(func() { f.Close() })
		all = append(all, mounted{w.t, m.ContainerPath, f})
	}
	return all
}

// read decodes the file with the readers' own code, each of its versions.
func (m mounted) read() metadata.DeviceMetadata {
	m.t.Helper()
	_, err := m.file.Seek(0, 0)
	must(m.t, err)
	var first metadata.DeviceMetadata
	d := json.NewDecoder(m.file)
	for range metadataVersions {
		var got metadata.DeviceMetadata
		var invalid error
		var raw json.RawMessage
		must(m.t, d.Decode(&raw))
		must(m.t, devicemetadata.DecodeMetadataFromStream(json.NewDecoder(strings.NewReader(string(raw))), &got, devicemetadata.DecodeMetadataWithValidationResult(&invalid)))
		must(m.t, invalid)
		if first.Name != "" && cmp.Diff(first, got) != "" {
			m.t.Errorf("the versions differ:\n%s", cmp.Diff(first, got))
		}
		first = got
	}
	if d.More() {
		m.t.Error("there is more than one object of each version in the file")
	}
	return first
}

// networks returns the network data of the file's devices by name.
func (m mounted) networks() map[string]*resourceapi.NetworkDeviceData {
	m.t.Helper()
	all := map[string]*resourceapi.NetworkDeviceData{}
	for _, d := range m.read().Requests[0].Devices {
		all[d.Name] = d.NetworkData
	}
	return all
}

// TestMetadata checks what containers read of a claim of two devices in one
// request, from before they are in the pod until the claim is unprepared: also
// through a mount that was made before the interfaces have arrived.
func TestMetadata(t *testing.T) {
	w := newWorld(t, "ip link add h1 address 02:00:00:00:00:11 mtu 1400 type ifb\nip addr add 198.51.100.9/24 dev h1\nip link set h1 up")
	c := w.claim("c", "h0", `{"interface":{"name":"net%d"}}`, "web")
	c.Annotations = map[string]string{resourceapi.PodResourceClaimAnnotation: "nics"}
	second := c.Status.Allocation.Devices.Results[0]
	second.Device = "h1"
	c.Status.Allocation.Devices.Results = append(c.Status.Allocation.Devices.Results, second)
	must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), c, c.Namespace))
	w.eventually("h1 is published", func() bool { return slices.Contains(w.published(), "h1") })
	must(t, w.prepare(c))

	early := w.mounts(c)
	if len(early) != 1 {
		t.Fatalf("got %d files, want one for the request", len(early))
	}
	if want := "/var/run/kubernetes.io/dra-device-attributes/resourceclaimtemplates/nics/nic/" + v1alpha1.DriverName + "-metadata.json"; early[0].target != want {
		t.Errorf("the file is mounted at %s, want %s", early[0].target, want)
	}
	got := early[0].read()
	if diff := cmp.Diff(map[string]*resourceapi.NetworkDeviceData{"h0": nil, "h1": nil}, early[0].networks()); diff != "" {
		t.Errorf("before the attach (-want +got):\n%s", diff)
	}
	if got.Generation != 1 || got.UID != c.UID || got.PodClaimName == nil || *got.PodClaimName != "nics" || *got.Requests[0].Devices[1].Attributes[v1alpha1.AttributeIfName].StringValue != "h1" {
		t.Errorf("got %+v", got)
	}

	p := w.pod("web", "s1")
	must(t, w.run(p))
	h0 := strings.Fields(p.ns.Run("ip -br link show dev net0"))[2]
	want := map[string]*resourceapi.NetworkDeviceData{
		"h0": {InterfaceName: "net0", IPs: []string{"192.0.2.1/24", "2001:db8::1/64"}, HardwareAddress: h0},
		"h1": {InterfaceName: "net1", IPs: []string{"198.51.100.9/24"}, HardwareAddress: "02:00:00:00:00:11"},
	}
	shows := func(when string, m mounted, generation int64) {
		t.Helper()
		if diff := cmp.Diff(want, m.networks()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if got := m.read(); got.Generation != generation || *got.PodClaimName != "nics" || *got.Requests[0].Devices[1].Attributes[v1alpha1.AttributeMTU].IntValue != 1400 {
			t.Errorf("%s: got %+v, want generation %d", when, got, generation)
		}
	}
	shows("by a mount that was there before the attach", early[0], 2)
	must(t, w.create(p, c))
	must(t, w.prepare(c)) // as a kubelet that has restarted does
	shows("after another Prepare", early[0], 2)
	w.startInstance("new")
	must(t, w.prepare(c))
	must(t, w.create(p, c))
	shows("by another instance", w.mounts(c)[0], 2)

	p2 := w.pod("web", "s2")
	p2.ns.Run("ip link add net0 type ifb") // of the pod's own network: the names change
	must(t, w.run(p2))
	want["h0"].InterfaceName = "net2"
	shows("in the pod's next sandbox", early[0], 3)
	w.end(p2)
	w.unprepare(c)
	left, err := filepath.Glob(w.dir + "/cdi/*")
	must(t, err)
	files, err := filepath.Glob(w.dir + "/kubelet/plugins/*/" + metadataDir + "/*")
	must(t, err)
	if left = append(left, files...); len(left) > 0 {
		t.Errorf("left after Unprepare: %q", left)
	}
	w.restored()
}

// TestMetadataOfLease checks that a container reads the address that is leased
// for it, though its mount is older, and that one that is made later reads the
// next lease. A file is never half written.
func TestMetadataOfLease(t *testing.T) {
	w := newWorld(t, "ip addr add 198.51.100.1/24 dev p0")
	dhcptest.Serve4(t, nil, "p0", "198.51.100.1", "198.51.100.50/24", 3600*time.Second)
	c := w.claim("c", "h0", `{"interface":{"name":"net1","dhcp":true}}`, "web")
	must(t, w.prepare(c))
	early := w.mounts(c)[0]
	p := w.pod("web", "s1")
	must(t, w.run(p))
	ips := func(m mounted) []string { return m.networks()["h0"].IPs }
	if got, want := ips(early), []string{"198.51.100.50/24", "2001:db8::1/64"}; !slices.Equal(got, want) {
		t.Errorf("the container reads %q, want %q", got, want)
	}
	must(t, w.create(p, c))
	k := allocation.Key{ClaimUID: string(c.UID), Device: "h0"}
	r, _ := w.driver.store.Get(k)
	next := r.Attachment.Leases[0]
	next.Address.UnmarshalText([]byte("198.51.100.60/24"))
	_, _, err := w.driver.store.Update(t.Context(), k, func(r allocation.Record) allocation.Record { return allocation.WithLease(r, next, time.Now()) })
	must(t, err)
	must(t, w.create(p, c))
	if got := ips(early)[0]; got != "198.51.100.50/24" {
		t.Errorf("a running container reads %s: its file was written while it may read it", got)
	}
	if got := ips(w.mounts(c)[0])[0]; got != "198.51.100.60/24" {
		t.Errorf("a container that is made after another lease reads %s", got)
	}
	w.end(p)
	w.unprepare(c)
	w.restored()
}

// TestMetadataUnwritten checks that a file which a power cut or a killed process
// left half written is written whole, and that a pod does not start without it.
func TestMetadataUnwritten(t *testing.T) {
	w := newWorld(t, "")
	c := w.claim("c", "h0", `{"interface":{"name":"net1"}}`, "web")
	c.Annotations = map[string]string{resourceapi.PodResourceClaimAnnotation: "nics"}
	must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), c, c.Namespace))
	must(t, w.prepare(c))
	must(t, os.Truncate(w.mounts(c)[0].file.Name(), 0)) // as after a power cut
	must(t, w.prepare(c))
	m := w.mounts(c)[0]
	if got := m.read(); got.UID != c.UID {
		t.Errorf("got %+v", got)
	}
	must(t, os.Truncate(m.file.Name(), 100))
	p := w.pod("web", "s1")
	must(t, w.run(p))
	if got := m.read(); got.PodClaimName == nil || *got.PodClaimName != "nics" || got.UID != c.UID || got.Requests[0].Devices[0].NetworkData.InterfaceName != "net1" {
		t.Errorf("got %+v", got)
	}
	w.end(p)

	must(t, os.Remove(m.file.Name()))
	must(t, os.Mkdir(m.file.Name(), 0o755)) // which cannot be written
	p = w.pod("web", "s2")
	must(t, w.runtime.RunPodSandbox(w.ctx, &api.RunPodSandboxRequest{Pod: p.PodSandbox}))
	w.eventually("the claim reports that the attach was given up, and why", func() bool {
		_, reason, message, _, _ := w.device(c)
		return reason == v1alpha1.ReasonAttachFailed && strings.Contains(message, "write device metadata")
	})
	w.end(p)
	w.restored()
	if err := w.prepare(c); err == nil || !strings.Contains(err.Error(), "write device metadata") {
		t.Errorf("want an error that names the metadata, got %v", err)
	}
	w.unprepare(c)
}

// TestMetadataOfWatched checks what a container reads of a device that it watches
// while a pod has it, by a request with alternatives.
func TestMetadataOfWatched(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	watching := w.claim("watching", "h0", `{}`, "monitor")
	result := &watching.Status.Allocation.Devices.Results[0]
	result.Request, result.AdminAccess = "nic/first", new(true)
	must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), watching, watching.Namespace))
	for range 2 {
		must(t, w.prepare(watching))
		m := w.mounts(watching)[0]
		if want := "/resourceclaims/watching/nic/" + v1alpha1.DriverName + "-metadata.json"; !strings.HasSuffix(m.target, want) {
			t.Errorf("the file is mounted at %s, want …%s", m.target, want)
		}
		r := m.read().Requests[0]
		if r.Name != "nic/first" || len(r.Devices) != 1 || r.Devices[0].NetworkData != nil || *r.Devices[0].Attributes[v1alpha1.AttributeIfName].StringValue != "h0" {
			t.Errorf("got %+v", r)
		}
	}
	w.unprepare(watching)
	if len(w.mounts(watching)) > 0 {
		t.Error("the metadata is left after Unprepare")
	}
	w.end(p)
	w.unprepare(c)
	w.restored()
}

// TestMetadataOfFunction checks what a virtual machine needs of a function that
// it gets by VFIO: one device in its request, with its PCI address.
func TestMetadataOfFunction(t *testing.T) {
	w, _ := newVFIOWorld(t)
	c := w.claim("c", vf0, `{}`, "vm")
	must(t, w.prepare(c))
	p := w.pod("vm", "s1")
	must(t, w.run(p))
	must(t, w.create(p, c))
	must(t, w.prepare(c))
	r := w.mounts(c)[0].read().Requests[0]
	if len(r.Devices) != 1 || r.Devices[0].NetworkData != nil || *r.Devices[0].Attributes[deviceattribute.StandardDeviceAttributePCIBusID].StringValue != "0000:af:01.0" {
		t.Errorf("got %+v", r)
	}
	w.end(p)
	w.unprepare(c)
}
