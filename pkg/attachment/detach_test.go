package attachment

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestNextPodAtOnce checks that a second pod on a claim gets the links though its
// sandbox begins as soon as Detach of the first pod's has returned: the runtime
// calls the one handler right after the other.
func TestNextPodAtOnce(t *testing.T) {
	w := newResumeWorld(t, 2)
	for _, r := range w.store.All() {
		r.Pods = append(r.Pods, allocation.Ref{Name: "next", UID: "uid-next"})
		must(t, w.store.Put(r))
	}
	last := allocation.Sandbox{}
	for i := range 30 {
		s := allocation.Sandbox{ID: fmt.Sprintf("s-%d", i), PodUID: []string{"uid-web", "uid-next"}[i%2], NetNS: w.pod.Path}
		w.engine.Detach(t.Context(), last)
		if err := w.engine.Attach(t.Context(), s); err != nil {
			t.Fatalf("sandbox %d: %v", i, err)
		}
		must(t, w.engine.Await(t.Context(), s))
		last = s
	}
	w.engine.Detach(t.Context(), last)
}

// TestRulesEnd checks that the rules, and the routes without an interface, that a pod
// got with a link are gone after the detach, though the namespace lives on, and that
// two links of a pod do not share a table.
func TestRulesEnd(t *testing.T) {
	w := newResumeWorld(t, 2)
	on := true
	for _, r := range w.store.All() {
		r.Config = nic.Config{
			Interface: nic.Interface{SourceRouting: &on},
			Rules:     []nic.Rule{{FwMark: "0x1", OIF: "IFNAME"}},
			Routes:    []nic.Route{{Destination: netip.MustParsePrefix("10.99.0.0/16"), Type: nic.Blackhole, Table: uint32(len(w.links)) + uint32(r.Device.Name[1])}},
		}
		must(t, w.store.Put(r))
	}
	s := allocation.Sandbox{ID: resumeSandbox, PodUID: "uid-web", NetNS: w.pod.Path}
	must(t, w.engine.Attach(t.Context(), s))
	w.attached()
	for command, want := range map[string]int{"ip rule": 4, "ip -6 rule": 2, "ip route show table all": 2} {
		if out := w.pod.Run(command); strings.Count(out, "proto 77") != want {
			t.Errorf("%s: want %d of ours in\n%s", command, want, out)
		}
	}
	tables := map[string]bool{}
	for i := range w.links {
		_, table, _ := strings.Cut(w.pod.Run(fmt.Sprintf("ip rule show from 10.12.%d.1", i)), "lookup ")
		tables[table] = true
	}
	if len(tables) != len(w.links) {
		t.Errorf("tables of the links: got %v, want %d", tables, len(w.links))
	}
} // over checks the rest
