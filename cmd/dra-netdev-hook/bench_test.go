package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

var (
	benchN    = flag.Int("bench.n", 60, "runs of each way")
	benchRunc = flag.String("bench.runc", "", "path of runc, to measure whole containers too")
)

// way is something that is timed.
type way struct {
	name string
	run  func() error
}

// BenchmarkHook measures what the hook costs a container: the program alone,
// beside a program that does nothing, and a container of runc's from its
// start to its end, with and without the hook. The order is drawn anew for
// each round, so that the machine's moods fall on all ways alike.
func BenchmarkHook(b *testing.B) {
	hook := filepath.Join(b.TempDir(), "dra-netdev-hook")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", hook, ".").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	pod, host := nstest.New(b), nstest.New(b)
	store, all := storeOf(b), []string{}
	for i := range 8 {
		_, move := attaching(b, host, pod, fmt.Sprintf("h%d", i))
		r := move()
		put(b, store, r)
		all = append(all, "--record", store.Path(r.Key()))
	}
	record := all[1]
	state, err := io.ReadAll(container(b, pod))
	if err != nil {
		b.Fatal(err)
	}
	ways := []way{
		{"nothing", program(nil, "/bin/true")},
		{"hook --version", program(nil, hook, "--version")},
		{"hook", program(state, hook, "--record", record)},
		{"hook, 8 interfaces", program(state, hook, all...)},
	}
	if *benchRunc != "" {
		args := []string{filepath.Base(hook), "--record", record}
		ways = append(ways, way{"container", runc(b, pod, nil)}, way{"container and hook", runc(b, pod, []any{map[string]any{"path": hook, "args": args}})})
	}
	times := map[string][]float64{}
	for range *benchN {
		for _, i := range rand.Perm(len(ways)) {
			start := time.Now()
			if err := ways[i].run(); err != nil {
				b.Fatalf("%s: %v", ways[i].name, err)
			}
			times[ways[i].name] = append(times[ways[i].name], float64(time.Since(start).Microseconds())/1000)
		}
	}
	fmt.Printf("\n%-20s %5s %9s %9s\n", "way", "n", "p50 ms", "p95 ms")
	for _, w := range ways {
		ms := slices.Sorted(slices.Values(times[w.name]))
		fmt.Printf("%-20s %5d %9.2f %9.2f\n", w.name, len(ms), ms[len(ms)/2], ms[len(ms)*95/100])
	}
}

// program returns how to run a program to its end.
func program(stdin []byte, name string, args ...string) func() error {
	return func() error {
		c := exec.Command(name, args...)
		c.Stdin = bytes.NewReader(stdin)
		out, err := c.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
}

// runc returns how to run a container that does nothing, in the pod's network
// namespace, with these createRuntime hooks.
func runc(b *testing.B, pod *nstest.NS, hooks []any) func() error {
	b.Helper()
	bundle := b.TempDir()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		b.Skip("needs busybox, for a container's only program")
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		b.Fatal(err)
	}
	for _, dir := range []string{"rootfs/bin", "rootfs/proc", "rootfs/dev"} {
		if err := os.MkdirAll(filepath.Join(bundle, dir), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	spec, err := json.Marshal(map[string]any{
		"ociVersion": "1.2.0", "root": map[string]any{"path": "rootfs"},
		"process": map[string]any{"args": []string{"/bin/busybox", "true"}, "cwd": "/", "user": map[string]any{"uid": 0, "gid": 0}},
		"mounts":  []any{map[string]any{"destination": "/proc", "type": "proc", "source": "proc"}, map[string]any{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}},
		"linux": map[string]any{"namespaces": []any{
			map[string]any{"type": "pid"}, map[string]any{"type": "ipc"}, map[string]any{"type": "uts"}, map[string]any{"type": "mount"},
			map[string]any{"type": "network", "path": pod.Path},
		}},
		"hooks": map[string]any{"createRuntime": hooks},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "rootfs/bin/busybox"), text, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), spec, 0o644); err != nil {
		b.Fatal(err)
	}
	root, id := b.TempDir(), "dra-netdev-"+strings.ToLower(filepath.Base(bundle))+fmt.Sprint(os.Getpid())
	return program(nil, *benchRunc, "--root", root, "run", "--bundle", bundle, id)
}
