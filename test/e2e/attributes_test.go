//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
)

// mountLimit is from a change of a ConfigMap to the slice that shows it: the kubelet
// writes the file when it looks at the pod the next time.
const mountLimit = 2 * time.Minute

// withValues upgrades the chart with further values until the end of the test, and
// checks that no driver restarts.
func withValues(t *testing.T, file string) {
	t.Helper()
	before := driverOn(t, "n1").UID
	upgrade := func(file string) {
		t.Helper()
		if _, err := command("", "test/cluster/helm", "upgrade", "dra-netdev", filepath.Join(root, "deployments/helm/dra-netdev"), "--namespace=dra-netdev", "--reuse-values", "--values="+file); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		upgrade(filepath.Join(root, "test/e2e/values.yaml"))
		if after := driverOn(t, "n1").UID; after != before {
			t.Errorf("the driver on n1 was replaced: %s, before %s", after, before)
		}
	})
	upgrade(file)
}

// awaitAttribute waits until the NICs' devices have these values of an attribute.
func awaitAttribute(t *testing.T, node string, name resourceapi.QualifiedName, want map[string]string) {
	t.Helper()
	took := eventually(t, mountLimit, fmt.Sprintf("attribute %s", name), func() error {
		devices, err := devicesOf(node)
		if err != nil {
			return err
		}
		got := map[string]string{}
		for device, d := range devices {
			switch a := d.Attributes[name]; {
			case a.IntValue != nil:
				got[device] = fmt.Sprint(*a.IntValue)
			case a.StringValue != nil:
				got[device] = *a.StringValue
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	t.Logf("attribute %s was in the slice after %.1f s", name, took.Seconds())
}

// testRails checks the attributes of a running driver whose value in the chart
// changes, and claims that select by them.
func testRails(t *testing.T) {
	var nics []*nic
	for i := range 4 {
		nics = append(nics, &nic{node: "n1", name: fmt.Sprintf("eth%d", i+1), n: i + 1})
	}
	makeNICs(t, nics...)
	withValues(t, filepath.Join(root, "examples/values/rails.yaml"))
	want := map[string]string{"eth1": "1", "eth2": "2", "eth3": "1", "eth4": "2"}
	awaitAttribute(t, "n1", "example.com/rail", want)
	example(t, "15-rails.yaml")
	ready(t, "rail-2")
	ready(t, "same-rail")
	inPod(t, nics[0], "same-rail", "rail0")
	inPod(t, nics[2], "same-rail", "rail1")
	inPod(t, nics[1], "rail-2", "rail2")
	awaitAttribute(t, "n1", "example.com/rail", want) // also those in pods

	inventory := []string{"exec", "-i", "--namespace=dra-netdev", driverOn(t, "n1").Name, "--", "/dra-netdev-kubeletplugin", "inventory"}
	table := kubectl(t, inventory...)
	for device, rail := range want {
		if line := lineOf(table, device); !strings.HasSuffix(line, "example.com/fabric=compute,example.com/rail="+rail) {
			t.Errorf("inventory shows %q, want rail %s at the end", line, rail)
		}
	}
	tried, err := command(`- {match: "true", attributes: {example.com/rail: 7}}`, "test/cluster/kubectl", append(inventory, "--attributes=/dev/stdin")...)
	if line := lineOf(tried, "eth1"); err != nil || !strings.HasSuffix(line, " example.com/rail=7") {
		t.Errorf("inventory with another file shows %q, want rail 7 at the end (%v)", line, err)
	}
}

// lineOf returns the line that begins with a word.
func lineOf(table, word string) string {
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, word+" ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
