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

// TestReasonIncluded checks that an exception may depend on all that is known.
func TestReasonIncluded(t *testing.T) {
	tunnel := with(virtual(3, "tun0", "tun", 0), func(l *netdev.Link) { l.Speed = 10000 })
	for expression, want := range map[string]string{
		`device.attributes["dra-netdev.github.io"].speedMbps == 10000`:                                             "",
		`device.capacity["dra-netdev.github.io"].?bandwidth.orValue(quantity("0")).isGreaterThan(quantity("9G"))`:  "",
		`device.capacity["dra-netdev.github.io"].?bandwidth.orValue(quantity("0")).isGreaterThan(quantity("10G"))`: "it is a tunnel of kind tun",
	} {
		o := Options{Include: mustFilter(t, expression)}
		if got := o.Reason([]netdev.Link{loopback(), tunnel}, fstest.MapFS{}, 3); got != want {
			t.Errorf("%s: got %q, want %q", expression, got, want)
		}
	}
}
