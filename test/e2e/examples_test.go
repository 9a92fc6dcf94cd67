//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	netdevnic "github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// exampleTests has a test for each file of examples/.
var exampleTests = map[string]func(*testing.T){
	"01-one-nic.yaml":          testOneNIC,
	"02-two-nics.yaml":         testTwoNICs,
	"03-template.yaml":         testTemplate,
	"04-keep-everything.yaml":  testKeepEverything,
	"05-static-addresses.yaml": testStaticAddresses,
	"06-mtu-mac-routes.yaml":   testMTUMACRoutes,
	"07-class-config.yaml":     testClassConfig,
	"09-address-pool.yaml":     testAddressPool,
	"10-several-nics.yaml":     testSeveralNICs,
	"08-dhcp.yaml":             testDHCP,
	"11-kernel-settings.yaml":  testKernelSettings,
	"12-source-routing.yaml":   testSourceRouting,
	"13-policy-routing.yaml":   testPolicyRouting,
	"14-bandwidth.yaml":        testBandwidth,
	"15-rails.yaml":            testRails,
	"16-gpu-and-nic.yaml":      testGPUAndNIC,
}

// TestExamples runs the test of each file of examples/, and fails if a file has none.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "examples", "*.yaml"))
	if err != nil || len(files) < len(exampleTests) {
		t.Errorf("found %d files in examples/ and %d tests (%v)", len(files), len(exampleTests), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			test := exampleTests[name]
			if test == nil {
				t.Fatalf("no test applies examples/%s", name)
			}
			test(t)
		})
	}
}

func testOneNIC(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	states := watch[resourceapi.ResourceClaim](t, "resourceclaims")
	example(t, "01-one-nic.yaml")
	ready(t, "one-nic")
	inPod(t, eth1, "one-nic", "net1")

	inside := podState(t, "one-nic", "net1")
	first := awaitStatus(t, "one-nic", "True", "Attached", nil)
	ips := slices.Sorted(slices.Values(inside.global()))
	wantStatus(t, first, "net1", inside.mac(), ips, v1alpha1.NetDeviceStatus{HostInterface: "eth1", MTU: 1450})
	if age := time.Since(first.Data.SampledAt); age < -time.Second || age > time.Minute {
		t.Errorf("sampledAt is %v, %v ago", first.Data.SampledAt, age)
	}
	before := awaitCounters(t, "one-nic")
	talk(t, eth1, "one-nic")
	after := awaitStatus(t, "one-nic", "True", "Attached", func(s deviceStatus) error { return talked(before, s.Data.Statistics) })

	deletePod(t, "one-nic")
	restored(t, eth1)
	// The claim is kept. Kubernetes removes its allocation, and with it the status
	// of its devices, when no pod uses it: only a watch sees the final status.
	eventually(t, statusLimit, "final status", func() error { return endedWith(states.all(), after.Data.Statistics) })
	if claim := mustGet[resourceapi.ResourceClaim](t, "resourceclaim", "one-nic"); claim.DeletionTimestamp != nil {
		t.Error("the claim is being deleted, but only its pod was deleted")
	}
}

// wantStatus checks the status of an attached device. It ignores the counters and
// times in data.
func wantStatus(t *testing.T, got deviceStatus, name, mac string, ips []string, data v1alpha1.NetDeviceStatus) {
	t.Helper()
	if diff := gocmp.Diff(&resourceapi.NetworkDeviceData{InterfaceName: name, HardwareAddress: mac, IPs: ips}, got.NetworkData); diff != "" {
		t.Errorf("networkData differs from the interface in the pod (-pod +claim):\n%s", diff)
	}
	data.APIVersion, data.Kind = v1alpha1.GroupVersion, v1alpha1.StatusKind
	data.Statistics, data.SampledAt, data.Identity = got.Data.Statistics, got.Data.SampledAt, got.Data.Identity
	if diff := gocmp.Diff(data, got.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if got.Data.SampledAt.IsZero() {
		t.Error("sampledAt is not set")
	}
}

// awaitCounters returns the statistics in a claim once they have stopped changing.
func awaitCounters(t *testing.T, claim string) netdevnic.Statistics {
	t.Helper()
	var last netdevnic.Statistics
	since := time.Now()
	return awaitStatusWithin(t, quietLimit, claim, "True", "Attached", func(s deviceStatus) error {
		if now := s.Data.Statistics; now != last || now.TxPackets == 0 {
			last, since = now, time.Now()
		}
		if rest := time.Since(since); rest < 1500*time.Millisecond { // longer than statusInterval
			return fmt.Errorf("the counters changed %v ago", rest)
		}
		return nil
	}).Data.Statistics
}

const (
	answered = 8    // packets that talk sends and that are answered
	oneWay   = 5    // packets that talk sends and that are not answered
	oneWayOf = 1000 // size of those in bytes
)

// talk sends packets from the pod over the NIC. It sends more than it receives, so
// that the test notices the counters of the wrong end.
func talk(t *testing.T, n *nic, pod string) {
	t.Helper()
	ping(t, pod, "net1", n.far4(), answered/2)
	ping(t, pod, "net1", n.far6(), answered/2)
	// The command fails, because there is no answer.
	_, err := tryKubectl("exec", pod, "--", "busybox", "ping", "-c", fmt.Sprint(oneWay), "-i", "0.1", "-W", "1", "-s", fmt.Sprint(oneWayOf), n.unanswered())
	if err == nil {
		t.Errorf("%s has answered", n.unanswered())
	}
}

// talked returns an error unless the counters have grown by what talk sends.
func talked(before, now netdevnic.Statistics) error {
	grown := now.Since(before)
	switch {
	case grown.RxPackets < answered || grown.TxPackets < answered+oneWay:
		return fmt.Errorf("sent %d and received %d packets, want %d and %d or more", grown.TxPackets, grown.RxPackets, answered+oneWay, answered)
	case grown.TxBytes < grown.RxBytes+oneWay*oneWayOf*9/10: // the wire may also send some packets by itself
		return fmt.Errorf("sent %d and received %d bytes, want %d more sent", grown.TxBytes, grown.RxBytes, oneWay*oneWayOf)
	case grown.RxErrors+grown.TxErrors+grown.RxDropped+grown.TxDropped != 0:
		return fmt.Errorf("there were errors: %+v", grown)
	}
	return nil
}

// endedWith returns an error unless the last status of the claim's device is
// Detached, with counters that are not lower than before.
func endedWith(claims []resourceapi.ResourceClaim, before netdevnic.Statistics) error {
	var last deviceStatus
	for _, c := range claims {
		if all, err := statusesOf(c); err == nil {
			last = all["nic"]
		}
	}
	s := last.Data.Statistics
	if last.Ready.Status != "False" || last.Ready.Reason != "Detached" || last.NetworkData != nil {
		return fmt.Errorf("got %+v, want Detached", last)
	}
	if s.RxPackets < before.RxPackets || s.TxPackets < before.TxPackets || s.TxBytes < before.TxBytes || s.RxBytes < before.RxBytes {
		return fmt.Errorf("the final counters are %+v, lower than %+v before", s, before)
	}
	return nil
}

func testTwoNICs(t *testing.T) {
	nics := map[string]*nic{"storage": {node: "n1", name: "eth1", n: 1}, "backup": {node: "n1", name: "eth2", n: 2}}
	makeNICs(t, nics["storage"], nics["backup"])
	example(t, "02-two-nics.yaml")
	ready(t, "two-nics")
	for request, n := range nics {
		inPod(t, n, "two-nics", request+"0")
	}
	eventually(t, statusLimit, "Ready condition of both devices", func() error {
		all, err := statusesOf(mustGet[resourceapi.ResourceClaim](t, "resourceclaim", "two-nics"))
		for request, n := range nics {
			s := all[request]
			if s.Ready.Status != "True" || s.NetworkData.InterfaceName != request+"0" || s.NetworkData.HardwareAddress != n.before.mac() || s.Data.HostInterface != n.name {
				err = errors.Join(err, fmt.Errorf("%s is %+v", request, s))
			}
		}
		return err
	})
}

func testTemplate(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	example(t, "03-template.yaml")
	first := replicas(t, 1, "app=template")[0]
	inPod(t, eth1, first.Name, "net1")
	deletePod(t, first.Name)
	second := replicas(t, 1, "app=template")[0]
	if second.UID == first.UID {
		t.Fatalf("pod %s still exists after its deletion", first.Name)
	}
	inPod(t, eth1, second.Name, "net1")
	kubectl(t, "scale", "deployment/template", "--replicas=0")
	eventually(t, podLimit, "deletion of the pods and their claims", nothingLeft)
}

// replicas waits until the Deployment of the example runs this many pods.
func replicas(t *testing.T, count int, label string) (live []corev1.Pod) {
	t.Helper()
	eventually(t, podLimit, fmt.Sprintf("%d running pods", count), func() error {
		live = pods(t, "default", label)
		for _, p := range live {
			if !isReady(p) {
				return fmt.Errorf("pod %s is %s", p.Name, p.Status.Phase)
			}
		}
		if len(live) != count {
			return fmt.Errorf("got %d", len(live))
		}
		return nil
	})
	return live
}

func isReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func testKeepEverything(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	example(t, "04-keep-everything.yaml")
	ready(t, "keep-everything")
	inPod(t, eth1, "keep-everything", "eth1")
}

// omitted are the routes of NIC number 1 that are not possible with the addresses
// of examples 05 and 06.
var omitted = []string{"0.0.0.0/0", "10.30.1.0/24", "10.31.1.0/24", "2001:db8:f101::/48"}

func testStaticAddresses(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	example(t, "05-static-addresses.yaml")
	ready(t, "static-addresses")
	want := []string{"198.51.100.10/24", "2001:db8:5::10/64"}
	inside := podState(t, "static-addresses", "net1")
	if diff := gocmp.Diff(want, inside.global()); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	status := awaitStatus(t, "static-addresses", "True", "Attached", nil)
	wantOmitted(t, status)
	wantStatus(t, status, "net1", inside.mac(), want, v1alpha1.NetDeviceStatus{HostInterface: "eth1", MTU: 1450, Omitted: status.Data.Omitted})
}

// wantOmitted checks that the status names exactly the routes of omitted.
func wantOmitted(t *testing.T, s deviceStatus) {
	t.Helper()
	for _, destination := range omitted {
		if got := slices.IndexFunc(s.Data.Omitted, func(l string) bool { return strings.Contains(l, destination) }); got < 0 {
			t.Errorf("data.omitted does not name the route to %s: %q", destination, s.Data.Omitted)
		}
	}
	if len(s.Data.Omitted) != len(omitted) {
		t.Errorf("data.omitted is %q, want %d entries", s.Data.Omitted, len(omitted))
	}
}

func testMTUMACRoutes(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	example(t, "06-mtu-mac-routes.yaml")
	ready(t, "mtu-mac-routes")
	inside := podState(t, "mtu-mac-routes", "net1")
	if mtu, mac := fmt.Sprint(inside.Link["mtu"]), inside.mac(); mtu != "1400" || mac != "02:00:00:00:00:aa" {
		t.Errorf("the MTU is %s and the MAC %s, want 1400 and 02:00:00:00:00:aa", mtu, mac)
	}
	wantRoutes := []string{
		"10.32.1.0/24 table=71", // the host's
		"2001:db8:77::/48 gateway=2001:db8:5::1 table=main",
		"203.0.113.0/24 gateway=198.51.100.1 prefsrc=198.51.100.10 table=main",
		"203.0.113.128/25 table=100",
	}
	if diff := gocmp.Diff(wantRoutes, words(inside.wanted("net1").Routes, "dst", "gateway", "prefsrc", "table")); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	wantNeighbors := []string{"10.20.1.9 lladdr=02:00:00:00:00:09", "198.51.100.1 lladdr=02:00:00:00:00:01"}
	if diff := gocmp.Diff(wantNeighbors, words(inside.Neighbors, "dst", "lladdr")); diff != "" {
		t.Errorf("permanent neighbors (-want +got):\n%s", diff)
	}
	status := awaitStatus(t, "mtu-mac-routes", "True", "Attached", nil)
	wantOmitted(t, status)
	wantStatus(t, status, "net1", "02:00:00:00:00:aa", []string{"198.51.100.10/24", "2001:db8:5::10/64"},
		v1alpha1.NetDeviceStatus{HostInterface: "eth1", MTU: 1400, Omitted: status.Data.Omitted})
}

// words returns a sorted line for each object, with the value of one field followed
// by other fields that it has.
func words(all []map[string]any, first string, others ...string) []string {
	out := []string{}
	for _, object := range all {
		line := fmt.Sprint(object[first])
		for _, key := range others {
			if v, ok := object[key]; ok {
				line += fmt.Sprintf(" %s=%v", key, v)
			}
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}
