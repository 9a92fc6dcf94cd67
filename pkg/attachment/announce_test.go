package attachment

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestAnnounce checks that an attach announces the addresses of a link: at once, or
// once it has a carrier.
func TestAnnounce(t *testing.T) {
	const own = "02:00:00:00:00:61"
	for _, tt := range []struct{ name, link, wire, before, after string }{
		{name: "at once", link: "g0", wire: "gw0"},
		{name: "once it has a carrier", link: "g1", wire: "gw1", before: "ip link set gw1 down", after: "ip link set gw1 up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newResumeWorld(t, 0)
			nstest.Host(t, "ip link add "+tt.link+" address "+own+" type veth peer name "+tt.wire+"\nip link set "+tt.wire+" up\nip link set "+tt.link+" up\n"+
				"ip addr add 10.20.1.1/24 dev "+tt.wire+"\nip addr add 10.20.1.5/24 dev "+tt.link)
			t.Cleanup(func() {
				w.engine.Detach(context.Background(), allocation.Sandbox{ID: resumeSandbox})
				w.eventually("the link is restored", func() bool { return len(w.store.InSandbox(resumeSandbox)) == 0 })
				nstest.Host(t, "ip link del "+tt.link)
			})
			host, err := netdev.Open("")
			must(t, err)
			defer host.Close()
			r := w.record(tt.link)
			r.Device.Link, err = host.LinkByName(tt.link)
			must(t, err)
			r.Config.Interface.Name = "net1"
			must(t, w.store.Put(r))
			known := func() string {
				out, _ := exec.Command("ip", "neigh", "show", "10.20.1.5", "dev", tt.wire).CombinedOutput()
				return string(out)
			}
			// The move takes the carrier from the wire's end, which forgets its neighbors.
			nstest.Host(t, "sysctl -qw net.ipv4.conf."+tt.wire+".arp_accept=1\n"+tt.before)
			s := allocation.Sandbox{ID: resumeSandbox, PodUID: "uid-web", NetNS: w.pod.Path}
			must(t, w.engine.Attach(t.Context(), s))
			must(t, w.engine.Await(t.Context(), s))
			if tt.after != "" {
				nstest.Host(t, tt.after)
			}
			w.eventually("its neighbor knows the address", func() bool { return strings.Contains(known(), own) })
		})
	}
}
