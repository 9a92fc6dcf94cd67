//go:build vm

package netdev

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// ipoibWorld makes a host with fakeib's interface as h0.
func ipoibWorld(t *testing.T, onHost string) *world {
	t.Helper()
	all, _ := filepath.Glob("/sys/class/net/*/type")
	for _, file := range all {
		if kind, _ := os.ReadFile(file); strings.TrimSpace(string(kind)) != "32" { // ARPHRD_INFINIBAND
			continue
		}
		name := filepath.Base(filepath.Dir(file))
		w := &world{t: t, Host: nstest.New(t), Pod: nstest.New(t)}
		lines(t, &nstest.NS{Path: "/proc/1/ns/net"}, "ip link set "+name+" name h0 netns "+w.Host.Path)
		t.Cleanup(func() { lines(t, w.Host, "ip link set h0 down\nip link set h0 name "+name+" netns 1") })
		lines(t, w.Host, "ip link set lo up\nip link set h0 up\n"+onHost)
		lines(t, w.Pod, "ip link set lo up")
		w.host, w.pod = open(t, w.Host.Path), open(t, w.Pod.Path)
		w.hostBefore, w.podBefore = w.Host.Settled(), w.Pod.Settled()
		return w
	}
	t.Fatalf("no interface of InfiniBand in %v", all)
	return nil
}

// TestVMIPoIB checks that an interface of IP over InfiniBand, with its addresses of
// 20 bytes, is in the pod as it was on the host, and is restored when the pod has
// changed it.
func TestVMIPoIB(t *testing.T) {
	const (
		own      = "80:00:00:48:fe:80:00:00:00:00:00:00:24:8a:07:03:00:1e:2f:30"
		other    = "80:00:00:48:fe:80:00:00:00:00:00:00:24:8a:07:03:00:1e:2f:99"
		neighbor = "80:00:00:49:fe:80:00:00:00:00:00:00:24:8a:07:03:00:1e:2f:77"
	)
	w := ipoibWorld(t, `
		ip address add 192.0.2.1/24 dev h0
		ip address add 2001:db8::1/64 dev h0 nodad
		ip neighbor add 192.0.2.9 dev h0 lladdr `+neighbor+` nud permanent
		ip route add 198.51.100.0/24 via 192.0.2.9 dev h0`)
	p := w.plan("h0", `{"interface":{"name":"ib0"},"neighbors":[{"destination":"192.0.2.8","hardwareAddr":"`+neighbor+`"}]}`)
	for _, a := range p.Original.Addresses {
		if a.linkLocal6() {
			t.Errorf("the kernel's address %s is recorded", a.Prefix)
		}
	}
	a := w.attach(p)[0]
	p.ID, p.Original.Queues = a.ID, a.Queues
	if got := a.State.MAC.String(); got != own || a.ID.PermMAC.String() != own || len(a.Omitted)+len(w.omitted) > 0 {
		t.Errorf("hardware address: got %s, permanent %s, omitted %q %q", got, a.ID.PermMAC, w.omitted, a.Omitted)
	}
	if out := w.Pod.Run("ip -o address show dev ib0") + w.Pod.Run("ip neighbor show dev ib0 nud permanent") + w.Pod.Run("ip route"); !strings.Contains(out, "192.0.2.1/24") ||
		!strings.Contains(out, "2001:db8::1/64") || !strings.Contains(out, "fe80::268a:703:1e:2f30/64") || strings.Count(out, neighbor) != 2 || !strings.Contains(out, "198.51.100.0/24 via 192.0.2.9") {
		t.Errorf("in the pod:\n%s", out)
	}
	if sent, err := w.pod.Announce(a.ID.PodIndex); !sent || err != nil {
		t.Errorf("Announce: got %t, %v", sent, err)
	}
	w.Pod.Lines("ip link set ib0 down\nip link set ib0 address " + other + "\nip link set ib0 name ib7\nip link set ib7 mtu 1000")
	if result := w.detach(p)[0]; len(result.Unset) > 0 || result.Name != "h0" {
		t.Errorf("Detach: got %+v", result)
	}
	w.asBefore()

	mac := nic.HardwareAddr{2, 0, 0, 0, 0, 1}
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Desired(l, p.Original, nic.Config{Interface: nic.Interface{HardwareAddr: mac}})
	if want := `interface.hardwareAddr: "02:00:00:00:00:01": the hardware address of this kind of interface (infiniband) cannot be set`; err == nil || err.Error() != want {
		t.Errorf("hardwareAddr: got %v, want %s", err, want)
	}
}
