package inventory

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestStormCost checks that a link which changes as fast as possible costs a scan
// about once a second, and no CPU time for each change.
func TestStormCost(t *testing.T) {
	const lasts = 5 * time.Second
	for _, tt := range []struct {
		links int
		most  time.Duration // of CPU time
	}{
		{16, lasts / 33},
		{1000, lasts / 10},
	} {
		t.Run(fmt.Sprintf("%d links", tt.links), func(t *testing.T) {
			h := nstest.New(t)
			var batch strings.Builder
			for i := range tt.links {
				fmt.Fprintf(&batch, "link add x%d type ifb\n", i)
			}
			ip(t, h, batch.String())
			storm := exec.Command("nsenter", "--net="+h.Path, "--", "sh", "-c", `yes 'link set x0 mtu 1400
link set x0 mtu 1500' | ip -batch -`)
			storm.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := storm.Start(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), lasts)
			defer cancel()
			watch := func(ctx context.Context) (changed <-chan struct{}, err error) {
				h.Do(func() { changed, err = netdev.Watch(ctx) })
				return changed, err
			}
			scans, used := 0, cpuTime(t)
			h.Do(func() {
				Run(ctx, RunConfig{Links: netdev.Links, Watch: watch, Sys: os.DirFS("/sys").(fs.ReadLinkFS),
					Options: func() Options { scans++; return Options{} },
					OnError: func(err error) { t.Log(err) },
				}, func([]Device) {})
			})
			used = cpuTime(t) - used
			syscall.Kill(-storm.Process.Pid, syscall.SIGKILL)
			storm.Wait()
			t.Logf("%d scans in %v of storm with %d links: %v of CPU time", scans, lasts, tt.links, used)
			if used > tt.most || scans < 2 {
				t.Errorf("%d scans took %v of CPU time in %v, want at least 2 and at most %v", scans, used, lasts, tt.most)
			}
		})
	}
}

// ip runs ip(8)'s commands in a namespace.
func ip(t testing.TB, n *nstest.NS, commands string) {
	t.Helper()
	c := exec.Command("nsenter", "--net="+n.Path, "--", "ip", "-batch", "-")
	c.Stdin = strings.NewReader(commands)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("ip -batch: %v\n%s", err, out)
	}
}

// cpuTime is what this process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
