package driver

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	dto "github.com/prometheus/client_model/go"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// moves returns how many links the driver has attached and detached.
func moves(t *testing.T, d *Driver, direction string) int {
	t.Helper()
	var m dto.Metric
	must(t, d.metrics.operations.WithLabelValues(direction, "success").Write(&m))
	return int(m.GetCounter().GetValue())
}

// TestUpgrade checks that pods come and go all through an upgrade: a newer
// instance starts beside the older one, both get each hook, and one acts.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, "")
	c := w.claim("c", "h0", net1, "web")
	instances := []*Driver{w.driver}
	pods := 0
	cycle := func() {
		t.Helper()
		pods++
		p := w.pod("web", fmt.Sprintf("s%d", pods))
		must(t, w.run(p))
		must(t, w.create(p, c))
		if !has(p, "net1") {
			t.Fatalf("pod %d lacks its link", pods)
		}
		w.end(p)
		w.restored()
	}
	must(t, w.prepare(c)) // with the first one, unprepared by the last
	for generation := range 3 {
		cycle()
		stopOlder := w.stop
		w.startInstance(fmt.Sprintf("pod-%d", generation))
		instances = append(instances, w.driver)
		for range 3 {
			cycle() // with both
		}
		done := make(chan struct{})
		go func() { defer close(done); stopOlder() }()
		for range 5 {
			cycle() // while the older one ends
		}
		<-done
	}
	in, out := 0, 0
	for i, d := range instances {
		if moves(t, d, "attach") == 0 {
			t.Errorf("instance %d never acted", i)
		}
		in, out = in+moves(t, d, "attach"), out+moves(t, d, "detach")
	}
	if in != pods || out != pods {
		t.Errorf("%d pods took %d attaches and %d detaches, want one of each", pods, in, out)
	}
	w.unprepare(c)
	if all := w.driver.store.All(); len(all) != 0 {
		t.Errorf("the store still has %v", all)
	}
}

// TestUpgradeKeepsAttached checks that the newer instance serves what the older
// one prepared and attached, also when that was killed in the middle of it.
func TestUpgradeKeepsAttached(t *testing.T) {
	w := newWorld(t, "")
	c, p := w.running("h0")
	stopOlder := w.stop
	w.startInstance("pod-1")
	must(t, w.create(p, c))
	stopOlder()
	if !has(p, "net1") {
		t.Error("the link left its pod")
	}
	w.eventually("Ready in the claim", func() bool { ready, _, _, _, _ := w.device(c); return ready == "True" })
	w.end(p)
	w.restored()
	w.unprepare(c)
}

// TestSlowKernel checks that a hook which the kernel keeps waiting fails in
// time, so that the runtime neither starts the pod without its link nor drops
// the driver, and that the link is restored when the kernel answers.
func TestSlowKernel(t *testing.T) {
	w := newWorld(t, "")
	c := w.claim("c", "h0", net1, "web")
	must(t, w.prepare(c))
	p := w.pod("web", "s1")
	nstest.HoldRTNL(t, 4*time.Second)
	started := time.Now()
	err := w.runtime.RunPodSandbox(w.ctx, &api.RunPodSandboxRequest{Pod: p.PodSandbox})
	took := time.Since(started)
	refused(t, err, "cannot be moved in time")
	if took >= handlerTimeout {
		t.Errorf("the hook took %v: the runtime waits for %v", took, handlerTimeout)
	}
	w.end(p) // as the runtime does; the kernel is still busy
	w.restored()
	if !w.driver.runtime.connected.Load() {
		t.Error("the runtime dropped the driver")
	}
	next := w.pod("web", "s2")
	w.eventually("the pod's next sandbox gets the link", func() bool { return w.run(next) == nil })
	if !has(next, "net1") {
		t.Error("the pod lacks its link")
	}
	w.end(next)
	w.restored()
}

// TestDeadSockets checks that the sockets of killed instances are removed, and
// those of living and of just starting ones are not.
func TestDeadSockets(t *testing.T) {
	registry, data := t.TempDir(), t.TempDir()
	tests := []struct {
		path          string
		listened, old bool
		stays         bool
	}{
		{filepath.Join(registry, v1alpha1.DriverName+"-dead-reg.sock"), false, true, false},
		{filepath.Join(data, "dra-dead.sock"), false, true, false},
		{filepath.Join(registry, v1alpha1.DriverName+"-live-reg.sock"), true, true, true},
		{filepath.Join(data, "dra-starting.sock"), false, false, true},
		{filepath.Join(registry, "other.example.com-reg.sock"), false, true, true},
	}
	for _, tt := range tests {
		l, err := net.Listen("unix", tt.path)
		must(t, err)
		defer l.Close()
		if !tt.listened {
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			l.Close()
		}
		if tt.old {
			then := time.Now().Add(-2 * socketAge)
			must(t, os.Chtimes(tt.path, then, then))
		}
	}
	removeDeadSockets(t.Context(), registry, data)
	for _, tt := range tests {
		if _, err := os.Stat(tt.path); (err == nil) != tt.stays {
			t.Errorf("%s: %v, want it to stay: %v", filepath.Base(tt.path), err, tt.stays)
		}
	}
}
