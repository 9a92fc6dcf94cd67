//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// serveDHCP runs busybox's udhcpd on the wire of a NIC until stop is called or the
// test ends. It leases one address for 20 s.
func serveDHCP(t *testing.T, n *nic) (stop func()) {
	t.Helper()
	dir := strings.TrimSpace(onNode(t, n.node, "mktemp", "-d"))
	conf := strings.NewReplacer("WIRE", n.wire(), "DIR", dir).Replace(`
interface WIRE
start 192.0.2.50
end 192.0.2.50
max_leases 1
lease_file DIR/leases
pidfile DIR/pid
option subnet 255.255.255.0
option lease 20
option mtu 1400
option dns 192.0.2.53
option domain storage.example
option staticroutes 203.0.113.0/24 192.0.2.1, 0.0.0.0/0 192.0.2.1
`)
	onNode(t, n.node, "sh", "-ec", fmt.Sprintf("ip address add 192.0.2.1/24 dev %s; cat > %s/conf <<'END'\n%s\nEND\n: > %[2]s/leases; busybox udhcpd -S %[2]s/conf", n.wire(), dir, conf))
	stopped := false
	stop = func() {
		if !stopped {
			onNode(t, n.node, "sh", "-ec", fmt.Sprintf("kill $(cat %s/pid)", dir))
		}
		stopped = true
	}
	t.Cleanup(func() {
		stop()
		onNode(t, n.node, "rm", "-r", dir)
	})
	return stop
}

// testDHCP checks a lease for the whole life of a pod: while the driver restarts,
// and when the server is gone.
func testDHCP(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	stop := serveDHCP(t, eth1)
	example(t, "08-dhcp.yaml")
	ready(t, "dhcp")
	ping(t, "dhcp", "net1", "192.0.2.1", 1)
	status := awaitStatus(t, "dhcp", "True", "Attached", func(s deviceStatus) error {
		if s.NetworkData == nil || !slices.Contains(s.NetworkData.IPs, "192.0.2.50/24") || len(s.Data.Leases) != 1 {
			return fmt.Errorf("networkData %+v, leases %+v", s.NetworkData, s.Data.Leases)
		}
		return nil
	})
	lease := status.Data.Leases[0]
	want := v1alpha1.LeaseStatus{
		Address: "192.0.2.50/24", Server: eth1.far4(), Routes: []string{"203.0.113.0/24 via 192.0.2.1"}, MTU: 1400,
		DNSServers: []string{"192.0.2.53"}, SearchDomains: []string{"storage.example"}, Ignored: []string{"route to 0.0.0.0/0: the pod has a default route"},
	}
	if !reflect.DeepEqual(lease, want) {
		t.Errorf("the claim's status shows the lease %+v, want %+v", lease, want)
	}
	inside := podState(t, "dhcp", "net1")
	if mtu := fmt.Sprint(inside.Link["mtu"]); mtu != "1400" {
		t.Errorf("the MTU is %s, want 1400", mtu)
	}
	if routes := kubectl(t, "exec", "dhcp", "--", "ip", "route"); !strings.Contains(routes, "203.0.113.0/24 via 192.0.2.1 dev net1") || strings.Count(routes, "default") != 1 || !strings.Contains(routes, "dev eth0") {
		t.Errorf("the pod's routes:\n%s", routes)
	}

	kubectl(t, "delete", "pod", "--namespace=dra-netdev", driverOn(t, "n1").Name, "--timeout=30s")
	awaitDriver(t, nodeCount)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) { // longer than a lease
		if shown := kubectl(t, "exec", "dhcp", "--", "ip", "address", "show", "dev", "net1"); !strings.Contains(shown, "192.0.2.50/24") {
			t.Fatalf("the pod has lost its address:\n%s", shown)
		}
	}
	stop()
	awaitStatusWithin(t, 40*time.Second, "dhcp", "False", "LeaseLost", nil)
	eventOf(t, "dhcp", "LeaseLost", "interface.dhcp")
	if shown := kubectl(t, "exec", "dhcp", "--", "ip", "address", "show", "dev", "net1"); strings.Contains(shown, "192.0.2.50/24") {
		t.Errorf("the pod still has the address:\n%s", shown)
	}
	deletePod(t, "dhcp")
	restored(t, eth1)
}

// TestNoDHCPServer checks that a pod does not start without its lease, and starts
// once there is a server.
func TestNoDHCPServer(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	apply(t, nicClaim("unleased", "eth1", `{interface: {name: net1, dhcp: true}}`)+podFor("unleased", "", "unleased"))
	awaitStatusWithin(t, 60*time.Second, "unleased", "False", "AttachFailed", func(s deviceStatus) error {
		return hasAll(s.Ready.Message, []string{`interface.dhcp: "true": no DHCP server has answered`})
	})
	restored(t, eth1)
	serveDHCP(t, eth1)
	eventually(t, 3*time.Minute, "a lease", func() error {
		out, err := tryKubectl("exec", "unleased", "--", "ip", "address", "show", "dev", "net1")
		if err != nil {
			return err
		}
		return hasAll(out, []string{"192.0.2.50/24"})
	})
	deletePod(t, "unleased")
	restored(t, eth1)
}

const (
	dhcp6Link = "DRA_NETDEV_TEST_DHCP6" // set in a process that is a DHCPv6 server: its link
	leased6   = "2001:db8:50::50"
	lease6    = 20 * time.Second
)

// serveDHCP6 runs a DHCPv6 server, which is this program, on the wire of a NIC until
// the test ends.
func serveDHCP6(t *testing.T, n *nic) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	onNode(t, n.node, "ip", "address", "add", "2001:db8:50::1/64", "dev", n.wire(), "nodad")
	c := exec.Command(filepath.Join(root, "test/cluster/node"), n.node, "env", dhcp6Link+"="+n.wire(), program)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		if c.Wait(); out.Len() > 0 {
			t.Errorf("the DHCPv6 server: %s", out.String())
		}
	})
}

// TestDHCP6 checks an IPv6 lease beside an IPv4 one, for longer than it lasts.
func TestDHCP6(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	serveDHCP(t, eth1)
	serveDHCP6(t, eth1)
	apply(t, nicClaim("both", "eth1", `{interface: {name: net1, dhcp: true, dhcp6: true}, routes: [{destination: "2001:db8:50::/64"}]}`)+podFor("both", "", "both"))
	ready(t, "both")
	for end := time.Now().Add(lease6 + 5*time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		ping(t, "both", "net1", "2001:db8:50::1", 1)
		ping(t, "both", "net1", "192.0.2.1", 1)
	}
	awaitStatus(t, "both", "True", "Attached", func(s deviceStatus) error {
		if s.NetworkData == nil || !slices.Equal(s.NetworkData.IPs, []string{"192.0.2.50/24", leased6 + "/128"}) || len(s.Data.Leases) != 2 {
			return fmt.Errorf("networkData %+v, leases %+v", s.NetworkData, s.Data.Leases)
		}
		return nil
	})
	deletePod(t, "both")
	restored(t, eth1)
}
