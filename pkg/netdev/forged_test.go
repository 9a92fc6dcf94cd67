package netdev

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// forger is a process of the pod that answers our requests before the kernel
// does: it sends an empty end of a dump, with the sequence numbers to come, to
// the port that our socket in the pod's namespace has.
type forger struct {
	port      atomic.Uint32
	seq       atomic.Uint32
	delivered atomic.Int64
	refused   atomic.Int64
	stop      atomic.Bool
	done      chan error
}

func (w *world) forge() *forger {
	f := &forger{done: make(chan error, 1)}
	go func() { f.done <- within(w.pod.handle, f.flood) }()
	w.t.Cleanup(func() {
		f.stop.Store(true)
		if err := <-f.done; err != nil {
			w.t.Error(err)
		}
		if f.delivered.Load() > 0 || f.refused.Load() == 0 {
			w.t.Errorf("%d forged messages were delivered, %d refused", f.delivered.Load(), f.refused.Load())
		}
	})
	return f
}

func (f *forger) flood() {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, netlinkType)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	b := make([]byte, unix.SizeofNlMsghdr+4)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
	for i := uint32(0); !f.stop.Load(); i++ {
		port := f.port.Load()
		if port == 0 {
			runtime.Gosched()
			continue
		}
		binary.NativeEndian.PutUint32(b[8:], f.seq.Load()+i%64)
		binary.NativeEndian.PutUint32(b[12:], port)
		if err := unix.Sendto(fd, b, unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port}); err == nil {
			f.delivered.Add(1)
		} else if err == unix.ECONNREFUSED {
			f.refused.Add(1)
		}
	}
}

// aim passes our port and the current sequence number to the forger, which would
// have to guess them.
func (f *forger) aim(t *testing.T, n *NetNS) {
	t.Helper()
	name, err := unix.Getsockname(n.conn.fd)
	if err != nil {
		t.Fatal(err)
	}
	f.seq.Store(message{}.request().Seq)
	f.port.Store(name.(*unix.SockaddrNetlink).Pid)
}

// TestForgedReplies checks that no message of a pod's process is taken for the
// kernel's, in inspections, attaches and detaches.
func TestForgedReplies(t *testing.T) {
	w := newWorld(t, rich, "")
	f := w.forge()
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	for range 20 {
		pod := open(t, w.Pod.Path)
		f.aim(t, pod)
		done, err := Attach(context.Background(), w.host, pod, []Plan{p})
		if err != nil {
			t.Fatalf("Attach: %v", err)
		}
		at := p
		at.ID = done[0].ID
		for i := range 25 {
			f.aim(t, pod)
			if l, err := Inspect(context.Background(), pod, at.ID); err != nil || l.Name != "net1" {
				t.Errorf("inspection %d: got link %q, error %v", i, l.Name, err)
			}
			if links, err := pod.Links(); err != nil || len(links) != 2 {
				t.Errorf("list %d: got %d links, error %v", i, len(links), err)
			}
		}
		f.aim(t, pod)
		if results, err := Detach(context.Background(), w.host, pod, []Plan{at}); err != nil || results[0].Missing || results[0].Name != "h0" {
			t.Errorf("Detach: got %+v, error %v", results, err)
		}
		f.port.Store(0)
		pod.Close()
		if t.Failed() {
			return
		}
	}
	w.asBefore()
}
