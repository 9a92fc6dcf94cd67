package driver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecoveryByHand runs the commands of docs/operations.md on a link that a
// pod had when its driver went away, and has changed since.
func TestRecoveryByHand(t *testing.T) {
	t.Run("in the pod", func(t *testing.T) { recoverByHand(t, "ip link set evil up") })
	t.Run("on the host", func(t *testing.T) { recoverByHand(t, fmt.Sprintf("ip link set evil netns %d", os.Getpid())) })
}

func recoverByHand(t *testing.T, last string) {
	w := newWorld(t, "")
	w.host(`ip link set h0 alias storage mtu 1450
		ip link property add dev h0 altname enp1
		ip addr add 192.0.2.2/24 brd 192.0.2.255 dev h0 label h0:1
		ip addr add 198.51.100.1 peer 198.51.100.9/32 dev h0
		ip addr add 203.0.113.1/24 dev h0 noprefixroute
		ip route add 203.0.113.0/24 dev h0 proto kernel scope link src 203.0.113.1 metric 100
		ip route add 203.0.113.0/24 dev h0 table 100 metric 7
		ip route add 2001:db8:9::/64 via 2001:db8::9 dev h0
		ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev h0 nud permanent`)
	defer w.host("ip route flush table 100")
	w.before = w.snapshot()
	all := func() string {
		out, err := exec.Command("sh", "-c", "ip -details link show dev h0 | tail -n +2; ip neigh show dev h0 nud permanent").CombinedOutput()
		must(t, err)
		return string(out)
	}
	linkBefore := all()
	c, p := w.running("h0")
	w.stop()
	for _, command := range []string{
		"ip link set net1 down", "ip link set net1 name evil", "ip link property add dev evil altname theirs",
		"ip addr flush dev evil", "ip link set evil mtu 1300 alias theirs address 02:00:00:00:00:66", last,
	} {
		p.ns.Run(command)
	}
	w.forget(p)
	w.recover(string(c.UID), "h0")
	w.restored()
	if now := all(); now != linkBefore {
		t.Errorf("before:\n%s\nnow:\n%s", linkBefore, now)
	}
	for _, dir := range []string{"state/allocations", "cdi"} {
		if left, _ := filepath.Glob(filepath.Join(w.dir, dir, "*.json")); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	}
	w.startDriver() // to which nothing is left to do
	must(t, w.prepare(c))
	w.unprepare(c)
	w.restored()
}

// recover runs the documented commands for a device.
func (w *world) recover(claimUID, device string) {
	w.t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	must(w.t, err)
	_, rest, found := strings.Cut(string(page), "<!-- recovery")
	_, rest, _ = strings.Cut(rest, "```sh\n")
	script, _, end := strings.Cut(rest, "```\n<!-- recovery end -->")
	if !found || !end {
		w.t.Fatal("docs/operations.md has no commands for a recovery")
	}
	script = strings.NewReplacer("/run/dra-netdev", w.dir+"/state", "/var/run/cdi", w.dir+"/cdi", "CLAIMUID", claimUID, "DEVICE", device).Replace(script)
	if out, err := exec.Command("sh", "-c", "set -e\n"+script).CombinedOutput(); err != nil || len(out) > 0 {
		w.t.Fatalf("the documented commands: %v\n%s", err, out)
	}
}
