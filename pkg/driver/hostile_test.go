package driver

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// What a hostile pod makes in its namespace.
const (
	hostileLinks    = 1000
	hostileRoutes   = 5000
	hostileAltNames = 500 // of ours
	hostileUppers   = 100 // that stand on ours: each takes the kernel 20 ms to delete alone
)

// TestHostilePodEnds checks that the end of a pod which has filled its namespace
// takes none of the time in which another pod must get its links.
func TestHostilePodEnds(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb")
	hostile := w.pod("hostile", "s1")
	c1, c := w.claim("c1", "h1", `{"interface":{"name":"net1"}}`, "hostile"), w.claim("c", "h0", net1, "web")
	must(t, w.prepare(c1))
	must(t, w.prepare(c))
	must(t, w.run(hostile))
	var script strings.Builder
	for i := range hostileLinks {
		fmt.Fprintf(&script, "link add x%d type ifb\n", i)
	}
	fmt.Fprintf(&script, "link set net1 up\nlink set x0 up\naddr add 10.0.0.1/8 dev x0\naddr add 198.51.100.1/24 dev net1\n")
	for i := range hostileRoutes {
		fmt.Fprintf(&script, "route add 172.%d.%d.%d/32 via 198.51.100.9\n", 16+i>>16, i>>8&0xff, i&0xff)
	}
	for i := range hostileUppers {
		fmt.Fprintf(&script, "link add m%d link net1 type macvlan\n", i)
	}
	for i := range hostileAltNames {
		fmt.Fprintf(&script, "link property add dev net1 altname a%0120d\n", i)
	}
	fill := exec.Command("nsenter", "--net="+hostile.ns.Path, "--", "ip", "-force", "-batch", "-")
	fill.Stdin = strings.NewReader(script.String())
	out, _ := fill.CombinedOutput() // the kernel takes no more altnames of this length than fit into 64 KiB
	if text := hostile.ns.Run("ip -oneline link show"); strings.Count(text, "\n") < hostileLinks+hostileUppers || strings.Count(text, " altname ") < hostileAltNames/2 {
		t.Fatalf("the pod has %d links and %d altnames:\n%.500s", strings.Count(text, "\n"), strings.Count(text, " altname "), out)
	}
	ended := make(chan time.Duration)
	go func() {
		start := time.Now()
		w.end(hostile)
		ended <- time.Since(start)
	}()
	time.Sleep(10 * time.Millisecond) // it has the claim
	p := w.pod("web", "s2")
	start := time.Now()
	err := w.run(p)
	t.Logf("beside it the other pod took %v, and its own end %v", time.Since(start), <-ended)
	must(t, err)
	if !has(p, "net1") {
		t.Error("the other pod lacks its link")
	}
	w.end(p)
	w.restored()
	w.eventually("the hostile pod's link is restored", func() bool {
		out, err := exec.Command("ip", "link", "show", "h1").CombinedOutput()
		return err == nil && !strings.Contains(string(out), "dra-netdev-")
	})
	w.unprepare(c)
	w.unprepare(c1)
}
