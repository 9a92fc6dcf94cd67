package attachment

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestMain runs the tests in namespaces of their own: the engine takes the
// process's network namespace for the host's.
func TestMain(m *testing.M) {
	if os.Getenv(chaosDir) != "" {
		if err := beVictim(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	nstest.Main(m)
}

const (
	soon = 10 * time.Second

	chaosDir = "DRA_NETDEV_TEST_CHAOS" // the state directory, set in the process that is to be killed
	chaosPod = "DRA_NETDEV_TEST_POD"   // path of the pod's namespace
)

var chaosCycles = flag.Int("chaos.cycles", 60, "how often TestChaos kills the driver")

var chaosLinks = []string{"h0", "h1", "h2"}

// TestChaos kills a process that attaches and detaches three links at random
// moments, lets a new one finish what the last one left, and compares the
// host, the pod, the records and the pins with before. Every fourth time two
// processes are at work, as during an upgrade, and both are killed.
func TestChaos(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: moves links between network namespaces")
	}
	w := &chaosWorld{t: t, dir: t.TempDir()}
	nstest.Host(t, `ip link set lo up
		ip link add h0 mtu 9000 type veth peer name p0
		ip link set p0 up
		ip link set h0 up alias storage
		ip link property add dev h0 altname enp1
		ip addr add 192.0.2.1/24 dev h0 label h0:1
		ip addr add 192.0.2.2/24 dev h0
		ip addr add 2001:db8::1/64 dev h0 nodad
		ip addr add 2001:db8::2/64 dev h0 nodad
		ip route add 10.1.0.0/16 via 192.0.2.9 src 192.0.2.2 metric 7
		ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev h0 nud permanent
		ip link add h1 type ifb
		ip link set h1 up
		ip addr add 10.11.0.1/24 dev h1
		ip link add h2 type ifb`)
	t.Cleanup(func() { nstest.Host(t, "ip link del p0\nip link del h1\nip link del h2") })
	pod := nstest.New(t)
	pod.Run("ip link set lo up")
	w.eventually("the kernel has made the routes of h0's addresses", func() bool { return strings.Contains(w.whole(), "local 2001:db8::2 table local") })
	hostBefore, podBefore := w.whole(), pod.Snapshot()
	kills, interrupted := 0, 0
	for n := range *chaosCycles {
		victims := []*exec.Cmd{w.atWork(pod)}
		if n%4 == 3 {
			victims = append(victims, w.atWork(pod))
		}
		for _, c := range victims {
			time.Sleep(time.Duration(rand.IntN(130_000/len(victims))) * time.Microsecond)
			must(t, c.Process.Kill())
			if err := c.Wait(); err == nil || err.Error() != "signal: killed" {
				t.Fatalf("kill %d: the process ended by itself: %v\n%s", kills, err, c.Stderr)
			}
			kills++
		}
		if w.whole() != hostBefore {
			interrupted++
		}
		if n%10 != 9 && n != *chaosCycles-1 {
			continue
		}
		if c := w.victim(pod, "recover"); c.Run() != nil {
			t.Fatalf("after %d kills: recovery: %v\n%s", kills, c.ProcessState, c.Stderr)
		}
		w.same(hostBefore, w.whole, "the host")
		w.same(podBefore, pod.Snapshot, "the pod")
		for _, dir := range []string{"netns", "allocations"} {
			if left, _ := os.ReadDir(filepath.Join(w.dir, dir)); len(left) > 0 {
				t.Errorf("left in %s: %v", dir, left)
			}
		}
		if t.Failed() {
			t.Fatalf("after %d kills", kills)
		}
	}
	t.Logf("%d cycles, %d kills, %d cycles ended with links out: 0 links lost, 0 addresses lost, 0 pins, guards or records left", *chaosCycles, kills, interrupted)
	if *chaosCycles >= 30 && interrupted == 0 {
		t.Error("no kill met a link on its way: the test tests nothing")
	}
}

// chaosWorld is a host with three links, and the state directory of those that
// move them.
type chaosWorld struct {
	t   *testing.T
	dir string
}

func (w *chaosWorld) eventually(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	w.t.Fatalf("not within %v: %s", soon, what)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// whole is everything of the host, but for the index of links that the kernel
// could not keep, which is not there to be lost.
func (w *chaosWorld) whole() string {
	var out strings.Builder
	for _, link := range append([]string{"lo"}, chaosLinks...) {
		out.WriteString(showLink(link))
	}
	return out.String()
}

// showLink is everything of one link of the host.
func showLink(link string) string {
	var out strings.Builder
	text, _ := exec.Command("sh", "-c", fmt.Sprintf("ip -d addr show dev %[1]s; ip route show table all dev %[1]s; ip -6 route show table all dev %[1]s; ip neigh show dev %[1]s nud permanent", link)).CombinedOutput()
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "fe80") && !strings.Contains(line, "ff00::") && !strings.Contains(line, "_lft") {
			out.WriteString(strings.ReplaceAll(strings.TrimRight(line, " \n"), " tentative", "") + "\n")
		}
	}
	return out.String()
}

// same fails the test unless now becomes as before.
func (w *chaosWorld) same(before string, now func() string, what string) {
	w.t.Helper()
	var got string
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got = now(); got == before {
			return
		}
	}
	w.t.Errorf("%s is not as before:\n%s\nnow:\n%s", what, before, got)
}

// atWork starts a victim, and returns when it has recovered and is at work.
func (w *chaosWorld) atWork(pod *nstest.NS) *exec.Cmd {
	w.t.Helper()
	c := w.victim(pod, "run")
	out, err := c.StdoutPipe()
	must(w.t, err)
	must(w.t, c.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		w.t.Fatalf("the process ended by itself: %v %s", err, line)
	}
	go io.Copy(io.Discard, out) // ends with the process
	return c
}

// victim is an engine's work in a process of its own.
func (w *chaosWorld) victim(pod *nstest.NS, what string) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), chaosDir+"="+w.dir, chaosPod+"="+pod.Path, "CHAOS="+what)
	c.Stderr = new(bytes.Buffer)
	return c
}

// beVictim attaches and detaches until it is killed, or attaches once, or
// restores everything and releases it.
func beVictim() error {
	ctx, dir := context.Background(), os.Getenv(chaosDir)
	store, _, err := allocation.Open(ctx, filepath.Join(dir, "allocations"), "boot")
	if err != nil {
		return err
	}
	e := New(Config{
		Store: store, StateDir: dir, Sys: os.DirFS("/sys").(fs.ReadLinkFS), AttachTimeout: 30 * time.Second,
		Options: func() inventory.Options { return inventory.Options{} }, Changed: func(Change) {},
	})
	if err := e.Reconcile(ctx); err != nil {
		return err
	}
	switch os.Getenv("CHAOS") {
	case "attach", "close":
		return attachOnce(ctx, e)
	case "recover":
		if err := e.Release(ctx, "uid-c"); err != nil {
			return err
		}
		return e.Reconcile(ctx)
	}
	fmt.Println("ready")
	for n := 0; ; n++ {
		s := allocation.Sandbox{ID: fmt.Sprintf("s-%d-%d", os.Getpid(), n), PodUID: "uid-web", NetNS: os.Getenv(chaosPod)}
		if err := liveOnce(ctx, e, s); err != nil {
			return err
		}
	}
}

// liveOnce is the life of a pod: its claim is prepared, its links come and go.
// Another process may take its turn between any two of these, and take the links
// to its own sandbox: only what could not be restored is an error.
func liveOnce(ctx context.Context, e *Engine, s allocation.Sandbox) error {
	if err := prepareChaos(ctx, e); err != nil {
		return err
	}
	if err := e.Attach(ctx, s); err != nil && !errors.Is(err, errSandboxEnded) {
		return err
	}
	e.Await(ctx, s)
	e.Detach(ctx, s)
	for len(e.Store.InSandbox(s.ID)) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if slices.ContainsFunc(e.Store.InSandbox(s.ID), func(r allocation.Record) bool { return r.NotRestored() }) {
			e.Reconcile(ctx)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func prepareChaos(ctx context.Context, e *Engine) error {
	unlock, err := e.Store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for i, link := range chaosLinks {
		r := chaosRecord(i, link)
		if _, ok := e.Store.Get(r.Key()); ok {
			continue
		}
		if err := e.Store.Put(r); err != nil {
			return err
		}
	}
	return nil
}

func chaosRecord(i int, link string) allocation.Record {
	r := allocation.Record{
		Claim: allocation.Ref{Name: "c", UID: "uid-c"}, Pods: []allocation.Ref{{Name: "web", UID: "uid-web"}}, Pool: "n1",
		Device: inventory.Device{Name: link, Link: netdev.Link{Name: link, Kind: map[bool]string{true: "veth", false: "ifb"}[link == "h0"]}},
	}
	r.Config.Interface.Name = fmt.Sprintf("net%d", i)
	return r
}
