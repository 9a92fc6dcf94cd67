//go:build vm

package inventory

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// shell runs commands on the VM's host.
func shell(t *testing.T, commands string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", commands).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, commands)
	}
}

// vmNICs returns the names of all NICs of a driver.
func vmNICs(driver string) (names []string) {
	all, _ := filepath.Glob("/sys/class/net/*/device/driver")
	for _, path := range all {
		if to, _ := os.Readlink(path); filepath.Base(to) == driver {
			names = append(names, filepath.Base(filepath.Dir(filepath.Dir(path))))
		}
	}
	return names
}

// TestVMAttributes checks the attributes of emulated NICs as Linux and their drivers
// report them: of two that are connected, a physical function with virtual ones, a
// device with representors, and a VLAN. It prints those of all.
func TestVMAttributes(t *testing.T) {
	capable, _ := filepath.Glob("/sys/bus/pci/drivers/fakenic/*/sriov_totalvfs")
	if len(capable) == 0 {
		t.Fatal("no physical function of fakenic")
	}
	pf := filepath.Base(filepath.Dir(capable[0]))
	vfs := filepath.Join(filepath.Dir(capable[0]), "sriov_numvfs")
	shell(t, "echo 2 > "+vfs)
	t.Cleanup(func() { shell(t, "echo 0 > "+vfs) })
	shell(t, `echo "7 1" > /sys/bus/netdevsim/new_device`)
	t.Cleanup(func() { shell(t, "echo 7 > /sys/bus/netdevsim/del_device") })
	shell(t, "echo 2 > /sys/bus/netdevsim/devices/netdevsim7/sriov_numvfs\ndevlink dev eswitch set netdevsim/netdevsim7 mode switchdev")
	e1000e := vmNICs("e1000e")[0]
	shell(t, fmt.Sprintf("ip link add va link %s type vlan id 77", e1000e))
	t.Cleanup(func() { shell(t, "ip link del va") })
	links, _ := filepath.Glob("/sys/class/net/*")
	for _, l := range links {
		shell(t, "ip link set "+filepath.Base(l)+" up")
	}

	// What is expected of the first device for which the attribute key has the value.
	type values = map[resourceapi.QualifiedName]any
	expected := map[string]values{
		"driver=e1000e": {"carrier": true, "speedMbps": int64(1000), "maxMTU": int64(9212), "firmwareVersion": "2.1-0", "pciVendor": "0x8086", "pciDevice": "0x10d3",
			"bandwidth": "1G", "rdma": false, "virtual": false, "rxQueues": int64(1), "sriov": nil, "isSriovVf": nil},
		"driver=vmxnet3":    {"speedMbps": int64(1000), "pciVendor": "0x15ad", "bandwidth": "1G", "rxQueues": int64(2)}, // version and largest MTU are the kernel's
		"driver=virtio_net": {"carrier": true, "speedMbps": int64(0), "bandwidth": nil, "maxMTU": int64(65535), "pciVendor": "0x1af4"},
		"sriov=true": {"driver": "fakenic", "sriovVfs": int64(2), "sriovVFsFree": int64(2), "pciAddress": pf, "numaNode": int64(0), "speedMbps": int64(25000),
			"bandwidth": "25G", "resource.kubernetes.io/pciBusID": pf, "isSriovVf": nil, "eswitchMode": nil},
		"vfIndex=1":       {"driver": "fakenic", "isSriovVf": true, "pfPCIAddress": pf, "pfName": "NAME", "sriov": nil, "firmwareVersion": nil},
		"portName=pf0vf0": {"driver": "netdevsim", "eswitchMode": "switchdev", "virtual": false, "sriov": nil},
		"vlan=77":         {"driver": "vlan", "carrier": true, "speedMbps": int64(1000), "duplex": "full", "virtual": true, "bond": nil},
	}
	var devices []Device
	got := map[string]values{}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) { // until links are negotiated
		links, err := netdev.Links(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		devices, got = Scan(links, os.DirFS("/sys").(fs.ReadLinkFS), Options{}), map[string]values{}
		for _, d := range devices {
			for key, want := range expected {
				name, value, _ := strings.Cut(key, "=")
				if fmt.Sprint(plainValue(d, resourceapi.QualifiedName(name))) != value || got[key] != nil {
					continue
				}
				got[key] = values{}
				for name := range want {
					got[key][name] = plainValue(d, name)
				}
				if name == "sriov" {
					expected["vfIndex=1"]["pfName"] = d.Link.Name
				}
			}
		}
		if cmp.Equal(expected, got) {
			break
		}
	}
	t.Log("\n" + describe(devices))
	for _, d := range devices {
		speed, _ := os.ReadFile("/sys/class/net/" + d.Link.Name + "/speed")
		if s := strings.TrimSpace(string(speed)); s != "" && s != "-1" && s != fmt.Sprint(plainValue(d, "speedMbps")) {
			t.Errorf("%s: speed %v, /sys has %s", d.Name, plainValue(d, "speedMbps"), s)
		}
		duplex, _ := os.ReadFile("/sys/class/net/" + d.Link.Name + "/duplex")
		if s := strings.TrimSpace(string(duplex)); s != "" && s != "unknown" && s != d.Link.Duplex {
			t.Errorf("%s: duplex mode %q, /sys has %q", d.Name, d.Link.Duplex, s)
		}
		if d.Link.Firmware+d.Link.PortName+d.Link.SwitchID != "" {
			t.Logf("%s: firmware %q, port %q, switch %q, eswitch mode %q", d.Name, d.Link.Firmware, d.Link.PortName, d.Link.SwitchID, d.Link.EswitchMode)
		}
	}
	withinLimits(t, "the VM", devices)
	for _, key := range slices.Sorted(maps.Keys(expected)) {
		if diff := cmp.Diff(expected[key], got[key]); diff != "" {
			t.Errorf("device with %s (-want +got):\n%s", key, diff)
		}
	}
}

// plainValue returns an attribute or a capacity of a device, or nil.
func plainValue(d Device, name resourceapi.QualifiedName) any {
	if c, ok := d.capacity()[name]; ok {
		return c.Value.String()
	}
	switch a := d.Attributes[name]; {
	case a.StringValue != nil:
		return *a.StringValue
	case a.IntValue != nil:
		return *a.IntValue
	case a.BoolValue != nil:
		return *a.BoolValue
	}
	return nil
}
