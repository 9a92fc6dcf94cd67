package driver

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	chaosDir = "DRA_NETDEV_TEST_CHAOS" // the state directory, set in the process that is to be killed
	chaosPod = "DRA_NETDEV_TEST_POD"   // path of the pod's namespace
)

var chaosCycles = flag.Int("chaos.cycles", 60, "how often TestChaos kills the driver")

var chaosLinks = []string{"h0", "h1", "h2"}

// TestChaos kills a process that attaches and detaches three links at random
// moments, lets a new one bring home what the last one left, and compares the
// host, the pod, the book and the pins with before.
func TestChaos(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: moves links between network namespaces")
	}
	w := &world{t: t, dir: t.TempDir()}
	w.host(`ip link set lo up
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
	t.Cleanup(func() { w.host("ip link del p0\nip link del h1\nip link del h2") })
	pod := nstest.New(t)
	pod.Run("ip link set lo up")
	hostBefore, podBefore := w.whole(), pod.Snapshot()
	cycles, interrupted := 0, 0
	for n := range *chaosCycles {
		c := w.victim(pod, "run")
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		line, err := bufio.NewReader(out).ReadString('\n') // it has recovered and is at work
		if err != nil {
			t.Fatalf("kill %d: the process ended by itself: %v %s", n, err, line)
		}
		go io.Copy(io.Discard, out) // ends with the process
		time.Sleep(time.Duration(rand.IntN(130_000)) * time.Microsecond)
		must(t, c.Process.Kill())
		c.Wait()
		cycles++
		if w.whole() != hostBefore {
			interrupted++
		}
		if n%10 != 9 && n != *chaosCycles-1 {
			continue
		}
		if out, err := w.victim(pod, "recover").CombinedOutput(); err != nil {
			t.Fatalf("kill %d: recovery: %v\n%s", n, err, out)
		}
		w.same(hostBefore, w.whole, "the host")
		w.same(podBefore, pod.Snapshot, "the pod")
		for _, dir := range []string{"netns", "allocations"} {
			if left, _ := os.ReadDir(filepath.Join(w.dir, dir)); len(left) > 0 {
				t.Errorf("left in %s: %v", dir, left)
			}
		}
		if t.Failed() {
			t.Fatalf("after %d kills", n+1)
		}
	}
	t.Logf("%d kills, %d of them while links were out: 0 links lost, 0 addresses lost, 0 pins, guards or records left", cycles, interrupted)
	if *chaosCycles >= 30 && interrupted == 0 {
		t.Error("no kill met a link on its way: the test tests nothing")
	}
}

// whole is everything of the host, but for the index of links that the kernel
// could not keep, which is not there to be lost.
func (w *world) whole() string {
	var out strings.Builder
	for _, link := range append([]string{"lo"}, chaosLinks...) {
		text, _ := exec.Command("sh", "-c", fmt.Sprintf("ip -d addr show dev %[1]s; ip route show table all dev %[1]s; ip -6 route show table all dev %[1]s; ip neigh show dev %[1]s nud permanent", link)).CombinedOutput()
		for line := range strings.Lines(string(text)) {
			if !strings.Contains(line, "fe80") && !strings.Contains(line, "ff00::") && !strings.Contains(line, "_lft") {
				out.WriteString(strings.ReplaceAll(strings.TrimRight(line, " \n"), " tentative", "") + "\n")
			}
		}
	}
	return out.String()
}

// same fails the test unless now becomes as before.
func (w *world) same(before string, now func() string, what string) {
	w.t.Helper()
	var got string
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got = now(); got == before {
			return
		}
	}
	w.t.Errorf("%s is not as before:\n%s\nnow:\n%s", what, before, got)
}

// victim is the driver's work in a process of its own.
func (w *world) victim(pod *nstest.NS, what string) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), chaosDir+"="+w.dir, chaosPod+"="+pod.Path, "CHAOS="+what)
	c.Stderr = nil
	return c
}

// beVictim attaches and detaches until it is killed, or brings everything home
// and releases it.
func beVictim() error {
	klog.SetLogger(klog.Logger{})
	ctx := context.Background()
	nobody, err := kubernetes.NewForConfig(&rest.Config{Host: "127.0.0.1:1"}) // the fake one takes longer to make than all the rest
	if err != nil {
		return err
	}
	d, err := New(ctx, Config{NodeName: nodeName, Client: nobody, StateDir: os.Getenv(chaosDir)})
	if err != nil {
		return err
	}
	d.recover(ctx)
	if err := d.detach(ctx, d.book.All(), ""); err != nil {
		return err
	}
	if os.Getenv("CHAOS") == "recover" {
		for _, a := range d.book.All() {
			if err := d.book.Release(a); err != nil {
				return err
			}
		}
		d.dropPins(ctx)
		return nil
	}
	fmt.Println("ready")
	for n := 0; ; n++ {
		pod := &api.PodSandbox{
			Id: fmt.Sprintf("s-%d-%d", os.Getpid(), n), Uid: "uid-web", Name: "web",
			Linux: &api.LinuxPodSandbox{Namespaces: []*api.LinuxNamespace{{Type: "network", Path: os.Getenv(chaosPod)}}},
		}
		for i, link := range chaosLinks {
			a := allocation.Allocation{
				Claim: allocation.Ref{Name: "c", UID: "uid-c"}, Pods: []allocation.Ref{{Name: "web", UID: "uid-web"}}, Pool: nodeName,
				Device: inventory.Device{Name: link, Link: netdev.Link{Name: link}}, Config: v1alpha1.NetDeviceConfig{Interface: v1alpha1.Interface{Name: fmt.Sprintf("net%d", i)}},
				ID: netdev.Ident{Name: link, Kind: map[bool]string{true: "veth", false: "ifb"}[link == "h0"], Tag: tag("uid-c", link)},
			}
			if err := d.book.Put(a); err != nil {
				return err
			}
		}
		if err := d.attach(ctx, pod, d.book.All()); err != nil {
			return err
		}
		if err := d.detach(ctx, d.book.All(), ""); err != nil {
			return err
		}
	}
}
