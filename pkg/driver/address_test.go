package driver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestDuplicateAddress checks that a claim's status names an address that another
// node has, and that the interface is restored.
func TestDuplicateAddress(t *testing.T) {
	w := newWorld(t, "ip addr add 2001:db8:7::7/64 dev p0 nodad")
	c := w.claim("c", "h0", `{"interface":{"name":"net1","waitForDAD":true,"addresses":["2001:db8:7::7/64"]}}`, "web")
	must(t, w.prepare(c))
	p := w.pod("web", "s1")
	if err := w.run(p); err != nil { // without the interface it ends the sandbox
		t.Log(err)
	}
	w.eventually("the claim's status names the address", func() bool {
		_, reason, message, _, _ := w.device(c)
		return reason == "AttachFailed" && strings.Contains(message, `interface.addresses: "2001:db8:7::7/64": duplicate address detection has failed: another node has it`)
	})
	w.end(p)
	w.unprepare(c)
	w.restored()
}

// TestAdvertisedAddresses checks that the addresses from routers are in the claim's
// status.
func TestAdvertisedAddresses(t *testing.T) {
	r := allocation.Record{Attachment: &allocation.Attachment{InPod: &netdev.Attached{}}}
	r.Attachment.InPod.State.Advertised = []netip.Prefix{netip.MustParsePrefix("2001:db8::7/64")}
	if got := networkData(withLeases(r)).IPs; !slices.Equal(got, []string{"2001:db8::7/64"}) {
		t.Errorf("got %q", got)
	}
}
