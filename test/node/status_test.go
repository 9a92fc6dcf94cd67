package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestStatusFits checks that the real API server takes the status of interfaces
// with what it would refuse: an IPv4-mapped address, and more routes of several
// next hops than data can hold.
func TestStatusFits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.host.Run("ip -6 addr add ::ffff:10.0.0.1/120 dev h1 nodad")
	const routes = 40
	var hops string
	for i := range 16 {
		hops += fmt.Sprintf(" nexthop via 192.0.2.%d dev h0 weight %d", 100+i, 100+i)
	}
	for i := range routes {
		w.host.Run(fmt.Sprintf("ip route add 10.9.%d.0/24%s", i, hops))
	}
	w.before = w.host.Settled()
	p := w.pod("web", "mapped", "many")
	mapped := w.claim("mapped", "h1", "net1", p)
	many := w.allocateWith(w.newClaim("many"), []result{{driverName, w.node, "h0"}},
		fmt.Sprintf(`{"apiVersion":%q,"interface":{"addresses":["203.0.113.1/24"],"name":"net0"},"kind":%q}`, v1alpha1.GroupVersion, v1alpha1.ConfigKind), p)
	w.must(w.prepare(p))
	s := w.sandbox(p, "s1")
	w.must(w.run(s))
	w.must(w.create(s))
	if got := w.says(mapped, "True", "Attached").network.IPs; !slices.Equal(got, []string{"198.51.100.1/24"}) {
		t.Errorf("networkData.ips is %q, want the address that is not mapped", got)
	}
	if out := s.ns.Run("ip -6 addr show dev net1"); !strings.Contains(out, "::ffff:10.0.0.1/120") {
		t.Errorf("the pod does not have the mapped address:\n%s", out)
	}
	left := w.says(many, "True", "Attached").data.Omitted
	if len(left) != 33 || !strings.HasSuffix(left[31], "…") || !strings.HasPrefix(left[32], "and ") {
		t.Errorf("data.omitted has %d entries: %q, want 32, cut, and how many more", len(left), left)
	}
	w.finish(p, s)
	w.says(mapped, "False", "Detached")
	w.says(many, "False", "Detached")
}
