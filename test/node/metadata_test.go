package node

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/dynamic-resource-allocation/api/metadata"
	"k8s.io/dynamic-resource-allocation/devicemetadata"
)

// mountMetadata opens the files that a container mounts of its devices' metadata:
// as by a mount, they stay what they are, whatever gets their names.
func (w *world) mountMetadata(c *api.Container) (files []*os.File) {
	w.t.Helper()
	for _, m := range c.Mounts {
		if strings.HasPrefix(m.Destination, metadata.ContainerDir+"/") {
			f, err := os.Open(m.Source)
			w.must(err)
			files = append(files, f)
		}
	}
	return files
}

// complete fails the test unless a container that begins now reads in each of
// these files, in each version, what its devices are called in the pod.
func (w *world) complete(files []*os.File) {
	w.t.Helper()
	if len(files) == 0 {
		w.t.Error("the container has no device metadata")
	}
	for _, f := range files {
		text, err := io.ReadAll(f)
		w.check(err)
		f.Close()
		for d := json.NewDecoder(strings.NewReader(string(text))); d.More(); {
			var raw json.RawMessage
			var m metadata.DeviceMetadata
			if err := d.Decode(&raw); err != nil {
				w.t.Fatalf("%v in:\n%s", err, text)
			}
			w.must(devicemetadata.DecodeMetadataFromStream(json.NewDecoder(strings.NewReader(string(raw))), &m))
			for _, device := range m.Requests[0].Devices {
				if device.NetworkData == nil || device.NetworkData.InterfaceName == "" || len(device.Attributes) == 0 {
					w.t.Errorf("the container begins with metadata without its interface: %s", text)
				}
			}
		}
	}
}

// TestMetadataOverReboot checks that a claim which outlives a reboot of its node
// gets the metadata of its new attach: the file of the last one is on disk.
func TestMetadataOverReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	container, err := w.container(s)
	w.must(err)
	old := w.mountMetadata(container)[0]
	defer old.Close()
	w.reboot(s)
	w.must(w.prepare(p))
	text, err := os.ReadFile(old.Name())
	w.must(err)
	if strings.Contains(string(text), "networkData") {
		t.Errorf("after the reboot and Prepare the file still has what was in the pod before:\n%s", text)
	}
	s = w.sandbox(p, "s2")
	w.must(w.run(s))
	w.must(w.create(s))
	w.says(c, "True", "Attached")
	w.finish(p, s)
}
