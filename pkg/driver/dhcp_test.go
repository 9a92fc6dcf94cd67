package driver

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dra-netdev/dra-netdev/internal/dhcptest"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestDHCP checks what a claim's status and events show of a lease: what it is, that
// it is lost, and that the next instance got it again.
func TestDHCP(t *testing.T) {
	w := newWorld(t, "ip addr add 198.51.100.1/24 dev p0")
	s := dhcptest.Serve4(t, nil, "p0", "198.51.100.1", "198.51.100.50/24", 10*time.Second)
	s.Set(func(s *dhcptest.Server4) {
		s.Options = []dhcptest.Option{
			dhcptest.MTU(1400), dhcptest.DNS("198.51.100.53"), dhcptest.Search("a.example"), dhcptest.Routes("203.0.113.0/24 198.51.100.9", "203.0.114.0/24 192.0.2.9"),
		}
	})
	c := w.claim("c", "h0", `{"interface":{"name":"net1","dhcp":true}}`, "web")
	must(t, w.prepare(c))
	p := w.pod("web", "s1")
	must(t, w.run(p))
	must(t, w.create(p, c))
	want := []v1alpha1.LeaseStatus{{
		Address: "198.51.100.50/24", Server: "198.51.100.1", MTU: 1400, Routes: []string{"203.0.113.0/24 via 198.51.100.9"},
		DNSServers: []string{"198.51.100.53"}, SearchDomains: []string{"a.example"},
		Ignored: []string{"route to 203.0.114.0/24: its gateway 192.0.2.9 is not on the interface"},
	}}
	shown := func(reason string) func() bool {
		return func() bool {
			_, got, _, data, network := w.device(c)
			return got == reason && (reason != "Attached" || reflect.DeepEqual(data.Leases, want) && slices.Equal(network.IPs, []string{"198.51.100.50/24", "2001:db8::1/64"}))
		}
	}
	w.eventually("the claim's status shows the lease", shown("Attached"))

	w.stop()
	w.startInstance("new")
	s.Set(func(s *dhcptest.Server4) { s.Silent = true })
	w.eventually("the other instance asks", func() bool { return slices.Contains(s.Heard(), "REQUEST 198.51.100.50") })
	for end := time.Now().Add(15 * time.Second); !shown("LeaseLost")() && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	w.eventually("the claim's status shows that the lease is lost", shown("LeaseLost"))
	w.eventually("an event of the pod says so", func() bool {
		all, err := w.client.EventsV1().Events("default").List(w.ctx, metav1.ListOptions{})
		must(t, err)
		for _, e := range all.Items {
			if e.Reason == "LeaseLost" && e.Regarding.Name == "web" && strings.Contains(e.Note, "interface.dhcp") {
				return true
			}
		}
		return false
	})
	s.Set(func(s *dhcptest.Server4) { s.Silent = false })
	for end := time.Now().Add(15 * time.Second); !shown("Attached")() && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	w.eventually("the claim's status shows the next lease", shown("Attached"))
	if out := p.ns.Run("ip -4 addr show dev net1"); !strings.Contains(out, "198.51.100.50/24") || strings.Contains(out, "192.0.2.1/24") {
		t.Errorf("addresses in the pod: %s", out)
	}
	w.end(p)
	w.eventually("the lease is released", func() bool { return slices.Contains(s.Heard(), "RELEASE 198.51.100.50") })
	w.unprepare(c)
	w.restored()
}
