package netdev

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// factsIn returns the links of a namespace by name, as the function Links does.
func factsIn(t *testing.T, h *nstest.NS) map[string]Link {
	t.Helper()
	by := map[string]Link{}
	h.Do(func() {
		links, err := Links(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, l := range links {
			by[l.Name] = l
		}
	})
	return by
}

// TestFacts checks what is asked for links by themselves, and what the kernel
// reports of their hardware.
func TestFacts(t *testing.T) {
	h := nstest.New(t)
	h.Lines(`ip link add h0 numtxqueues 3 numrxqueues 2 type veth peer name p0
		ip link set h0 up
		ip link set p0 up
		ip link add i0 type ifb
		ip link add m0 link h0 type macvlan
		tc qdisc add dev h0 clsact
		tc filter add dev h0 ingress u32 match u32 0 0`)
	by := factsIn(t, h)
	h0 := by["h0"]
	if h0.RxQueues != 2 || h0.TxQueues != 3 || h0.MaxMTU != 65535 || h0.PortName+h0.SwitchID != "" || h0.VLAN != 0 {
		t.Errorf("h0: got %+v", h0)
	}
	for name, want := range map[string]nic.Facts{
		"h0": {Speed: 10000, Duplex: "full"}, // a filter without a program
		"m0": {Speed: 10000, Duplex: "full"},
		"i0": {},
		"lo": {},
	} {
		if d := cmp.Diff(want, by[name].Facts); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestFactsAreKept checks that links are asked again only when the answer may
// have changed, and that the method Links asks nothing.
func TestFactsAreKept(t *testing.T) {
	w := newWorld(t, "ip link add h1 type veth peer name h2\nip link set h2 up\nip link set h1 up", "")
	asks := 0
	w.host.conn.failpoint = func(what string) error {
		if strings.HasPrefix(what, "get ") && what != "get link" {
			asks++
		}
		return nil
	}
	read := func(describe bool) []Link {
		t.Helper()
		links, err := w.host.Links()
		if err != nil {
			t.Fatal(err)
		}
		if asks = 0; describe {
			w.host.describe(links)
		}
		return links
	}
	speed := func(links []Link) (sum int) {
		for _, l := range links {
			sum += l.Speed
		}
		return sum
	}
	links := read(false)
	if speed(links) != 0 || asks != 0 {
		t.Errorf("before anything is known: speed %d, asked %d times; want 0 and 0", speed(links), asks)
	}
	for _, step := range []struct {
		name    string
		do      string
		movable int // how many links are asked, twice for the speed each
	}{
		{"at first", "", 4},
		{"again", "", 0},
		{"after another link came", "ip link add h3 type ifb", 0},
		{"after a carrier was lost", "ip link set h2 down", 2},
		{"after a new name", "ip link property add dev h2 altname other\nip link set h2 name h4", 1},
	} {
		if step.do != "" {
			w.Host.Lines(step.do)
		}
		links := read(true)
		want := 2 * step.movable
		if step.name == "after another link came" {
			want = 1 // an ifb refuses the first question
		}
		if asks != want || speed(links) != 40000 {
			t.Errorf("%s: asked %d times, speed %d in all; want %d and 40000", step.name, asks, speed(links), want)
		}
	}
	if links := read(false); asks != 0 || speed(links) != 40000 {
		t.Errorf("without asking: asked %d times, speed %d; want 0 and 40000", asks, speed(links))
	}
}

// TestFactsGrowOld checks how long an answer counts.
func TestFactsGrowOld(t *testing.T) {
	now := time.Now()
	hardware := Link{Index: 2, Name: "eth1", Parent: "0000:03:00.0", LowerNetNSID: -1}
	pod := Link{Index: 3, Name: "veth1", Kind: "veth", LowerNetNSID: 0}
	port := Link{Index: 4, Name: "eth2", Master: 9, LowerNetNSID: -1}
	for _, tt := range []struct {
		name  string
		of, l Link
		age   time.Duration
		want  bool
	}{
		{"soon", hardware, hardware, factsAge - 1, true},
		{"a minute later", hardware, hardware, time.Minute, false},
		{"a pod's veth", pod, pod, time.Hour, true},
		{"a port", port, port, time.Hour, true},
		{"it became a port", hardware, with(hardware, func(l *Link) { l.Master = 9 }), 0, false},
		{"another link of that index", hardware, with(hardware, func(l *Link) { l.Parent = "0000:04:00.0" }), 0, false},
		{"another carrier", hardware, with(hardware, func(l *Link) { l.CarrierChanges++ }), 0, false},
	} {
		a := answer{of: identityOf(tt.of), movable: movable(tt.of), at: now}
		if got := a.holds(tt.l, now.Add(tt.age)); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}

// with returns a link with a change.
func with(l Link, change func(*Link)) Link { change(&l); return l }

// TestSpeed checks that a link without a carrier has the highest speed that it
// supports.
func TestSpeed(t *testing.T) {
	settings := func(speed uint32, modes ...int) []byte {
		b := make([]byte, lsSize+masks*4*4)
		b[lsWords] = 4
		copy(b[lsSpeed:], u32Bytes(speed))
		for _, m := range modes {
			setMode(b[lsSize:lsSize+16], m, true)
		}
		return b
	}
	for _, tt := range []struct {
		name  string
		given []byte
		want  int
	}{
		{"negotiated", settings(1000, 31, 5), 1000},
		{"no carrier", settings(unknownSpeed, 5, 31, 36, 6), 100000},
		{"no carrier, no modes", settings(unknownSpeed), 0},
		{"a driver that answers 0", settings(0, 5), 1000},
	} {
		if got := speedOf(tt.given); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestEswitchModes checks that a device that does not answer is asked once, and
// has the mode that it had.
func TestEswitchModes(t *testing.T) {
	m := modes{known: map[string]string{"pci/0000:03:00.0": "switchdev"}, asking: map[string]bool{"pci/0000:03:00.0": true}}
	if got := m.mode("pci", "0000:03:00.0"); got != "switchdev" {
		t.Errorf("a device that has not answered: got %q, want switchdev", got)
	}
	if got := m.mode("pci", "ffff:ff:ff.f"); got != "" || len(m.asking) != 1 {
		t.Errorf("no such device: got %q, still asked: %v", got, m.asking)
	}
}

// loadNamed is loadProgram for a program with a name.
func loadNamed(t *testing.T, kind uint32, name string) (fd int) {
	t.Helper()
	code := [...]uint64{0x00000002_0000_00_b7, 0x00000000_0000_00_95}
	license := [...]byte{'G', 'P', 'L', 0}
	a := struct {
		kind, count   uint32
		code, license unsafe.Pointer
		_             [3]uint64
		name          [16]byte
		_             [3]uint64
	}{kind: kind, count: uint32(len(code)), code: unsafe.Pointer(&code), license: unsafe.Pointer(&license)}
	copy(a.name[:], name)
	fd, err := -1, error(unix.EAGAIN)
	for errors.Is(err, unix.EAGAIN) {
		fd, err = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&a), unsafe.Sizeof(a))
	}
	if err != nil {
		t.Fatalf("load BPF program: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// TestProgramFacts checks that the programs of a link are known by their names.
func TestProgramFacts(t *testing.T) {
	w := newWorld(t, `tc qdisc add dev h0 clsact
		ip link add h1 type ifb
		ip link add h2 type ifb`, "")
	get := func(name string) Link {
		l, err := w.host.conn.linkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	needTCX(t, get("h0").Index)
	for _, at := range []struct {
		parent uint32
		name   string
	}{{tcAtEgress, "out"}, {tcAtIngress, "in.o:[tc]"}} {
		options := encode([]Attr{{bpfFD, u32Bytes(uint32(loadNamed(t, progTC, "other")))}, {bpfName, []byte(at.name + "\x00")}})
		f := tcObject{Type: unix.RTM_NEWTFILTER, Parent: at.parent, Info: 1<<tcPrefShift | 0x0300, Kind: kindBPF, Attrs: []Attr{{unix.TCA_OPTIONS, options}}}
		if refused, err := w.host.conn.do(f.message(get("h0").Index)); err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
	}
	for _, name := range []string{"first", "second"} {
		inNS(t, w.host, unix.BPF_PROG_ATTACH, [8]uint32{uint32(get("h0").Index), uint32(loadNamed(t, progTC, name)), unix.BPF_TCX_EGRESS})
	}
	if err := w.host.setXDP(get("h1"), attachPoints["xdpgeneric"], loadNamed(t, progXDP, "x")); err != nil {
		t.Fatal(err)
	}
	links, err := w.host.Links()
	if err != nil {
		t.Fatal(err)
	}
	w.host.describe(links)
	for _, l := range links {
		want := nic.Facts{Speed: l.Speed, Duplex: l.Duplex}
		switch l.Name {
		case "h0":
			want.Filters, want.Programs, want.EBPF = []string{"in.o:[tc]", "out"}, []string{"first", "second"}, true
		case "h1":
			want.EBPF = true
		}
		if d := cmp.Diff(want, l.Facts); d != "" {
			t.Errorf("%s (-want +got):\n%s", l.Name, d)
		}
	}
}
