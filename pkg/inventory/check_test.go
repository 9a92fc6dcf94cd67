package inventory

import (
	"testing"
	"testing/fstest"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestReason checks the reasons why a device that was offered cannot be moved now.
func TestReason(t *testing.T) {
	links := []netdev.Link{loopback(), with(link(2, "eth0"), uplink), link(3, "eth1")}
	const appeared = "it has just appeared on the host and was not checked"
	for _, filter := range []string{"", "false", "true"} { // it is ignored
		for index, want := range map[int]string{1: "it is a loopback", 2: defaultRoute, 3: "", 4: appeared} {
			o := Options{Filter: mustFilter(t, filter)}
			if got := o.Reason(links, fstest.MapFS{}, index); got != want {
				t.Errorf("filter %q, link %d: got %q, want %q", filter, index, got, want)
			}
		}
	}
}
