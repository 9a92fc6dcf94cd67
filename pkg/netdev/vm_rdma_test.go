//go:build vm

package netdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// rdmaWorld makes a host, which is the VM's own namespace, with a NIC h0 that
// has the RDMA device rxe0. The mode can be set while there is no other namespace.
func rdmaWorld(t *testing.T, mode string) (w *world, before string) {
	t.Helper()
	name, _ := vmNIC(t, "e1000e", 0)
	w = &world{t: t, Host: &nstest.NS{Path: "/proc/1/ns/net"}, rdma: "rxe0"}
	setMode := func(mode string) {
		var out string
		var err error
		for end := time.Now().Add(settleVM); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if out, err = w.Host.Try("rdma system set netns " + mode); err == nil {
				return
			}
		}
		t.Fatalf("set RDMA mode %s: %v: %s", mode, err, out)
	}
	t.Cleanup(func() { setMode("shared") }) // once the pod is gone
	t.Cleanup(func() {
		lines(t, w.Host, "ip netns delete home\nrdma link delete rxe0\nip link set h0 down\nip address flush dev h0\nip link set h0 name "+name)
	})
	setMode(mode)
	lines(t, w.Host, "ip link set "+name+" down\nip link set "+name+" name h0\nip address add 10.0.0.1/24 dev h0\nip link set h0 up\nrdma link add rxe0 type rxe netdev h0")
	lines(t, w.Host, "ip netns attach home 1")
	w.Pod = nstest.New(t)
	lines(t, w.Pod, "ip link set lo up")
	w.host, w.pod = open(t, w.Host.Path), open(t, w.Pod.Path)
	if exclusive, err := w.host.RDMAExclusive(); err != nil || exclusive != (mode == "exclusive") {
		t.Errorf("RDMAExclusive: got %t, %v in mode %s", exclusive, err, mode)
	}
	before = w.settledRDMA()
	t.Logf("before:\n%s", before)
	return w, before
}

// showRDMA returns all that is shown of RDMA devices and of h0 on the host, and of
// RDMA devices in the pod.
func (w *world) showRDMA() string {
	w.t.Helper()
	var all strings.Builder
	show := func(n *nstest.NS, commands ...string) {
		for _, c := range commands {
			out, err := n.Try(c)
			fmt.Fprintf(&all, "# %s %v\n%s\n", c, err, out)
		}
	}
	show(w.Host, "rdma -d dev", "rdma -d link", "ip -d address show dev h0", "ls /dev/infiniband /sys/class/infiniband")
	if w.Pod != nil {
		show(w.Pod, "rdma -d dev", "rdma -d link")
	}
	return all.String()
}

func (w *world) settledRDMA() string {
	w.t.Helper()
	last := w.showRDMA()
	for end := time.Now().Add(settleVM); time.Now().Before(end); {
		time.Sleep(time.Second)
		now := w.showRDMA()
		if now == last && strings.Contains(now, "state ACTIVE") { // a NIC takes seconds to have a carrier
			break
		}
		last = now
	}
	return last
}

func (w *world) sameRDMA(want string) {
	w.t.Helper()
	var got string
	for end := time.Now().Add(settleVM); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if got = w.showRDMA(); got == want {
			return
		}
	}
	w.t.Errorf("RDMA is not as before (-before +now):\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
}

// attachRDMA attaches h0 and checks that its RDMA device is in the pod, and
// nowhere else.
func (w *world) attachRDMA() Plan {
	w.t.Helper()
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	a := w.attach(p)[0]
	p.ID, p.Original.Queues = a.ID, a.Queues
	w.t.Cleanup(func() {
		if pod := w.pod; w.t.Failed() { // the next test needs the NIC
			if w.Pod == nil {
				pod = nil
			}
			Detach(context.Background(), w.host, pod, []Plan{p})
		}
	})
	in, err := w.Pod.Try("rdma link")
	if err != nil || !strings.Contains(in, "rxe0/1") || !strings.Contains(in, "netdev net1") {
		w.t.Errorf("rdma link in the pod: %v, %s", err, in)
	}
	if out, err := w.Host.Try("rdma dev show rxe0"); err == nil {
		w.t.Errorf("the host has it too: %s", out)
	}
	got := a.State.RDMA
	if got == nil || got.Name != "rxe0" || !got.Moves() || len(a.Omitted) > 0 {
		w.t.Fatalf("read back: got %+v, omitted %q", got, a.Omitted)
	}
	for _, counter := range []string{"sent_pkts", "rcvd_pkts", "duplicate_request"} { // rxe's
		if _, ok := got.Base[counter]; !ok {
			w.t.Errorf("counters: got %v, want %s", got.Base, counter)
		}
	}
	var names []string
	for _, n := range got.Nodes {
		names = append(names, n.Name)
		var st unix.Stat_t
		if err := unix.Stat("/dev/infiniband/"+n.Name, &st); err != nil || unix.Major(st.Rdev) != n.Major || unix.Minor(st.Rdev) != n.Minor {
			w.t.Errorf("%+v: it is %d:%d on the host, %v", n, unix.Major(st.Rdev), unix.Minor(st.Rdev), err)
		}
	}
	if diff := cmp.Diff([]string{"uverbs0", "issm0", "umad0", "rdma_cm"}, names); diff != "" {
		w.t.Errorf("nodes (-want +got):\n%s", diff)
	}
	return p
}

// TestVMRDMAMoves checks that in exclusive mode the RDMA device is where the NIC
// is, and is restored with it whatever the pod did.
func TestVMRDMAMoves(t *testing.T) {
	for name, inPod := range map[string]string{
		"untouched": "",
		"renamed":   "rdma dev set rxe0 name evil\nip link set net1 down\nip link set net1 name rxe0",
		"left":      "rdma dev set rxe0 netns home", // to the host, before the NIC
	} {
		t.Run(name, func(t *testing.T) {
			w, before := rdmaWorld(t, "exclusive")
			p := w.attachRDMA()
			lines(t, w.Pod, inPod)
			if result := w.detach(p)[0]; len(result.Unset) > 0 || result.Name != "h0" || result.Missing {
				t.Errorf("Detach: got %+v", result)
			}
			w.sameRDMA(before)
			if result := w.detach(p)[0]; len(result.Unset) > 0 {
				t.Errorf("Detach again: got %+v", result)
			}
			w.sameRDMA(before)
		})
	}
}

// TestVMRDMANameTaken checks that a device whose name another one got meanwhile
// is on the host, and gets its name as soon as that is free.
func TestVMRDMANameTaken(t *testing.T) {
	w, before := rdmaWorld(t, "exclusive")
	p := w.attachRDMA()
	other, _ := vmNIC(t, "e1000e", 0)
	lines(t, w.Pod, "rdma dev set rxe0 name evil")
	lines(t, w.Host, "rdma link add rxe1 type rxe netdev "+other+"\nrdma dev set rxe1 name rxe0")
	if _, err := Detach(context.Background(), w.host, w.pod, []Plan{p}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("Detach: got %v, want %v", err, unix.EEXIST)
	}
	lines(t, w.Host, "rdma link delete rxe0")
	if result := w.detach(p)[0]; len(result.Unset) > 0 || result.Name != "h0" {
		t.Errorf("Detach: got %+v", result)
	}
	w.sameRDMA(before)
}

// TestVMRDMAHidden checks that a link is not restored while its RDMA device is in
// a namespace of the pod's own, and is when that ends.
func TestVMRDMAHidden(t *testing.T) {
	w, before := rdmaWorld(t, "exclusive")
	p := w.attachRDMA()
	lines(t, w.Pod, "ip netns add hidden\nrdma dev set rxe0 netns hidden")
	if _, err := Detach(context.Background(), w.host, w.pod, []Plan{p}); !errors.Is(err, errRDMAAway) {
		t.Errorf("Detach: got %v, want %v", err, errRDMAAway)
	}
	lines(t, w.Pod, "ip netns delete hidden")
	w.untilDetached(p)
	w.sameRDMA(before)
}

// untilDetached detaches until there is no error.
func (w *world) untilDetached(p Plan) {
	w.t.Helper()
	var err error
	for end := time.Now().Add(settleVM); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var results []Result
		if results, err = Detach(context.Background(), w.host, nil, []Plan{p}); err == nil && !results[0].Missing {
			if len(results[0].Unset) > 0 || results[0].Name != "h0" {
				w.t.Errorf("Detach: got %+v", results[0])
			}
			return
		}
	}
	w.t.Errorf("Detach: got %v", err)
}

// TestVMRDMANamespaceDies checks that both are restored after the kernel has
// brought them back because the pod's namespace has ended.
func TestVMRDMANamespaceDies(t *testing.T) {
	w, _ := rdmaWorld(t, "exclusive")
	pod := w.Pod
	w.Pod = nil
	before := w.showRDMA() // of the host
	w.Pod = pod
	p := w.attachRDMA()
	lines(t, w.Pod, "rdma dev set rxe0 name evil")
	w.pod.Close()
	w.Pod.Close()
	w.Pod = nil
	w.untilDetached(p)
	w.sameRDMA(before)
}

// TestVMRDMACutOff checks that an attach that fails, or is killed, at any of its
// requests leaves both on the host.
func TestVMRDMACutOff(t *testing.T) {
	w, before := rdmaWorld(t, "exclusive")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	f := w.watch(nil)
	w.attach(p)
	w.unwatch()
	w.detach(p)
	t.Logf("%d requests", len(f.seen))
	for _, killed := range []bool{false, true} {
		for at := range f.seen {
			w.watch(func(n int) bool { return n == at || killed && n > at })
			_, err := Attach(context.Background(), w.host, w.pod, []Plan{p})
			w.unwatch()
			if killed || err == nil { // it survives the failure of some look-ups
				w.detach(p)
			}
			if strings.Contains(f.seen[at], "RDMA") && err == nil && !strings.Contains(f.seen[at], "counters") {
				t.Errorf("%s failed, and the attach did not", f.seen[at])
			}
			if out, err := w.Host.Try("rdma link show rxe0/1"); err != nil || !strings.Contains(out, "netdev h0") {
				t.Errorf("after %d requests, killed: %v: %v, %s", at, killed, err, out)
			}
		}
		w.sameRDMA(before)
	}
}

// TestVMRDMAShared checks that in shared mode the device stays for all, and that
// its link is the NIC again afterwards.
func TestVMRDMAShared(t *testing.T) {
	w, before := rdmaWorld(t, "shared")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	a := w.attach(p)[0]
	p.ID, p.Original.Queues = a.ID, a.Queues
	if got := a.State.RDMA; got == nil || got.Name != "rxe0" || got.Exclusive || len(a.Omitted) > 0 {
		t.Errorf("read back: got %+v, omitted %q", got, a.Omitted)
	}
	for _, n := range []*nstest.NS{w.Host, w.Pod} {
		if out, err := n.Try("rdma dev show rxe0"); err != nil {
			t.Errorf("rdma dev: %v, %s", err, out)
		}
	}
	if files, _ := filepath.Glob("/dev/infiniband/*"); len(files) == 0 {
		t.Error("the host has no character devices")
	}
	if result := w.detach(p)[0]; len(result.Unset) > 0 || result.Name != "h0" {
		t.Errorf("Detach: got %+v", result)
	}
	w.sameRDMA(before)
	if out, err := os.ReadFile("/sys/class/infiniband/rxe0/node_guid"); err != nil {
		t.Errorf("%v, %s", err, out)
	}
}

// TestVMRDMAInSoftware checks that an interface is refused while it has an RDMA
// device in software, which the move would delete.
func TestVMRDMAInSoftware(t *testing.T) {
	w := &world{t: t}
	host := &nstest.NS{Path: "/proc/1/ns/net"}
	lines(t, host, "ip link add s0 type dummy\nip link set s0 up\nrdma link add soft0 type rxe netdev s0")
	t.Cleanup(func() { lines(t, host, "rdma link delete soft0\nip link delete s0") })
	w.host = open(t, host.Path)
	l, err := w.host.conn.linkByName("s0")
	if err != nil {
		t.Fatal(err)
	}
	s, l, err := Read(context.Background(), w.host, Identify(l, "nd-test-s"))
	if err != nil {
		t.Fatal(err)
	}
	const refused = `interface.allowLoss: the host's RDMA device soft0 on s0 would not be restored: add "rdma" to accept that`
	if _, _, err := Desired(l, s, nic.Config{}); err == nil || err.Error() != refused {
		t.Errorf("got %v, want %s", err, refused)
	}
	_, omitted, err := Desired(l, s, nic.Config{Interface: nic.Interface{AllowLoss: []string{nic.LossRDMA}}})
	if err != nil || !slices.Contains(omitted, "RDMA device soft0 (is not restored on the host)") {
		t.Errorf("accepted: got %q, %v", omitted, err)
	}
}
