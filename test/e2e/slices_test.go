//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
	"sigs.k8s.io/yaml"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// left are links of a node that are never offered, each with a part of the reason.
var left = map[string]string{"lo": "loopback", "eth0": "default route", "cni0": "", "veth": "port of bridge cni0", "cali-other": ofCalico}

// addCali makes two interfaces that a rule withholds; values.yaml includes one.
const (
	addCali  = "ip link add cali-mine type ifb; ip link add cali-other type ifb"
	ofCalico = "its name matches an interface of Calico"
)

// TestInventory checks that the command inventory and the ResourceSlice show the
// same devices, with the reasons for those that are not offered.
func TestInventory(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	apply(t, podFor("plain", "nodeName: n1")) // so that the CNI plugin creates its links
	ready(t, "plain")
	onNode(t, "n1", "sh", "-ec", addCali)
	t.Cleanup(func() { onNode(t, "n1", "sh", "-c", "ip link del cali-mine; ip link del cali-other") })

	reasons := map[string]string{} // by link; one entry for all veths of the CNI plugin
	var offered []string
	for _, d := range inventoryOf(t, "n1") {
		name := d.Link.Name
		if strings.HasPrefix(name, "veth") {
			name = "veth"
		}
		if reasons[name] = d.Skipped; d.Skipped == "" {
			offered = append(offered, d.Name)
		}
		if mine := name == "cali-mine"; mine != (d.Included == ofCalico) {
			t.Errorf("%s is included although %q", name, d.Included)
		}
	}
	if !slices.Contains(offered, "cali-mine") {
		t.Errorf("cali-mine is not offered: %q", reasons["cali-mine"])
	}
	if reason, found := reasons["eth1"]; !found || reason != "" {
		t.Errorf("eth1 is not offered: found %v, %q", found, reason)
	}
	for name, word := range left {
		if reason := reasons[name]; reason == "" || !strings.Contains(reason, word) {
			t.Errorf("link %s: got reason %q, want one with %q", name, reason, word)
		}
	}
	eventually(t, publishLimit, "the devices of inventory in the ResourceSlice", func() error {
		devices, err := devicesOf("n1")
		if diff := gocmp.Diff(slices.Sorted(slices.Values(offered)), slices.Sorted(maps.Keys(devices))); diff != "" {
			err = errors.Join(err, fmt.Errorf("(-inventory +slice):\n%s", diff))
		}
		return err
	})
	devices, err := devicesOf("n1")
	if err != nil {
		t.Fatal(err)
	}
	wantDevice(t, devices["eth1"], eth1)
}

// TestDefaultFilter checks that the chart's default filter offers nothing of a node
// without hardware.
func TestDefaultFilter(t *testing.T) {
	makeNICs(t, &nic{node: "n1", name: "eth1", n: 1})
	text, err := os.ReadFile(filepath.Join(root, "deployments/helm/dra-netdev/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values struct{ Filter string }
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	for _, d := range inventoryOf(t, "n1", "--filter", values.Filter) {
		if d.Skipped == "" || d.Link.Name == "eth1" && d.Skipped != "the filter excludes it" {
			t.Errorf("%s: not offered because %q", d.Link.Name, d.Skipped)
		}
	}
}

// TestDocumentedCommands checks that the commands in README.md that list what nodes
// offer work.
func TestDocumentedCommands(t *testing.T) {
	makeNICs(t, &nic{node: "n1", name: "eth1", n: 1})
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	for begin, want := range map[string]string{
		"kubectl get resourceslices ":                   "n1: eth1",
		"kubectl -n dra-netdev exec ds/dra-netdev -- /": "it carries the node's",
	} {
		found := 0
		for line := range strings.Lines(string(readme) + string(page)) {
			if !strings.HasPrefix(line, begin) {
				continue
			}
			found++
			eventually(t, publishLimit, line, func() error {
				out, err := exec.Command("sh", "-c", filepath.Join(root, "test/cluster", line)).CombinedOutput()
				if err == nil && !strings.Contains(string(out), want) {
					err = fmt.Errorf("want %q", want)
				}
				if err != nil {
					err = fmt.Errorf("%w: %s", err, out)
				}
				return err
			})
		}
		if found == 0 {
			t.Errorf("README.md has no command %s…", begin)
		}
	}
}

// inventoryOf returns what the command inventory prints in the driver's pod.
func inventoryOf(t *testing.T, node string, args ...string) (devices []struct {
	Name, Skipped, Included string
	Link                    struct{ Name string }
}) {
	t.Helper()
	command := []string{"exec", "--namespace=dra-netdev", driverOn(t, node).Name, "--", "/dra-netdev-kubeletplugin", "inventory", "--all", "-o", "json"}
	out := kubectl(t, append(command, args...)...)
	if err := json.Unmarshal([]byte(out), &devices); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return devices
}

// wantDevice checks the attributes of a NIC.
func wantDevice(t *testing.T, d resourceapi.Device, n *nic) {
	t.Helper()
	want := map[resourceapi.QualifiedName]string{
		v1alpha1.AttributeIfName: n.name, v1alpha1.AttributeMAC: n.before.mac(), v1alpha1.AttributeType: "veth",
		v1alpha1.AttributeEncapsulation: "ether", v1alpha1.AttributeState: "up", v1alpha1.AttributeAlias: fmt.Sprintf("interface %d", n.n),
	}
	got := map[resourceapi.QualifiedName]string{}
	for name := range want {
		got[name] = text(d, name)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("attributes of %s (-want +got):\n%s", n.name, diff)
	}
	if mtu := d.Attributes[v1alpha1.AttributeMTU].IntValue; mtu == nil || *mtu != 1450 {
		t.Errorf("attribute mtu is %v, want 1450", d.Attributes[v1alpha1.AttributeMTU])
	}
	if virtual := d.Attributes[v1alpha1.AttributeVirtual].BoolValue; virtual == nil || !*virtual {
		t.Errorf("attribute virtual is %v, want true", d.Attributes[v1alpha1.AttributeVirtual])
	}
}

// TestChangeStorm checks that a link that changes all the time costs about one
// write of a ResourceSlice per second: the first at once, one every 900 ms, and one
// for the last change.
func TestChangeStorm(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	t.Cleanup(func() { onNode(t, "n1", "ip", "link", "set", "eth1", "mtu", "1450") })
	for _, storm := range []struct {
		name, change, last string
		attribute          resourceapi.QualifiedName
		want               any
	}{
		{"MTU", "ip link set eth1 mtu $((1350 + i))", "ip link set eth1 mtu 1333", v1alpha1.AttributeMTU, int64(1333)},
		{"carrier", "ip link set WIRE down; ip link set WIRE up", "ip link set WIRE down", v1alpha1.AttributeCarrier, false},
		{"its return", "ip link set WIRE up; ip link set WIRE down", "ip link set WIRE up", v1alpha1.AttributeCarrier, true},
	} {
		t.Run(storm.name, func(t *testing.T) {
			// Changes from before must be written before the test begins.
			time.Sleep(publishLimit / 2)
			slices := watch[resourceapi.ResourceSlice](t, "resourceslices", "--field-selector=spec.nodeName=n1")
			eventually(t, statusLimit, "first state of the slice", func() error {
				if len(slices.all()) == 0 {
					return errors.New("got none")
				}
				return nil
			})
			before, start := len(slices.all()), time.Now()
			script := fmt.Sprintf("for i in $(seq 99); do %s; sleep 0.017; done; %s", storm.change, storm.last)
			onNode(t, "n1", "sh", "-ec", strings.ReplaceAll(script, "WIRE", eth1.wire()))
			lasted := time.Since(start)
			took := eventually(t, publishLimit, "publication of the last change", func() error {
				devices, err := devicesOf("n1")
				if got := anyValue(devices["eth1"], storm.attribute); err == nil && got != storm.want {
					err = fmt.Errorf("the %s is %v", storm.attribute, got)
				}
				return err
			})
			// The watch may not have received the last write yet.
			time.Sleep(time.Second)
			writes := len(slices.all()) - before
			t.Logf("%d changes in %v: %d writes, the last seen after %v", 100, lasted.Round(10*time.Millisecond), writes, took.Round(10*time.Millisecond))
			if most := int(lasted/(900*time.Millisecond)) + 2; writes > most || writes == 0 {
				t.Errorf("100 changes in %v took %d writes, want 1 to %d", lasted, writes, most)
			}
		})
	}
}

const vanishLimit = time.Minute // the helper waits 30 s before it writes deleted slices again

// vanished gets the result of comeBack.
var vanished = make(chan error, 1)

// vanish deletes the slices of n2 and waits for new ones while other tests run.
func vanish() {
	go func() { vanished <- comeBack("n2") }() // ends within vanishLimit
}

// comeBack deletes the slices of a node and waits until the driver has written new
// ones.
func comeBack(node string) error {
	// A driver that has just started may publish once more by itself.
	time.Sleep(5 * time.Second)
	before, err := uidsOf(node)
	if err != nil {
		return err
	}
	if len(before) == 0 {
		return fmt.Errorf("%s has no ResourceSlice to delete", node)
	}
	if _, err := tryKubectl("delete", "resourceslices", "--field-selector=spec.nodeName="+node); err != nil {
		return err
	}
	for start := time.Now(); ; {
		now, err := uidsOf(node)
		if err == nil && len(now) > 0 && !slices.Contains(before, now[0]) {
			fmt.Printf("e2e: the deleted ResourceSlices were back after %.0f s\n", time.Since(start).Seconds())
			return nil
		}
		if time.Since(start) > vanishLimit {
			return fmt.Errorf("the ResourceSlices of %s are not back after %v: %v", node, vanishLimit, err)
		}
		time.Sleep(10 * poll) // it takes about half a minute
	}
}

func uidsOf(node string) (uids []string, err error) {
	list, err := get[resourceapi.ResourceSliceList]("resourceslices", "--field-selector=spec.nodeName="+node)
	for _, s := range list.Items {
		uids = append(uids, string(s.UID))
	}
	return uids, err
}

// TestDeletedSlicesAreRecreated checks that the driver writes deleted slices again.
// They were deleted before the first test; this test is the last.
func TestDeletedSlicesAreRecreated(t *testing.T) {
	if err := <-vanished; err != nil {
		t.Error(err)
	}
}
