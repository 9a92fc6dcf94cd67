package driver

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// attribute returns an attribute of a device in the ResourceSlices.
func (w *world) attribute(device string, name resourceapi.QualifiedName) resourceapi.DeviceAttribute {
	w.t.Helper()
	list, err := w.client.ResourceV1().ResourceSlices().List(w.ctx, metav1.ListOptions{})
	must(w.t, err)
	for _, s := range list.Items {
		for _, d := range s.Spec.Devices {
			if d.Name == device {
				return d.Attributes[name]
			}
		}
	}
	return resourceapi.DeviceAttribute{}
}

// sliceVersions are the versions of the ResourceSlices.
func (w *world) sliceVersions() map[string]string {
	w.t.Helper()
	list, err := w.client.ResourceV1().ResourceSlices().List(w.ctx, metav1.ListOptions{})
	must(w.t, err)
	versions := map[string]string{}
	for _, s := range list.Items {
		versions[s.Name] = s.ResourceVersion
	}
	return versions
}

// rails is a file of attributes that gives rail to h0 and spare.
func rails(rail string) string {
	return `- {match: 'device.attributes["dra-netdev.github.io"].ifName in ["h0", "spare"]', attributes: {example.com/rail: ` + rail + `, resource.kubernetes.io/pcieRoot: "pci0000:3a"}}` + "\n"
}

// TestAttributesFile checks that the administrator's attributes and their changes
// are published, also those of a device in a pod, that a faulty file changes
// nothing, and that it keeps a driver from starting.
func TestAttributesFile(t *testing.T) {
	w := newWorld(t, "ip link add spare type ifb")
	w.stop()
	// As the kubelet mounts a ConfigMap: the file is a link through a link that is replaced.
	mount := filepath.Join(w.dir, "attributes")
	version := 0
	write := func(text string) {
		t.Helper()
		version++
		dir := filepath.Join(mount, "..v"+string(rune('0'+version)))
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "attributes.yaml"), []byte(text), 0o644))
		must(t, os.Symlink(filepath.Base(dir), filepath.Join(mount, "..next")))
		must(t, os.Rename(filepath.Join(mount, "..next"), filepath.Join(mount, "..data")))
	}
	write(rails("1"))
	must(t, os.Symlink("..data/attributes.yaml", filepath.Join(mount, "attributes.yaml")))
	w.attributes = filepath.Join(mount, "attributes.yaml")
	w.startDriver()
	rail := func(device string, want int64) func() bool {
		return func() bool {
			v := w.attribute(device, "example.com/rail").IntValue
			return v != nil && *v == want
		}
	}
	w.eventually("h0 has the rail of the file", rail("h0", 1))
	if root := w.attribute("spare", "resource.kubernetes.io/pcieRoot").StringValue; root == nil || *root != "pci0000:3a" {
		t.Errorf("spare has no PCIe root: %v", root)
	}
	w.hasMetrics("dra_netdev_attributes_file_refused 0", "dra_netdev_attributes_unused 0")

	c, p := w.running("h0")
	if r := w.driver.store.OfClaim(string(c.UID)); len(r) != 1 || r[0].Device.Attributes["example.com/rail"].IntValue == nil {
		t.Errorf("the record has no rail, so that no container could read it: %+v", r)
	}
	start := time.Now()
	write(rails("2") + `- {match: 'device.attributes["dra-netdev.github.io"].ifNmae == "h0"', attributes: {example.com/a: 1}}`)
	w.eventually("h0, which is in a pod, has the new rail", rail("h0", 2))
	w.eventually("spare has the new rail", rail("spare", 2))
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("a change was published after %v, want 4 s at most", took)
	}
	w.hasMetrics("dra_netdev_attributes_file_refused 0", "dra_netdev_attributes_unused 1")

	write(rails("[3]"))
	w.eventually("a faulty file is refused", func() bool { return w.driver.added.fault() != nil })
	refused(t, w.driver.added.fault(), `/attributes/attributes.yaml: [0].attributes[example.com/rail]: "[3]": must be a text`)
	w.hasMetrics("dra_netdev_attributes_file_refused 1")
	w.driver.slices.republish(w.ctx)
	if !rail("h0", 2)() || !rail("spare", 2)() {
		t.Error("a faulty file has changed the attributes")
	}
	if _, err := New(w.ctx, w.driver.cfg); err == nil {
		t.Error("a driver starts with a faulty file")
	} else {
		refused(t, err, "--attributes: "+w.attributes+": [0].")
	}
	devices, err := w.driver.cfg.Inventory(w.ctx, "", "", rails("7"))
	must(t, err)
	for _, d := range devices {
		if want := d.Name == "h0" || d.Name == "spare"; want != (len(d.Added) == 2 && *d.Attributes["example.com/rail"].IntValue == 7) {
			t.Errorf("inventory with another file shows %s with %v", d.Name, d.Added)
		}
	}
	_, err = w.driver.cfg.Inventory(w.ctx, "", "", rails("[7]"))
	refused(t, err, "--attributes: [0].attributes[example.com/rail]")

	must(t, os.Remove(filepath.Join(mount, "..data")))
	w.eventually("a file that is gone is reported", func() bool { return os.IsNotExist(w.driver.added.fault()) })
	write(rails("4"))
	w.eventually("a good file is used again", rail("h0", 4))
	w.hasMetrics("dra_netdev_attributes_file_refused 0", "dra_netdev_attributes_unused 0")
	versions := w.sliceVersions()
	w.stop()
	w.startDriver()
	w.scans()
	if diff := cmp.Diff(versions, w.sliceVersions()); diff != "" {
		t.Errorf("a restart of the driver has written slices (-before +after):\n%s", diff)
	}
	w.end(p)
	w.unprepare(c)
	w.restored()
	w.scans()
	if !rail("h0", 4)() {
		t.Error("h0 has lost its rail with the end of the pod")
	}
}
