//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

const (
	publishLimit = 3 * time.Second  // from a change to the ResourceSlice that shows it
	restoreLimit = 10 * time.Second // from the end of a pod to the restored NIC; includes duplicate address detection
)

// nic is a network interface of a node: one end of a veth pair. The other end,
// the wire, stays on the node and has its own addresses.
type nic struct {
	node, name string
	n          int   // unique number of the NIC, part of all its addresses
	before     state // its state before the test
}

func (n *nic) wire() string       { return fmt.Sprintf("wire%d", n.n) }
func (n *nic) far4() string       { return fmt.Sprintf("10.20.%d.2", n.n) }
func (n *nic) far6() string       { return fmt.Sprintf("2001:db8:f0%02d::2", n.n) }
func (n *nic) unanswered() string { return fmt.Sprintf("10.20.%d.9", n.n) } // has a permanent neighbor entry but does not exist

// script creates the NIC with a value for every kind of property that must be
// restored.
func (n *nic) script() string {
	return strings.NewReplacer("NIC", n.name, "WIRE", n.wire(), "N2", fmt.Sprintf("%02d", n.n), "NN", fmt.Sprint(n.n)).Replace(`
ip link add NIC type veth peer name WIRE
ip address add 10.20.NN.2/24 dev WIRE
ip address add 2001:db8:f0N2::2/64 dev WIRE nodad
ip link set WIRE up
ip link set NIC mtu 1450 alias "interface NN" txqueuelen 500 group NN
ip link property add dev NIC altname interface-NN-of-the-board
ip address add 10.20.NN.1/24 broadcast + dev NIC
ip address add 10.20.NN.3/24 broadcast + dev NIC label NIC:a
ip address add 10.21.NN.1 peer 10.21.NN.2/32 dev NIC
ip address add 2001:db8:f0N2::1/64 dev NIC
ip address add 2001:db8:f0N2::3/64 dev NIC nodad
ip link set NIC up
ip route add 10.30.NN.0/24 via 10.20.NN.254 dev NIC metric 50
ip route add 10.31.NN.0/24 via 10.20.NN.254 dev NIC mtu 1300 protocol static src 10.20.NN.3
ip route add 10.32.NN.0/24 dev NIC scope link table 7NN
ip route add default via 10.20.NN.254 dev NIC table 7NN
ip route add 2001:db8:f1N2::/48 via 2001:db8:f0N2::fe dev NIC
ip neighbor add 10.20.NN.9 lladdr 02:00:00:00:00:09 dev NIC nud permanent
`)
}

// again creates the NIC with its old hardware address after its node has lost all
// links, as if hardware had reappeared.
func (n *nic) again() string {
	return strings.Replace(n.script(), "type veth", "address "+n.before.mac()+" type veth", 1)
}

// makeNICs creates NICs, waits until they are offered, and records their state.
// At the end of the test it checks that this state is restored, and deletes them.
func makeNICs(t *testing.T, nics ...*nic) {
	t.Helper()
	scripts := map[string]string{}
	for _, n := range nics {
		scripts[n.node] += n.script()
	}
	t.Cleanup(func() { unmake(t, nics) })
	explainFailure(t)
	t.Cleanup(func() {
		eventually(t, podLimit, "deletion of all pods and claims", nothingLeft)
		for _, n := range nics {
			restored(t, n)
		}
	})
	for node, script := range scripts {
		onNode(t, node, "sh", "-ec", script)
	}
	took := eventually(t, publishLimit, "publication of new NICs", func() error { return offered(nics) })
	t.Logf("%d NICs were published after %v", len(nics), took.Round(10*time.Millisecond))
	for _, n := range nics {
		eventually(t, restoreLimit, "settled state of "+n.name, func() (err error) {
			if n.before, err = hostState(n); err == nil {
				err = n.before.settled()
			}
			return err
		})
	}
}

// unmake deletes the wires, and with them the NICs in any namespace.
func unmake(t *testing.T, nics []*nic) {
	for _, n := range nics {
		if _, err := tryNode(n.node, "ip", "link", "delete", n.wire()); err != nil {
			t.Error(err)
		}
	}
}

// offered returns an error for each NIC that is not in a ResourceSlice with its
// current attributes.
func offered(nics []*nic) error {
	var missing []error
	for _, node := range []string{"n1", "n2"} {
		devices, err := devicesOf(node)
		if err != nil {
			return err
		}
		macs, err := macsOf(node)
		if err != nil {
			return err
		}
		for _, n := range nics {
			if n.node != node {
				continue
			}
			mac := macs[n.name]
			var d resourceapi.Device
			for _, each := range devices { // its name may be another one, as of mlx5_6
				if text(each, v1alpha1.AttributeIfName) == n.name {
					d = each
				}
			}
			if mac == "" || text(d, v1alpha1.AttributeMAC) != mac || text(d, v1alpha1.AttributeIPv4) == "" || text(d, v1alpha1.AttributeIPv6) == "" {
				missing = append(missing, fmt.Errorf("want %s with address %s; got %q with address %q, ipv4 %q, ipv6 %q", n.name, mac, d.Name, text(d, v1alpha1.AttributeMAC), text(d, v1alpha1.AttributeIPv4), text(d, v1alpha1.AttributeIPv6)))
			}
		}
	}
	return errors.Join(missing...)
}

// macsOf returns the hardware addresses of a node's interfaces, by name. It is one
// command, because each takes a tenth of a second.
func macsOf(node string) (map[string]string, error) {
	out, err := tryNode(node, "sh", "-c", "cd /sys/class/net && grep . */address")
	macs := map[string]string{}
	for line := range strings.Lines(out) {
		name, mac, _ := strings.Cut(strings.TrimSpace(line), "/address:")
		macs[name] = mac
	}
	return macs, err
}

// devicesOf returns the devices in a node's ResourceSlices, by name.
func devicesOf(node string) (map[string]resourceapi.Device, error) {
	list, err := get[resourceapi.ResourceSliceList]("resourceslices", "--field-selector=spec.nodeName="+node)
	devices := map[string]resourceapi.Device{}
	for _, s := range list.Items {
		for _, d := range s.Spec.Devices {
			devices[d.Name] = d
		}
	}
	return devices, err
}

// text returns a string attribute of a device, or "" if it has none of that name.
func text(d resourceapi.Device, name resourceapi.QualifiedName) string {
	if v := d.Attributes[name].StringValue; v != nil {
		return *v
	}
	return ""
}

// state is the state of a NIC as ip(8) prints it.
type state struct {
	Index     int // not in Link, because a restored NIC may have another one
	Link      map[string]any
	Addresses []map[string]any // in the kernel's order
	Routes    []map[string]any // of all tables and both families
	Neighbors []map[string]any // the permanent ones
}

func stateScript(name string) string {
	return strings.ReplaceAll(`ip -details -json address show dev NIC && ip -details -json -4 route show table all dev NIC &&
ip -details -json -6 route show table all dev NIC && ip -json neighbor show dev NIC nud permanent`, "NIC", name)
}

func hostState(n *nic) (state, error) {
	out, err := tryNode(n.node, "sh", "-c", stateScript(n.name))
	if err != nil {
		return state{}, err
	}
	return parseState(out)
}

// podState reads the state of a NIC in a pod.
func podState(t *testing.T, pod, name string) state {
	t.Helper()
	s, err := parseState(kubectl(t, "exec", pod, "--", "sh", "-c", stateScript(name)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parseState(out string) (state, error) {
	var parts [4][]map[string]any
	d := json.NewDecoder(strings.NewReader(out))
	for i := range parts {
		if err := d.Decode(&parts[i]); err != nil {
			return state{}, fmt.Errorf("%w in %q", err, out)
		}
	}
	if len(parts[0]) != 1 {
		return state{}, fmt.Errorf("got %d links with one name", len(parts[0]))
	}
	s := state{Link: parts[0][0], Routes: sorted(slices.Concat(parts[1], parts[2])), Neighbors: sorted(parts[3])}
	index, _ := s.Link["ifindex"].(float64)
	s.Index = int(index)
	for _, a := range s.Link["addr_info"].([]any) {
		s.Addresses = append(s.Addresses, a.(map[string]any))
	}
	delete(s.Link, "ifindex")
	delete(s.Link, "addr_info")
	return s, nil
}

// sorted sorts objects that the kernel lists in no particular order.
func sorted(all []map[string]any) []map[string]any {
	return slices.SortedFunc(slices.Values(all), func(a, b map[string]any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

// settled returns an error while the kernel has not finished setting up a new NIC.
func (s state) settled() error {
	if s.Link["operstate"] != "UP" {
		return fmt.Errorf("its state is %v", s.Link["operstate"])
	}
	for _, a := range s.Addresses {
		if a["tentative"] != nil {
			return fmt.Errorf("address %v is tentative", a["local"])
		}
	}
	return nil
}

// global returns the addresses of global scope with their prefix lengths.
func (s state) global() []string {
	var all []string
	for _, a := range s.Addresses {
		if a["scope"] == "global" {
			all = append(all, fmt.Sprintf("%v/%v", a["local"], a["prefixlen"]))
		}
	}
	return all
}

func (s state) mac() string { return fmt.Sprint(s.Link["address"]) }

// wanted returns the state that the NIC must have in a pod whose claim changes
// only the name. It omits what the kernel creates by itself, and what shows that
// the wire is in another namespace.
func (s state) wanted(name string) state {
	from, out := fmt.Sprint(s.Link["ifname"]), state{Link: maps.Clone(s.Link), Neighbors: s.Neighbors}
	for _, key := range []string{"link", "link_index", "link_netnsid", "altnames"} {
		delete(out.Link, key)
	}
	out.Link["ifname"] = name
	for _, a := range s.Addresses {
		if a["scope"] != "global" {
			continue
		}
		a = maps.Clone(a)
		delete(a, "nodad") // in a pod all IPv6 addresses have it, so that containers can use them at once
		if label, ok := a["label"].(string); ok {
			a["label"] = name + strings.TrimPrefix(label, from)
		}
		out.Addresses = append(out.Addresses, a)
	}
	for _, r := range s.Routes {
		if r["protocol"] != "kernel" {
			out.Routes = append(out.Routes, r)
		}
	}
	return out
}

// inPod checks that the NIC is in the pod under this name with its addresses,
// routes and settings, that it is no longer on the node, and that it works.
func inPod(t *testing.T, n *nic, pod, name string) {
	t.Helper()
	if diff := gocmp.Diff(n.before.wanted(name), podState(t, pod, name).wanted(name)); diff != "" {
		t.Errorf("%s in pod %s differs from %s on %s (-host +pod):\n%s", name, pod, n.name, n.node, diff)
	}
	if _, err := hostState(n); err == nil {
		t.Errorf("%s still has %s, which must be in pod %s", n.node, n.name, pod)
	}
	ping(t, pod, name, n.far4(), 2)
	ping(t, pod, name, n.far6(), 2)
}

// ping fails the test unless each of count packets is answered.
func ping(t *testing.T, pod, over, address string, count int) {
	t.Helper()
	out := kubectl(t, "exec", pod, "--", "busybox", "ping", "-c", fmt.Sprint(count), "-i", "0.1", "-W", "2", "-I", over, address)
	if want := fmt.Sprintf("%d packets received", count); !strings.Contains(out, want) {
		t.Errorf("ping %s from pod %s: want %q in\n%s", address, pod, want, out)
	}
}

// restored waits until the NIC is on its node in its state before the test.
func restored(t *testing.T, n *nic) {
	t.Helper()
	if n.before.Link == nil {
		return // it was not created
	}
	eventually(t, restoreLimit, "restored state of "+n.name, func() error {
		now, err := hostState(n)
		if err != nil {
			return err
		}
		now.Index = n.before.Index
		if diff := gocmp.Diff(n.before, now); diff != "" {
			return fmt.Errorf("(-before +now):\n%s", diff)
		}
		return nil
	})
}
