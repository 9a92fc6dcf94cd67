package netdev

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

var (
	benchN   = flag.Int("bench.n", 60, "runs of each way")
	benchOut = flag.String("bench.out", "", "file for the results as JSON")
)

// way is one way of moving h0 into the pod as net1 with its four addresses, and
// back again.
type way struct {
	name         string
	attach, back func() error
}

// BenchmarkAttach measures the kernel's bare move and address batch, ours, and
// iproute2's, in one run and in a new random order for each round.
func BenchmarkAttach(b *testing.B) {
	host, pod := benchWorld(b)
	ways := []way{bareWay(b, host, pod), ourWay(host, pod), ipWay(b, host, pod)}
	times := map[string][]float64{}
	clock := func(name string, f func() error) {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		times[name] = append(times[name], float64(time.Since(start).Microseconds())/1000)
	}
	for range *benchN {
		for _, i := range rand.Perm(len(ways)) {
			clock("attach/"+ways[i].name, ways[i].attach)
			clock("detach/"+ways[i].name, ways[i].back)
		}
	}
	report(b, times)
}

func benchWorld(b *testing.B) (host, pod *NetNS) {
	h, p := nstest.New(b), nstest.New(b)
	h.Lines(`ip link set lo up
		ip link add h0 type veth peer name p0
		ip link set p0 up
		ip link set h0 up
		ip addr add 192.0.2.1/24 dev h0
		ip addr add 198.51.100.1/24 dev h0
		ip addr add 2001:db8::1/64 dev h0 nodad
		ip addr add 2001:db8:1::1/64 dev h0 nodad`)
	p.Run("ip link set lo up")
	for _, n := range []struct {
		ns *nstest.NS
		to **NetNS
	}{{h, &host}, {p, &pod}} {
		opened, err := Open(n.ns.Path)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { opened.Close() })
		*n.to = opened
	}
	return host, pod
}

// bareWay is the least that does the job: one message that moves, one batch that
// adds the addresses and sets the link up. It looks nothing up, checks nothing
// and could not recover from an error.
func bareWay(b *testing.B, host, pod *NetNS) way {
	l, err := host.conn.linkByName("h0")
	if err != nil {
		b.Fatal(err)
	}
	state, err := host.read(l, "", State{}, both)
	if err != nil {
		b.Fatal(err)
	}
	enter := func(from, to *NetNS, name string) func() error {
		return func() error {
			if _, err := from.conn.do(moveMessage(l.Index, to, l.Name, name)); err != nil {
				return err
			}
			var ms []message
			for _, a := range state.Addresses {
				ms = append(ms, a.message(l.Index, true))
			}
			_, err := to.conn.do(append(ms, setFlag(l.Index, false, true, unix.IFF_UP, "up")...)...)
			return err
		}
	}
	return way{"bare", enter(host, pod, "net1"), enter(pod, host, "h0")}
}

// ourWay is what the driver's hook does: read, decide, attach.
func ourWay(host, pod *NetNS) way {
	var p Plan
	ctx := context.Background()
	return way{
		"dra-netdev",
		func() (err error) {
			p.ID = Ident{Name: "h0", Kind: "veth", Tag: "nd-bench"}
			if p.Original, _, err = Read(ctx, host, p.ID); err != nil {
				return err
			}
			if p.Want, _, err = Desired(Link{}, p.Original, nic.Config{Interface: nic.Interface{Name: "net1"}}); err != nil {
				return err
			}
			done, err := Attach(ctx, host, pod, []Plan{p})
			if err == nil {
				p.ID = done[0].ID
			}
			return err
		},
		func() error {
			_, err := Detach(ctx, host, pod, []Plan{p})
			return err
		},
	}
}

// ipWay is ip(8): one process that moves and one batch in the pod.
func ipWay(b *testing.B, host, pod *NetNS) way {
	batch := b.TempDir() + "/batch"
	lines := func(name string) string {
		return strings.ReplaceAll("addr add 192.0.2.1/24 dev X\naddr add 198.51.100.1/24 dev X\naddr add 2001:db8::1/64 dev X nodad\naddr add 2001:db8:1::1/64 dev X nodad\nlink set X up\n", "X", name)
	}
	enter := func(from, to *NetNS, old, name string) func() error {
		return func() error {
			if err := os.WriteFile(batch, []byte(lines(name)), 0o600); err != nil {
				return err
			}
			if err := in(from, "ip", "link", "set", old, "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(to.handle)), "name", name); err != nil {
				return err
			}
			return in(to, "ip", "-batch", batch)
		}
	}
	return way{"iproute2", enter(host, pod, "h0", "net1"), enter(pod, host, "net1", "h0")}
}

// in runs a command in a namespace, without a process in between.
func in(n *NetNS, command ...string) (err error) {
	entered := n.Within(func() {
		out, failed := exec.Command(command[0], command[1:]...).CombinedOutput()
		if failed != nil {
			err = fmt.Errorf("%v: %w: %s", command, failed, out)
		}
	})
	return errors.Join(entered, err)
}

// result is one row of the results.
type result struct {
	Name string  `json:"name"`
	N    int     `json:"n"`
	P50  float64 `json:"p50ms"`
	P95  float64 `json:"p95ms"`
}

func report(b *testing.B, times map[string][]float64) {
	var rows []result
	for name, ms := range times {
		if name == "detach/iproute2" {
			continue // it adds what it knows instead of restoring what was
		}
		slices.Sort(ms)
		rows = append(rows, result{name, len(ms), ms[len(ms)/2], ms[len(ms)*95/100]})
	}
	slices.SortFunc(rows, func(a, b result) int { return strings.Compare(a.Name, b.Name) })
	fmt.Printf("\n%-20s %5s %9s %9s\n", "way", "n", "p50 ms", "p95 ms")
	for _, r := range rows {
		fmt.Printf("%-20s %5d %9.2f %9.2f\n", r.Name, r.N, r.P50, r.P95)
	}
	if *benchOut == "" {
		return
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		b.Fatal(err)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.MarshalIndent(map[string]any{
		"machine": fmt.Sprintf("Linux %s, %d CPUs", unix.ByteSliceToString(u.Release[:]), runtime.NumCPU()),
		"load":    strings.TrimSpace(string(load)), "results": rows,
	}, "", "  ")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(*benchOut, append(text, '\n'), 0o644); err != nil {
		b.Fatal(err)
	}
}
