package netdev

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAllSysctlsComeBack sets each IPv4 and IPv6 setting of a link that can be set
// to another value, and checks that the host has all of them after the pod.
func TestAllSysctlsComeBack(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	read := func() map[string]string {
		all := map[string]string{}
		w.Host.Do(func() {
			files, _ := filepath.Glob("/proc/sys/net/ipv?/conf/h0/*")
			for _, f := range files {
				b, _ := os.ReadFile(f)
				all[f] = strings.TrimSpace(string(b))
			}
		})
		return all
	}
	usual, changed := read(), 0
	w.Host.Do(func() {
		for f, v := range usual {
			n, err := strconv.Atoi(v)
			if name := filepath.Base(f); err != nil || name == "disable_ipv6" { // with which others end
				continue
			}
			if writeFile(f, strconv.Itoa(n+1)) == nil || writeFile(f, strconv.Itoa(n-1)) == nil {
				changed++
			}
		}
	})
	before := read()
	if changed < len(usual)*3/4 {
		t.Errorf("changed only %d of %d settings", changed, len(usual))
	}
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	if d := cmp.Diff(before, read()); d != "" {
		t.Errorf("settings on the host (-want +got):\n%s", d)
	}
	t.Logf("changed %d of %d settings", changed, len(usual))
}
