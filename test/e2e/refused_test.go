//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
)

// badConfigs are parameters that are refused with an error that names the field and
// its value: when the pod's claim is prepared, and before that by the admission
// policy if it can see the error.
var badConfigs = []struct {
	name, config, field, value string
	policy                     bool
}{
	{"unknown-field", `{interface: {nmae: net1}}`, "interface.nmae", "unknown field", true},
	{"multicast-mac", `{interface: {hardwareAddr: "01:00:5e:00:00:01"}}`, "interface.hardwareAddr", `"01:00:5e:00:00:01"`, false},
	{"long-name", `{interface: {name: sixteen-bytes-xx}}`, "interface.name", `"sixteen-bytes-xx"`, true},
	{"name-eth0", `{interface: {name: eth0}}`, "interface.name", `"eth0"`, true},
	{"name-lo", `{interface: {name: lo}}`, "interface.name", `"lo"`, true},
	{"name-all", `{interface: {name: all}}`, "interface.name", `"all"`, true},
	{"name-percent", `{interface: {name: "net%s"}}`, "interface.name", `"net%s"`, true},
	{"no-prefix", `{interface: {addresses: [192.0.2.1]}}`, "interface.addresses[0]", `"192.0.2.1"`, true},
	{"small-mtu", `{interface: {mtu: 1279}}`, "interface.mtu", `"1279"`, false}, // too little for the host's IPv6 addresses
	{"big-mtu", `{interface: {mtu: 70000}}`, "interface.mtu", `"70000"`, false}, // the veth's maximum is 65535
	{"long-mac", `{interface: {hardwareAddr: "02:00:00:00:00:00:00:aa"}}`, "interface.hardwareAddr", `"02:00:00:00:00:00:00:aa"`, false},
	{"broadcast", `{interface: {addresses: [192.0.2.255/24]}}`, "interface.addresses[0]", `"192.0.2.255/24"`, false},
	{"two-neighbors", `{neighbors: [{destination: 192.0.2.9, hardwareAddr: "02:00:00:00:00:01"}, {destination: 192.0.2.9, hardwareAddr: "02:00:00:00:00:02"}]}`, "neighbors[1].destination", `"192.0.2.9"`, false},
	{"vf-of-a-claim", `{vf: {trust: true}}`, "vf.trust", "claimMaySet", false},
	{"far-gateway", `{routes: [{destination: 203.0.113.0/24, gateway: 203.0.113.1}]}`, "routes", "203.0.113.1", false},
}

// TestBadConfig checks that bad parameters are refused by the admission policy, and,
// in a claim that is older than the policy, with an event and in the claim's status,
// before the NIC is touched. Each has its own NIC, so that all are tried at the same
// time.
func TestBadConfig(t *testing.T) {
	var nics []*nic
	manifest := ""
	for i, c := range badConfigs {
		nics = append(nics, &nic{node: "n1", name: fmt.Sprintf("nic%d", i), n: 10 + i})
		claim := nicClaim(c.name, nics[i].name, c.config)
		manifest += claim + podFor(c.name, "", c.name)
		_, err := command(claim, "test/cluster/kubectl", "apply", "--dry-run=server", "-f", "-")
		if !c.policy && err != nil || c.policy && (err == nil || hasAll(err.Error(), []string{"spec.devices.config[0].opaque.parameters." + c.field, c.value}) != nil) {
			t.Errorf("apply %s: got %v, want a refusal: %v", c.name, err, c.policy)
		}
	}
	makeNICs(t, nics...)
	withoutConfigPolicy(t, nicClaim("try", "none", `{unknown: 1}`))
	check := untouched(t, nics...)
	apply(t, manifest)
	for _, c := range badConfigs {
		t.Run(c.name, func(t *testing.T) {
			eventOf(t, c.name, "FailedPrepareDynamicResources", c.field, c.value)
			awaitStatus(t, c.name, "False", "PrepareFailed", func(s deviceStatus) error {
				return hasAll(s.Ready.Message, []string{c.field, c.value})
			})
		})
	}
	for _, c := range badConfigs {
		notStarted(t, c.name)
	}
	check()
}

// withoutConfigPolicy suspends the admission policy for the rest of the test. It
// returns once a claim is accepted that the policy refuses.
func withoutConfigPolicy(t *testing.T, refused string) {
	t.Helper()
	set := func(action string) {
		kubectl(t, "patch", "validatingadmissionpolicybinding", "dra-netdev-configs", "--type=merge", fmt.Sprintf(`--patch={"spec":{"validationActions":[%q]}}`, action))
	}
	set("Audit")
	t.Cleanup(func() { set("Deny") })
	eventually(t, podLimit, "suspension of the policy", func() error {
		_, err := command(refused, "test/cluster/kubectl", "apply", "--dry-run=server", "-f", "-")
		return err
	})
}

// testClassConfig applies the example of a class that lets claims set only the
// name, and a claim that sets more.
func testClassConfig(t *testing.T) {
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	example(t, "07-class-config.yaml")
	more := nicClaim("more", "eth2", `{interface: {name: net1}, routes: []}`) + podFor("more", "", "more")
	apply(t, strings.ReplaceAll(more, "deviceClassName: dra-netdev", "deviceClassName: class-config"))
	ready(t, "class-config")
	inside := podState(t, "class-config", "net1")
	if diff := gocmp.Diff([]string{"198.51.100.10/24", "2001:db8:5::10/64"}, inside.global()); diff != "" || fmt.Sprint(inside.Link["mtu"]) != "1400" {
		t.Errorf("the MTU is %v, want that of the class, 1400; addresses (-want +got):\n%s", inside.Link["mtu"], diff)
	}
	eventOf(t, "more", "FailedPrepareDynamicResources", "routes: cannot be set by a claim: device class class-config", `["interface.name"]`)
	notStarted(t, "more")
}

// TestHostNetworkIsRefused checks that a pod in the host's network gets no NIC.
func TestHostNetworkIsRefused(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	check := untouched(t, eth1)
	apply(t, nicClaim("host-network", "eth1", `{interface: {name: net1}}`)+podFor("host-network", "hostNetwork: true", "host-network"))
	eventOf(t, "host-network", "FailedCreatePodSandBox", "hostNetwork")
	awaitStatus(t, "host-network", "False", "AttachFailed", func(s deviceStatus) error {
		return hasAll(s.Ready.Message, []string{"hostNetwork"})
	})
	notStarted(t, "host-network")
	check()
}

// TestDuplicateNameIsRefused checks that a pod whose two claims want the same
// interface name is refused, and that the second claim's status has the reason.
func TestDuplicateNameIsRefused(t *testing.T) {
	nics := []*nic{{node: "n1", name: "eth1", n: 1}, {node: "n1", name: "eth2", n: 2}}
	makeNICs(t, nics...)
	check := untouched(t, nics...)
	apply(t, nicClaim("one", "eth1", `{interface: {name: net1}}`)+nicClaim("other", "eth2", `{interface: {name: net1}}`)+podFor("same-name", "", "one", "other"))
	eventOf(t, "same-name", "FailedPrepareDynamicResources", "interface.name", `"net1"`)
	eventually(t, statusLimit, "reason in a claim's status", func() error {
		var reasons []string
		for _, claim := range []string{"one", "other"} { // the kubelet prepares them in any order
			all, err := statusesOf(mustGet[resourceapi.ResourceClaim](t, "resourceclaim", claim))
			if err == nil && all["nic"].Ready.Reason == "PrepareFailed" {
				return hasAll(all["nic"].Ready.Message, []string{"interface.name", `"net1"`})
			}
			reasons = append(reasons, fmt.Sprint(all, err))
		}
		return fmt.Errorf("found none: %q", reasons)
	})
	notStarted(t, "same-name")
	check()
}

// hasAll returns an error that names the words that s does not contain.
func hasAll(s string, words []string) error {
	var missing []error
	for _, w := range words {
		if !strings.Contains(s, w) {
			missing = append(missing, fmt.Errorf("%q is not in %q", w, s))
		}
	}
	return errors.Join(missing...)
}

// untouched starts to record the kernel's notifications about the NICs, which are
// all on one node. The returned function fails the test if there were any, or if
// the state of a NIC, or its index, has changed.
func untouched(t *testing.T, nics ...*nic) (check func()) {
	t.Helper()
	next := func(r io.Reader) func() (string, error) {
		b := bufio.NewReader(r)
		return func() (string, error) { return b.ReadString('\n') }
	}
	notifications := follow(t, next, "test/cluster/node", nics[0].node, "ip", "-oneline", "monitor", "link", "address", "route")
	eventually(t, restoreLimit, "first notification", func() error { return sentinel(nics[0], notifications, "1001") })
	return func() {
		t.Helper()
		for _, n := range nics {
			now, err := hostState(n)
			if diff := gocmp.Diff(n.before, now); err != nil || diff != "" {
				t.Errorf("%s was touched (%v, -before +now):\n%s", n.name, err, diff)
			}
		}
		eventually(t, restoreLimit, "last notification", func() error { return sentinel(nics[0], notifications, "1002") })
		for _, n := range nics {
			about := regexp.MustCompile(`(^|[ \]])(\d+: ` + n.name + `[@: ]|dev ` + n.name + ` )`)
			for _, line := range notifications.all() {
				if about.MatchString(line) {
					t.Errorf("%s was touched: %s", n.name, line)
				}
			}
		}
	}
}

// sentinel changes the group of a NIC's wire and returns an error if there was no
// notification of that.
func sentinel(n *nic, notifications *stream[string], group string) error {
	if _, err := tryNode(n.node, "ip", "link", "set", n.wire(), "group", group); err != nil {
		return err
	}
	for _, line := range notifications.all() {
		if strings.Contains(line, " "+n.wire()+"@") && strings.Contains(line, " group "+group+" ") {
			return nil
		}
	}
	return errors.New("got no notification about " + n.wire())
}
