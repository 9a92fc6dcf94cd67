package netdev

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAnnounce checks that a neighbor on the wire which knows the pod's addresses
// with another hardware address learns the right one, without a packet of its own.
func TestAnnounce(t *testing.T) {
	const stale, own = "02:de:ad:00:00:01", "02:00:00:00:00:41"
	w := newWorld(t, "ip link set h0 address "+own+" up\nip addr add 10.20.1.1/24 dev p0\nip addr add 2001:db8::1/64 dev p0 nodad\nip addr add 10.20.1.6/24 dev h0\n", "")
	p := w.plan("h0", `{"interface":{"name":"net1","addressPolicy":"Add","addresses":["10.20.1.5/24","2001:db8::5/64"]}}`)
	addresses := []string{"10.20.1.5", "10.20.1.6", "2001:db8::5"}
	known := func() (all string) {
		for _, a := range addresses {
			all += w.Host.Run("ip neigh show " + a + " dev p0")
		}
		return all
	}
	p.ID = w.attach(p)[0].ID
	for _, a := range addresses {
		w.Host.Run(fmt.Sprintf("ip neigh replace %s lladdr %s dev p0 nud reachable", a, stale))
	}
	w.Host.Run("ip link set p0 down")
	if sent, err := w.pod.Announce(p.ID.PodIndex); sent || err != nil {
		t.Errorf("without a carrier: got sent %t, %v", sent, err)
	}
	w.Host.Lines("ip link set p0 up\nip addr replace 2001:db8::1/64 dev p0 nodad")
	for _, a := range addresses {
		w.Host.Run(fmt.Sprintf("ip neigh replace %s lladdr %s dev p0 nud reachable", a, stale))
	}
	if got := known(); strings.Count(got, stale) != len(addresses) {
		t.Fatalf("before it is announced p0 knows:\n%s", got)
	}
	if sent, err := w.pod.Announce(p.ID.PodIndex); !sent || err != nil {
		t.Fatalf("got sent %t, %v", sent, err)
	}
	end := time.Now().Add(time.Second)
	for strings.Count(known(), own) != len(addresses) && time.Now().Before(end) {
		time.Sleep(10 * time.Millisecond)
	}
	if got := known(); strings.Count(got, own) != len(addresses) {
		t.Errorf("p0 knows:\n%s", got)
	}
	w.detach(p)
}
