package driver

import (
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// TestInventoryAnswer checks that the running driver reports what it publishes:
// without the link that has the node's address, and with a link that is in a
// pod.
func TestInventoryAnswer(t *testing.T) {
	w := newWorld(t, "ip link add uplink type ifb\nip addr add 203.0.113.7/24 dev uplink\nip link add spare type ifb")
	w.host("ip tuntap add tap0 mode tap")
	t.Cleanup(func() { w.host("ip tuntap del tap0 mode tap") })
	node, err := w.client.CoreV1().Nodes().Get(w.ctx, nodeName, metav1.GetOptions{})
	must(t, err)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "203.0.113.7"}}
	_, err = w.client.CoreV1().Nodes().UpdateStatus(w.ctx, node, metav1.UpdateOptions{})
	must(t, err)
	must(t, w.driver.nodes.refresh(w.ctx))
	c, p := w.running("h0")
	defer func() {
		w.end(p)
		w.unprepare(c)
		w.restored()
	}()

	devices, err := w.driver.cfg.Inventory(w.ctx, "", "", "")
	must(t, err)
	want := map[string]string{"h0": "", "p0": "", "spare": "", "uplink": "it carries the node's address 203.0.113.7", "lo": "it is a loopback", "tap0": "it is a tunnel of kind tun"}
	for name, reason := range want {
		if got, there := skippedFor(devices, name); !there || got != reason {
			t.Errorf("device %s is there %v and not offered because of %q, want %q", name, there, got, reason)
		}
	}

	devices, err = w.driver.cfg.Inventory(w.ctx, `device.attributes["dra-netdev.github.io"].ifName == "spare"`, "", "")
	must(t, err)
	if reason, _ := skippedFor(devices, "p0"); reason == "" {
		t.Error("a filter that p0 does not match leaves it in")
	}
	if reason, there := skippedFor(devices, "spare"); !there || reason != "" {
		t.Errorf("a filter that spare matches leaves it out: %q", reason)
	}
	_, err = w.driver.cfg.Inventory(w.ctx, "device.nonsense(", "", "")
	refused(t, err, "--filter: ")
	_, err = w.driver.cfg.Inventory(w.ctx, "", "device.nonsense(", "")
	refused(t, err, "--include: ")
}

func skippedFor(devices []inventory.Device, name string) (string, bool) {
	i := slices.IndexFunc(devices, func(d inventory.Device) bool { return d.Name == name })
	if i < 0 {
		return "", false
	}
	return devices[i].Skipped, true
}

// TestInventoryIsLocal checks that only the pod's own socket answers.
func TestInventoryIsLocal(t *testing.T) {
	w := newWorld(t, "")
	w.stop()
	w.address = "127.0.0.1:9178"
	w.startDriver()
	for path, want := range map[string]int{"/livez": http.StatusOK, inventoryPath: http.StatusNotFound} {
		var resp *http.Response
		w.eventually("the address answers", func() (ok bool) {
			var err error
			resp, err = http.Get("http://" + w.address + path)
			return err == nil
		})
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s at the address: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if _, err := (Config{HealthSocket: filepath.Join(w.dir, "none.sock")}).Inventory(w.ctx, "", "", ""); err == nil {
		t.Error("a socket that is not there answers")
	}
}
