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
)

// left are links of a node that are never offered, and a word of the reason.
var left = map[string]string{"lo": "loopback", "eth0": "default route", "cni0": "", "veth": "port of bridge cni0"}

func TestInventory(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	apply(t, podFor("plain", "nodeName: n1")) // which has the CNI plugin make its links
	ready(t, "plain")

	reasons := map[string]string{} // by link; of all veths of the CNI plugin only one
	var offered []string
	for _, d := range inventoryOf(t, "n1") {
		name := d.Link.Name
		if strings.HasPrefix(name, "veth") {
			name = "veth"
		}
		if reasons[name] = d.Skipped; d.Skipped == "" {
			offered = append(offered, d.Name)
		}
	}
	if reason, found := reasons["eth1"]; !found || reason != "" {
		t.Errorf("eth1 is not offered: found %v, %q", found, reason)
	}
	for name, word := range left {
		if reason := reasons[name]; reason == "" || !strings.Contains(reason, word) {
			t.Errorf("link %s is left out because of %q, want a reason with %q", name, reason, word)
		}
	}
	eventually(t, publishLimit, "the ResourceSlice having what the inventory has", func() error {
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

// TestDocumentedCommands runs the commands by which README.md shows what nodes
// offer.
func TestDocumentedCommands(t *testing.T) {
	makeNICs(t, &nic{node: "n1", name: "eth1", n: 1})
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for begin, want := range map[string]string{
		"kubectl get resourceslices ":                   "n1: eth1",
		"kubectl -n dra-netdev exec ds/dra-netdev -- /": "it carries the node's",
	} {
		found := 0
		for line := range strings.Lines(string(readme)) {
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

// inventoryOf returns what the driver's own command prints in its pod.
func inventoryOf(t *testing.T, node string) (devices []struct {
	Name, Skipped string
	Link          struct{ Name string }
}) {
	t.Helper()
	out := kubectl(t, "exec", "--namespace=dra-netdev", driverOn(t, node).Name, "--", "/dra-netdev-kubeletplugin", "inventory", "--all", "-o", "json")
	if err := json.Unmarshal([]byte(out), &devices); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return devices
}

// wantDevice checks the attributes of a NIC that users select by.
func wantDevice(t *testing.T, d resourceapi.Device, n *nic) {
	t.Helper()
	want := map[resourceapi.QualifiedName]string{
		"ifName": n.name, "mac": n.before.mac(), "type": "veth", "encapsulation": "ether", "state": "up",
		"alias": fmt.Sprintf("interface %d", n.n),
	}
	got := map[resourceapi.QualifiedName]string{}
	for name := range want {
		got[name] = text(d, name)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("attributes of %s (-want +got):\n%s", n.name, diff)
	}
	if mtu := d.Attributes["mtu"].IntValue; mtu == nil || *mtu != 1450 {
		t.Errorf("attribute mtu is %v, want 1450", d.Attributes["mtu"])
	}
	if virtual := d.Attributes["virtual"].BoolValue; virtual == nil || !*virtual {
		t.Errorf("attribute virtual is %v, want true", d.Attributes["virtual"])
	}
}

// A link that changes without pause costs about one write a second: one at
// once, one for each 900 ms that it lasts, and one for how it ended.
func TestChangeStorm(t *testing.T) {
	const changes, final = 100, 1333
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	t.Cleanup(func() { onNode(t, "n1", "ip", "link", "set", "eth1", "mtu", "1450") })
	// What the NIC's own start has brought about is to be written by now.
	time.Sleep(publishLimit / 2)
	slices := watch[resourceapi.ResourceSlice](t, "resourceslices", "--field-selector=spec.nodeName=n1")
	eventually(t, statusLimit, "the slice being watched", func() error {
		if len(slices.all()) == 0 {
			return errors.New("nothing was seen")
		}
		return nil
	})
	before, start := len(slices.all()), time.Now()
	onNode(t, "n1", "sh", "-ec", fmt.Sprintf("for i in $(seq %d); do ip link set eth1 mtu $((1350 + i)); sleep 0.017; done; ip link set eth1 mtu %d", changes-1, final))
	storm := time.Since(start)
	took := eventually(t, publishLimit, "the last change being published", func() error {
		devices, err := devicesOf("n1")
		if mtu := devices["eth1"].Attributes["mtu"].IntValue; err == nil && (mtu == nil || *mtu != final) {
			err = fmt.Errorf("the mtu is %v", devices["eth1"].Attributes["mtu"])
		}
		return err
	})
	// The last write may still be under way to the watch.
	time.Sleep(time.Second)
	writes := len(slices.all()) - before
	t.Logf("%d changes in %v: %d writes, the last seen after %v", changes, storm.Round(10*time.Millisecond), writes, took.Round(10*time.Millisecond))
	if most := int(storm/(900*time.Millisecond)) + 2; writes > most || writes == 0 {
		t.Errorf("%d changes in %v took %d writes, want 1 to %d", changes, storm, writes, most)
	}
}

const vanishLimit = time.Minute // the helper waits 30 s, lest it fights with somebody

// vanished tells when the slices of n2 were back, or why they are not.
var vanished = make(chan error, 1)

// vanish deletes the slices of n2, and watches while other tests run.
func vanish() {
	go func() { vanished <- comeBack("n2") }() // ends with the limit
}

// comeBack deletes the slices of a node and waits until there are new ones.
func comeBack(node string) error {
	// A driver that has just started publishes once more by itself.
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
		time.Sleep(10 * poll) // it is a matter of half a minute
	}
}

func uidsOf(node string) (uids []string, err error) {
	list, err := get[resourceapi.ResourceSliceList]("resourceslices", "--field-selector=spec.nodeName="+node)
	for _, s := range list.Items {
		uids = append(uids, string(s.UID))
	}
	return uids, err
}

// The slices were deleted before the first test: this is the last.
func TestVanishedSlicesComeBack(t *testing.T) {
	if err := <-vanished; err != nil {
		t.Error(err)
	}
}
