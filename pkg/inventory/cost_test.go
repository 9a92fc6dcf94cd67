package inventory

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// BenchmarkLinksAndScan measures all that the driver does for one scan of a node
// with 1,000 virtual links: of pods, whose peers are in other namespaces, or of
// links that can be offered.
func BenchmarkLinksAndScan(b *testing.B) {
	for name, add := range map[string]string{
		"veths of pods": "link add x%[1]d type veth peer name y%[1]d netns %[2]s\n",
		"ifbs":          "link add x%[1]d type ifb\n",
	} {
		b.Run(name, func(b *testing.B) {
			h, pod := nstest.New(b), nstest.New(b)
			var batch strings.Builder
			for i := range 1000 {
				fmt.Fprintf(&batch, add, i, pod.Path)
				fmt.Fprintf(&batch, "link set x%d up\n", i)
			}
			ip(b, h, batch.String())
			h.Do(func() {
				used := cpuTime(b)
				for b.Loop() {
					links, err := netdev.Links(context.Background())
					if err != nil {
						b.Fatal(err)
					}
					Scan(links, os.DirFS("/sys").(fs.ReadLinkFS), Options{})
				}
				b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			})
		})
	}
}

// BenchmarkScanOfHardware measures a scan of a machine with 2 physical and 64
// virtual functions, whose sysfs is files: those of /sys take longer to make and
// no longer to open.
func BenchmarkScanOfHardware(b *testing.B) {
	m, dir := telcoNode(), b.TempDir()
	for name, file := range m.sys {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			b.Fatal(err)
		}
		err := error(nil)
		if file.Mode&fs.ModeSymlink != 0 {
			err = os.Symlink(string(file.Data), at)
		} else {
			err = os.WriteFile(at, file.Data, 0o644)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	sys, used := os.DirFS(dir).(fs.ReadLinkFS), cpuTime(b)
	for b.Loop() {
		Scan(m.links, sys, m.opts)
	}
	b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}
