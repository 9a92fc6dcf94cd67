package netdev

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// protocolNames are for an ip(8) without /etc/protocols.
var protocolNames = strings.NewReplacer("ipproto-6 ", "tcp ", "ipproto-17 ", "udp ", "ipproto-132 ", "sctp ")

// rulesIn returns what `ip rule` shows of ours, IPv4 before IPv6.
func (w *world) rulesIn() []string {
	var ours []string
	for _, line := range strings.Split(w.Pod.Run("ip rule")+w.Pod.Run("ip -6 rule"), "\n") {
		if rule, ok := strings.CutSuffix(strings.TrimSpace(line), " proto 77"); ok {
			ours = append(ours, protocolNames.Replace(strings.Join(strings.Fields(rule), " ")))
		}
	}
	return ours
}

const addressed = "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0\nip addr add 2001:db8::1/64 dev h0 nodad\n"

// TestRules checks that the rules of a config are in the pod with all selectors and in
// the families of their table, and gone when the link has left.
func TestRules(t *testing.T) {
	tests := []struct {
		name, config string
		want         []string
	}{
		{
			"priority, source, destination, table", `{"rules":[{"priority":100,"source":"192.0.2.1/32","destination":"10.0.0.0/8","table":100},{"source":"2001:db8::/64","table":300},{"source":"192.0.2.0/24"}]}`,
			[]string{"100: from 192.0.2.1 to 10.0.0.0/8 lookup 100", "30002: from 192.0.2.0/24 lookup main", "30001: from 2001:db8::/64 lookup 300"},
		},
		{
			"mark, protocol, ports, suppress, invert",
			`{"rules":[{"fwmark":"0x1/0xff","family":"IPv4","table":100},{"fwmark":"0","family":"IPv6","table":100},{"invert":true,"fwmark":"51820","family":"IPv4","table":100},
				{"ipProto":"tcp","sourcePorts":"8000-8099","destinationPorts":"443","family":"IPv6","table":100},{"family":"IPv4","suppressPrefixLength":0},{"family":"IPv4","ipProto":"132","destinationPorts":"65534","table":100}]}`,
			[]string{
				"30000: from all fwmark 0x1/0xff lookup 100", "30002: not from all fwmark 0xca6c lookup 100", "30004: from all lookup main suppress_prefixlength 0",
				"30005: from all ipproto sctp dport 65534 lookup 100",
				"30001: from all fwmark 0 lookup 100", "30003: from all ipproto tcp sport 8000-8099 dport 443 lookup 100",
			},
		},
		{
			"interfaces, family from the table", `{"routes":[{"destination":"10.0.0.0/8","gateway":"192.0.2.9","table":100}],
				"rules":[{"iif":"net1","table":100},{"oif":"IFNAME","iif":"lo","table":100},{"source":"0.0.0.0/0","table":100}]}`,
			[]string{"30000: from all iif net1 lookup 100", "30001: from all iif lo oif net1 lookup 100", "30002: from all lookup 100"},
		},
		{
			"one in another", `{"rules":[{"priority":9,"table":100,"family":"IPv4"},{"priority":9,"table":100,"source":"192.0.2.0/24"},{"priority":9,"table":100,"source":"192.0.2.0/24","invert":true},{"priority":9,"table":100,"source":"192.0.2.0/24","fwmark":"1"}]}`,
			[]string{"9: from all lookup 100", "9: from 192.0.2.0/24 lookup 100", "9: not from 192.0.2.0/24 lookup 100", "9: from 192.0.2.0/24 fwmark 0x1 lookup 100"},
		},
		{
			"both families without routes", `{"rules":[{"priority":7,"fwmark":"7","table":4294967295}]}`,
			[]string{"7: from all fwmark 0x7 lookup 4294967295", "7: from all fwmark 0x7 lookup 4294967295"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, addressed, "")
			p := w.plan("h0", strings.Replace(tt.config, "{", `{"interface":{"name":"net1"},`, 1))
			p.ID = w.attach(p)[0].ID
			w.attach(p) // as the next process does
			if d := cmp.Diff(tt.want, w.rulesIn()); d != "" {
				t.Errorf("rules in the pod (-want +got):\n%s", d)
			}
			w.detach(p)
			w.asBefore()
			w.detach(p)
			w.asBefore()
		})
	}
}

// TestRulesOfTheHost checks which of the host's rules the pod gets, that none of them
// selects more than on the host, and that the host keeps them all.
func TestRulesOfTheHost(t *testing.T) {
	w := newWorld(t, addressed+`
		ip addr add 198.51.100.7/32 dev h0
		ip route add default via 192.0.2.9 dev h0 table 100
		ip -6 route add default via 2001:db8::9 dev h0 table 100
		ip route add default dev p0 table 200
		ip rule add from 192.0.2.1 lookup 100 priority 10
		ip rule add to 192.0.2.0/25 fwmark 0x5/0xf ipproto udp dport 53 lookup 100 priority 11
		ip -6 rule add iif h0 lookup 100 priority 12
		ip rule add from 198.51.100.7 lookup main suppress_prefixlength 0 priority 13
		ip rule add oif h0 tos 0x10 uidrange 5-9 lookup 100 priority 14
		ip rule add fwmark 0x1 lookup 100 priority 20
		ip rule add from 192.0.0.0/16 lookup 100 priority 21
		ip rule add not from 192.0.2.1 lookup 100 priority 22
		ip rule add from 192.0.2.1 iif p0 lookup 100 priority 23
		ip rule add from 192.0.2.1 lookup 200 priority 24
		ip -6 rule add lookup 100 priority 25
		ip rule add from 192.0.2.1 blackhole priority 30
		ip rule add fwmark 0x2 lookup 200 priority 31`, "")
	before := w.hostBefore
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	want := []string{
		"rule from all fwmark 0x1 lookup 100 priority 20: does not select only by the interface or its addresses in the pod",
		"rule from 192.0.0.0/16 lookup 100 priority 21: does not select only by the interface or its addresses in the pod",
		"rule not from 192.0.2.1/32 lookup 100 priority 22: does not select only by the interface or its addresses in the pod",
		"rule from 192.0.2.1/32 iif p0 lookup 100 priority 23: selects by another interface",
		"rule from 192.0.2.1/32 lookup 200 priority 24: the interface has no route in its table in the pod",
		"rule from all lookup 100 priority 25: does not select only by the interface or its addresses in the pod",
	}
	if d := cmp.Diff(want, w.omitted); d != "" {
		t.Errorf("omitted (-want +got):\n%s", d)
	}
	a := w.attach(p)[0]
	p.ID = a.ID
	if len(a.Omitted) > 0 {
		t.Errorf("refused: %q", a.Omitted)
	}
	wantIn := []string{
		"10: from 192.0.2.1 lookup 100", "11: from all to 192.0.2.0/25 fwmark 0x5/0xf ipproto udp dport 53 lookup 100",
		"13: from 198.51.100.7 lookup main suppress_prefixlength 0", "14: from all tos 0x10 oif net1 uidrange 5-9 lookup 100", "12: from all iif net1 lookup 100",
	}
	if d := cmp.Diff(wantIn, w.rulesIn()); d != "" {
		t.Errorf("rules in the pod (-want +got):\n%s", d)
	}
	w.detach(p)
	w.Host.Same(before, "the host")
	w.asBefore()

	p = w.plan("h0", `{"interface":{"name":"net1"},"rules":[]}`)
	p.ID = w.attach(p)[0].ID
	if got := w.rulesIn(); len(got) > 0 {
		t.Errorf("rules in the pod with an empty list: got %q, want none", got)
	}
	w.detach(p)
	w.asBefore()
	p = w.plan("h0", `{"interface":{"name":"net1","addresses":["10.9.0.1/24"]}}`)
	p.ID = w.attach(p)[0].ID
	if got := w.rulesIn(); len(got) > 0 {
		t.Errorf("rules in the pod with other addresses: got %q, want none", got)
	}
	w.detach(p)
	w.asBefore()
}

// TestPodHasTheRule checks that a rule which the pod's network has is refused by name,
// stays there, and is not taken for ours.
func TestPodHasTheRule(t *testing.T) {
	w := newWorld(t, addressed, "ip rule add from 192.0.2.1 lookup 100 priority 50\nip rule add from 10.0.0.0/8 lookup 100 priority 51 proto 77")
	p := w.plan("h0", `{"interface":{"name":"net1"},"rules":[{"source":"192.0.2.1/32","table":100,"priority":50},{"source":"192.0.2.0/24","table":100}]}`)
	_, err := Attach(context.Background(), w.host, w.pod, []Plan{p})
	if err == nil || !strings.Contains(err.Error(), "add rule from 192.0.2.1/32 lookup 100 priority 50: the pod's network has this rule") {
		t.Errorf("Attach: got error %v", err)
	}
	w.asBefore()
}

// TestRuleWithoutRoutes checks that a rule whose table nothing fills is set and
// reported.
func TestRuleWithoutRoutes(t *testing.T) {
	w := newWorld(t, addressed, "")
	p := w.plan("h0", `{"interface":{"name":"net1"},"rules":[{"source":"192.0.2.1/32","table":100}]}`)
	want := []string{"rule from 192.0.2.1/32 lookup 100 priority 30000: is set, but the interface has no route in table 100"}
	if d := cmp.Diff(want, w.omitted); d != "" {
		t.Errorf("omitted (-want +got):\n%s", d)
	}
	w.attach(p)
	if got := w.rulesIn(); len(got) != 1 {
		t.Errorf("rules in the pod: got %q", got)
	}
}
