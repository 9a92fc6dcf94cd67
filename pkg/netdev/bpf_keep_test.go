package netdev

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attachBPF attaches a program to a link of the namespace, by a bpf_link if byLink,
// whose descriptor it returns, and what closes that. Only the bpf_link, or the
// attachment, keeps it loaded.
func (w *world) attachBPF(n *NetNS, name, at string, byLink bool) (fd int, drop func()) {
	w.t.Helper()
	l, err := n.conn.linkByName(name)
	if err != nil {
		w.t.Fatal(err)
	}
	h := attachPoints[at]
	kind, attachType, flags := uint32(progXDP), uint32(attachXDP), h.flag
	if h.tcx != 0 {
		kind, attachType, flags = progTC, h.tcx, 0
	}
	program, unload := loadProgram(w.t, kind)
	defer unload()
	switch {
	case byLink:
		fd = inNS(w.t, n, unix.BPF_LINK_CREATE, [8]uint32{uint32(program), uint32(l.Index), attachType, flags})
		drop = sync.OnceFunc(func() { unix.Close(fd) })
		w.t.Cleanup(drop)
	case h.tcx != 0:
		inNS(w.t, n, unix.BPF_PROG_ATTACH, [8]uint32{uint32(l.Index), uint32(program), h.tcx})
	default:
		if err := n.setXDP(l, h, program); err != nil {
			w.t.Fatal(err)
		}
	}
	return fd, drop
}

// programsOn returns the programs on a link, and of each the name.
func (w *world) programsOn(n *NetNS, name string) (all []program, names []string) {
	w.t.Helper()
	l, err := n.conn.linkByName(name)
	if err != nil {
		w.t.Fatal(err)
	}
	if all, err = n.programs(l); err != nil {
		w.t.Fatal(err)
	}
	for _, p := range all {
		info, err := objectInfo(unix.BPF_PROG_GET_FD_BY_ID, p.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		names = append(names, text(info[64:80]))
	}
	return all, names
}

// objectInfo returns what the kernel reports of a program or a bpf_link.
func objectInfo(command int, id uint32) (info [128]byte, err error) {
	fd, err := byID(command, id)
	if err != nil {
		return info, err
	}
	defer unix.Close(fd)
	q := struct {
		fd, size uint32
		info     unsafe.Pointer
	}{uint32(fd), uint32(len(info)), unsafe.Pointer(&info)}
	_, err = bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&q), unsafe.Sizeof(q))
	return info, err
}

// TestDisableEBPFPrograms checks that the host's programs are not in the pod, and are
// the same ones on the host afterwards, at the same places, in the same order and by
// the same bpf_links.
func TestDisableEBPFPrograms(t *testing.T) {
	type on struct {
		at     string
		byLink bool
	}
	for name, programs := range map[string][]on{
		"none":              nil,
		"XDP in the driver": {{"xdpdrv", false}},
		"generic XDP":       {{"xdpgeneric", false}},
		"XDP by a link":     {{"xdpdrv", true}},
		"XDP and tcx":       {{"xdpgeneric", true}, {"tcx/egress", false}},
		"tcx":               {{"tcx/ingress", false}, {"tcx/ingress", true}, {"tcx/ingress", false}, {"tcx/egress", true}, {"tcx/egress", false}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0", "")
			links := 0
			for _, p := range programs {
				if attachPoints[p.at].tcx != 0 {
					l, _ := w.host.conn.linkByName("h0")
					needTCX(t, l.Index)
				}
				w.attachBPF(w.host, "h0", p.at, p.byLink)
				if p.byLink {
					links++
				}
			}
			before, _ := w.programsOn(w.host, "h0")
			w.hostBefore = w.Host.Settled()
			p := w.plan("h0", `{"interface":{"name":"net1","disableEbpfPrograms":true}}`)
			p.Programs = filepath.Join(t.TempDir(), "programs")
			t.Cleanup(func() { release(p.Programs) })
			for range 2 {
				p.ID = w.attach(p)[0].ID
				w.attach(p) // as the next process does
				in, names := w.programsOn(w.pod, "net1")
				if len(in) != links || slices.ContainsFunc(names, func(n string) bool { return n != passName }) {
					t.Errorf("programs in the pod: %v, %q, want %d that do nothing", in, names, links)
				}
				if result := w.detach(p)[0]; len(result.Unset) > 0 {
					t.Errorf("Detach: got %+v", result)
				}
				p.ID = p.ID.OnHost()
				if now, _ := w.programsOn(w.host, "h0"); !slices.Equal(now, before) {
					t.Errorf("programs on the host: got %v, want %v", now, before)
				}
				w.asBefore()
				if _, err := os.Stat(p.Programs); err == nil {
					t.Errorf("%s is still there", p.Programs)
				}
			}
			// The owners of the links can use them as before.
			w.attach(p)
			w.detach(p)
		})
	}
}

// TestDisabledProgramsOfAnother checks what is restored after others did something
// meanwhile: a bpf_link has its program again, what a pod attaches is gone, and the
// program of a bpf_link that its owner has closed is attached without one.
func TestDisabledProgramsOfAnother(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	l, _ := w.host.conn.linkByName("h0")
	needTCX(t, l.Index)
	updated, _ := w.attachBPF(w.host, "h0", "tcx/ingress", true)
	_, closeLink := w.attachBPF(w.host, "h0", "tcx/egress", true)
	before, _ := w.programsOn(w.host, "h0")
	p := w.plan("h0", `{"interface":{"name":"net1","disableEbpfPrograms":true}}`)
	p.Programs = filepath.Join(t.TempDir(), "programs")
	t.Cleanup(func() { release(p.Programs) })
	p.ID = w.attach(p)[0].ID
	w.attachBPF(w.pod, "net1", "tcx/egress", false)
	w.attachBPF(w.pod, "net1", "xdpgeneric", false)
	newer, _ := loadProgram(t, progTC)
	inNS(t, w.pod, unix.BPF_LINK_UPDATE, [8]uint32{uint32(updated), uint32(newer)})
	closeLink()
	w.detach(p)
	before[0].Link = 0 // of tcx/egress
	if now, _ := w.programsOn(w.host, "h0"); !slices.Equal(now, before) {
		t.Errorf("programs on the host: got %v, want %v", now, before)
	}
}

// TestDisableEBPFFails checks that an attach which cannot keep the programs is undone.
func TestDisableEBPFFails(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	w.attachBPF(w.host, "h0", "xdpgeneric", false)
	before, _ := w.programsOn(w.host, "h0")
	p := w.plan("h0", `{"interface":{"name":"net1","disableEbpfPrograms":true}}`)
	p.Programs = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(p.Programs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(context.Background(), w.host, w.pod, []Plan{p}); err == nil {
		t.Error("Attach: got no error")
	}
	w.Pod.Same(w.podBefore, "the pod")
	if now, _ := w.programsOn(w.host, "h0"); !slices.Equal(now, before) {
		t.Errorf("programs on the host: got %v, want %v", now, before)
	}
}
