package node

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	costLinks = flag.String("costs.links", "16", "links that the node has beside the world's, as a list: 16,1000")
	costFor   = flag.Duration("costs.for", 3*time.Second, "for how long CPU time is measured")
)

// TestCosts measures what the driver costs a node. What is asserted is far from
// what is measured on a quiet machine, and fails for what grows with the number
// of events or of links that did not change.
func TestCosts(t *testing.T) {
	t.Parallel()
	for text := range strings.SplitSeq(*costLinks, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text+" links", func(t *testing.T) { costs(t, n) })
	}
}

func costs(t *testing.T, n int) {
	w := newWorld(t)
	var add, remove strings.Builder
	for i := range n {
		fmt.Fprintf(&add, "link add x%d type ifb\n", i)
		fmt.Fprintf(&remove, "link del x%d\n", i)
	}
	w.batch(add.String())
	defer func() { w.batch(remove.String()) }()
	w.eventually("all links are published", func() bool { return len(w.published()) == n+4 })
	time.Sleep(3 * time.Second) // what follows a change is over

	share := func(what string, most float64, during func()) {
		t.Helper()
		before, start := w.cpuTime(), time.Now()
		during()
		used, lasted := w.cpuTime()-before, time.Since(start)
		t.Logf("%d links, %s: %v of CPU time in %v", n, what, used, lasted.Round(time.Millisecond))
		if used.Seconds() > most*lasted.Seconds() {
			t.Errorf("%d links, %s: %v of CPU time in %v, want at most %.0f%%", n, what, used, lasted, 100*most)
		}
	}
	share("idle", 0.03, func() { time.Sleep(*costFor) })
	share("200 changes a second", 0.1, func() { w.storm(*costFor, 5*time.Millisecond) })
	share("changes as fast as can be", 0.1, func() { w.storm(*costFor, 0) })
	time.Sleep(3 * time.Second)

	// A link that sorts first, which is not to move those behind it.
	before := w.slices()
	start := time.Now()
	w.batch("link add a0 type ifb\n")
	defer w.batch("link del a0\n")
	for !slices.Contains(w.published(), "a0") && time.Since(start) < soon {
		time.Sleep(2 * time.Millisecond)
	}
	t.Logf("%d links, one more: published after %v; resident memory %s", n, time.Since(start).Round(time.Millisecond), w.resident())
	written := 0
	for name, s := range w.slices() {
		if before[name].ResourceVersion != s.ResourceVersion {
			written++
		}
	}
	if written != 1 || !slices.Contains(w.published(), "a0") {
		t.Errorf("a new link was written in %d slices of %d, want 1", written, len(before))
	}
}

// batch runs commands of ip(8) on the host.
func (w *world) batch(commands string) {
	w.t.Helper()
	c := exec.Command("nsenter", "--net="+w.host.Path, "--", "ip", "-batch", "-")
	c.Stdin = strings.NewReader(commands)
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Errorf("ip -batch: %v\n%s", err, out)
	}
}

// storm changes the MTU of link x0 again and again, with a pause between two
// changes.
func (w *world) storm(lasts, pause time.Duration) {
	w.t.Helper()
	c := exec.Command("nsenter", "--net="+w.host.Path, "--", "ip", "-batch", "-")
	in, err := c.StdinPipe()
	w.must(err)
	w.must(c.Start())
	changes, start := 0, time.Now()
	for ; time.Since(start) < lasts; changes++ {
		io.WriteString(in, fmt.Sprintf("link set x0 mtu %d\n", 1400+changes%100))
		time.Sleep(pause)
	}
	in.Close()
	w.check(c.Wait())
	w.t.Logf("%d changes in %v", changes, time.Since(start).Round(time.Millisecond))
}

// cpuTime is what the driver has used.
func (w *world) cpuTime() time.Duration {
	w.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.driver.Process.Pid))
	w.must(err)
	_, after, _ := strings.Cut(string(stat), ") ") // the name before may have blanks
	fields := strings.Fields(after)
	user, err := strconv.Atoi(fields[11]) // proc_pid_stat(5): in hundredths of a second
	w.must(err)
	system, err := strconv.Atoi(fields[12])
	w.must(err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is the memory that the driver has.
func (w *world) resident() string {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.driver.Process.Pid))
	w.must(err)
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(line)
}

// slices are the node's, by name.
func (w *world) slices() map[string]resourceapi.ResourceSlice {
	w.t.Helper()
	list, err := master.client.ResourceV1().ResourceSlices().List(w.ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + w.node})
	w.must(err)
	all := map[string]resourceapi.ResourceSlice{}
	for _, s := range list.Items {
		all[s.Name] = s
	}
	return all
}
