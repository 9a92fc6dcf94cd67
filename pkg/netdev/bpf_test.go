package netdev

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const progXDP, progTC = progTypeXDP, progTypeTC

// loadProgram loads a BPF program that does nothing but return 2, which lets
// an XDP hook pass a packet. It stays loaded until the test ends or drop is
// called.
func loadProgram(t *testing.T, kind uint32) (fd int, drop func()) {
	t.Helper()
	code := [...]uint64{0x00000002_0000_00_b7, 0x00000000_0000_00_95} // r0 = 2; exit
	license := [...]byte{'G', 'P', 'L', 0}
	a := struct {
		kind, count   uint32
		code, license unsafe.Pointer
		_             [8]uint64
	}{kind: kind, count: uint32(len(code)), code: unsafe.Pointer(&code), license: unsafe.Pointer(&license)}
	fd, err := -1, error(unix.EAGAIN)
	for errors.Is(err, unix.EAGAIN) { // a signal was pending for the thread, as Go's scheduler sends them: the kernel's verifier gives up
		fd, err = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&a), unsafe.Sizeof(a))
	}
	if err != nil {
		t.Fatalf("load BPF program: %v", err)
	}
	open := true
	drop = func() {
		if open {
			unix.Close(fd)
		}
		open = false
	}
	t.Cleanup(drop)
	return fd, drop
}

// inNS makes a bpf(2) call in the namespace.
func inNS(t *testing.T, n *NetNS, command int, a [8]uint32) int {
	t.Helper()
	var fd int
	var err error
	if entered := n.Within(func() { fd, err = bpf(command, unsafe.Pointer(&a), unsafe.Sizeof(a)) }); entered != nil || err != nil {
		t.Fatalf("bpf command %d: %v, %v", command, entered, err)
	}
	return fd
}

// needTCX skips the test, saying so, on a kernel before 6.6.
func needTCX(t *testing.T, index int) {
	t.Helper()
	a := [12]uint32{uint32(index), unix.BPF_TCX_INGRESS}
	if _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&a), unsafe.Sizeof(a)); errors.Is(err, unix.EINVAL) {
		t.Skip("needs tcx attach points: Linux 6.6")
	}
}

// TestPrograms checks that a pod's BPF programs are not on the link when it is
// back on the host, however they were attached, and that the host's are restored.
func TestPrograms(t *testing.T) {
	link := func(w *world, n *NetNS, name string) Link {
		l, err := n.conn.linkByName(name)
		if err != nil {
			w.t.Fatal(err)
		}
		return l
	}
	xdp := func(w *world, n *NetNS, name, at string, fd int) {
		if err := n.setXDP(link(w, n, name), attachPoints[at], fd); err != nil {
			w.t.Fatal(err)
		}
	}
	held := func(w *world, attachType, flags uint32, fd int) {
		a := [8]uint32{uint32(fd), uint32(link(w, w.pod, "net1").Index), attachType, flags}
		fd = inNS(w.t, w.pod, unix.BPF_LINK_CREATE, a)
		w.t.Cleanup(func() { unix.Close(fd) })
	}
	tcxOn := func(w *world, n *NetNS, name string, fd int) {
		inNS(w.t, n, unix.BPF_PROG_ATTACH, [8]uint32{uint32(link(w, n, name).Index), uint32(fd), unix.BPF_TCX_INGRESS})
	}
	tests := []struct {
		name          string
		kind          uint32
		onHost, inPod func(w *world, fd int)
		unset         string
	}{
		{name: "XDP in the driver", kind: progXDP, inPod: func(w *world, fd int) { xdp(w, w.pod, "net1", "xdpdrv", fd) }},
		{name: "generic XDP", kind: progXDP, inPod: func(w *world, fd int) { xdp(w, w.pod, "net1", "xdpgeneric", fd) }},
		{name: "XDP held by a bpf_link", kind: progXDP, inPod: func(w *world, fd int) { held(w, attachXDP, unix.XDP_FLAGS_SKB_MODE, fd) }},
		{name: "tcx", kind: progTC, inPod: func(w *world, fd int) { tcxOn(w, w.pod, "net1", fd) }},
		{name: "tcx held by a bpf_link", kind: progTC, inPod: func(w *world, fd int) { held(w, unix.BPF_TCX_EGRESS, 0, fd) }},
		{name: "the host's XDP stays", kind: progXDP, onHost: func(w *world, fd int) { xdp(w, w.host, "h0", "xdpdrv", fd) }},
		{name: "the host's XDP taken off by the pod", kind: progXDP,
			onHost: func(w *world, fd int) { xdp(w, w.host, "h0", "xdpdrv", fd) },
			inPod:  func(w *world, _ int) { xdp(w, w.pod, "net1", "xdpdrv", -1) }},
		{name: "the host's tcx taken off by the pod", kind: progTC,
			onHost: func(w *world, fd int) { tcxOn(w, w.host, "h0", fd) },
			inPod: func(w *world, fd int) {
				inNS(w.t, w.pod, unix.BPF_PROG_DETACH, [8]uint32{uint32(link(w, w.pod, "net1").Index), uint32(fd), unix.BPF_TCX_INGRESS})
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0", "")
			fd, _ := loadProgram(t, tt.kind)
			if tt.kind == progTC {
				needTCX(t, link(w, w.host, "h0").Index)
			}
			if tt.onHost != nil {
				tt.onHost(w, fd)
			}
			before, err := w.host.programs(link(w, w.host, "h0"))
			if err != nil || len(before) != len(map[bool][]int{true: {1}}[tt.onHost != nil]) {
				t.Fatalf("programs on the host: %v, %v", before, err)
			}
			w.hostBefore = w.Host.Settled()
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			p.ID = w.attach(p)[0].ID
			if tt.inPod != nil {
				tt.inPod(w, fd)
				if in, err := w.pod.programs(link(w, w.pod, "net1")); err != nil || len(in) == len(before) {
					t.Fatalf("programs in the pod: %v, %v", in, err)
				}
			}
			if result := w.detach(p)[0]; len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			now, err := w.host.programs(link(w, w.host, "h0"))
			if err != nil || !slices.Equal(now, before) {
				t.Errorf("programs on the host: got %v, %v, want %v", now, err, before)
			}
			w.Host.Same(w.hostBefore, "the host")
		})
	}
}

// TestProgramCannotComeBack checks that a program which was unloaded when the pod
// detached it is reported.
func TestProgramCannotComeBack(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	fd, drop := loadProgram(t, progXDP)
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.host.setXDP(l, attachPoints["xdpdrv"], fd); err != nil {
		t.Fatal(err)
	}
	drop()
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	w.Pod.Run("ip link set net1 xdp off")
	result := w.detach(p)[0]
	if !slices.ContainsFunc(result.Unset, func(u string) bool { return strings.Contains(u, "attach xdpdrv program") }) {
		t.Errorf("Detach: got %+v", result)
	}
}

// TestProgramNeedsTheSettings checks that the host's program is restored though
// the driver refuses it as long as the link has the pod's settings.
func TestProgramNeedsTheSettings(t *testing.T) {
	const queues = " numtxqueues 2 numrxqueues 2"
	w := newWorld(t, "ip link add h4"+queues+" up type veth peer name p4"+queues+"\nip link set p4 up", "")
	fd, _ := loadProgram(t, progXDP)
	link := func() Link {
		l, err := w.host.conn.linkByName("h4")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if err := w.host.setXDP(link(), attachPoints["xdpdrv"], fd); err != nil {
		t.Fatal(err)
	}
	before := link().XDP
	p := w.plan("h4", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	w.Pod.Lines("ip link set net1 xdp off\nethtool -L net1 rx 1")
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	if now := link().XDP; len(before) != 1 || !slices.Equal(now, before) {
		t.Errorf("programs on the host: got %v, want %v", now, before)
	}
}
