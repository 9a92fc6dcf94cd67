package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// fakeFunctions is a host with two physical functions, pf0 with no virtual ones and
// pf1 with two, of which the first has a link.
type fakeFunctions struct {
	sync.Mutex
	sys   fstest.MapFS
	links []netdev.Link
	fails error // of what is set
	done  []string
	notes []string
}

func newFakeFunctions() *fakeFunctions {
	f := &fakeFunctions{sys: fstest.MapFS{}}
	for i, l := range []struct{ name, function string }{{"pf0", "0000:01:00.0"}, {"pf1", "0000:02:00.0"}, {"vf0", "0000:02:00.1"}} {
		link := netdev.Link{Index: 2 + i, Name: l.name, Encapsulation: "ether", LowerNetNSID: -1, Parent: l.function, ParentBus: "pci"}
		f.links = append(f.links, link)
		f.file(l.function+"/net/"+l.name+"/ifindex", fmt.Sprint(2+i))
	}
	for function, n := range map[string]string{"0000:01:00.0": "0", "0000:02:00.0": "2"} {
		f.file(function+"/sriov_totalvfs", "8")
		f.file(function+"/sriov_numvfs", n)
	}
	f.sys["bus/pci/devices/0000:02:00.0/virtfn0"] = &fstest.MapFile{Data: []byte("../0000:02:00.1"), Mode: fs.ModeSymlink}
	f.sys["bus/pci/devices/0000:02:00.1/physfn"] = &fstest.MapFile{Data: []byte("../0000:02:00.0"), Mode: fs.ModeSymlink}
	return f
}

func (f *fakeFunctions) file(name, text string) {
	f.sys["bus/pci/devices/"+name] = &fstest.MapFile{Data: []byte(text + "\n")}
}

// set does what the kernel does with one that has no, or the wanted, number.
func (f *fakeFunctions) set(pf netdev.Link, have, want int) error {
	f.Lock()
	defer f.Unlock()
	if f.fails == nil {
		f.file(pf.Parent+"/sriov_numvfs", fmt.Sprint(want))
		f.done = append(f.done, fmt.Sprintf("%s %d to %d", pf.Name, have, want))
	}
	return f.fails
}

func (f *fakeFunctions) maker(t *testing.T, counts ...string) *vfMaker {
	store, _, err := allocation.Open(t.Context(), t.TempDir(), "boot")
	must(t, err)
	m := &vfMaker{
		sys: f.sys, store: store, options: func() inventory.Options { return inventory.Options{Held: devicesOf(store.All(), anyRecord)} },
		links: func(context.Context) ([]netdev.Link, error) { return f.links, nil }, set: f.set,
		failed: func(err error) { f.notes = append(f.notes, err.Error()) },
	}
	for _, c := range counts {
		must(t, m.counts.Set(c))
	}
	return m
}

// TestMakeVFs checks that virtual functions are made where there are none, replaced
// where nobody uses them, and left alone, with an event, where somebody does.
func TestMakeVFs(t *testing.T) {
	f := newFakeFunctions()
	m := f.maker(t, "true=4")
	changes, err := m.plan(t.Context())
	if err != nil || len(changes) != 2 || len(f.done) > 0 {
		t.Fatalf("plan: got %v, %v, done %v", changes, err, f.done)
	}
	m.run(t.Context())
	if want := []string{"pf0 0 to 4", "pf1 2 to 4"}; !slices.Equal(f.done, want) || len(f.notes) > 0 {
		t.Errorf("got %q, reported %q, want %q", f.done, f.notes, want)
	}
	m.run(t.Context()) // as by another instance
	if len(f.done) != 2 {
		t.Errorf("once more: %q", f.done)
	}

	f = newFakeFunctions()
	m = f.maker(t, "true=4")
	for _, d := range inventory.Scan(f.links, f.sys, inventory.Options{}) {
		if d.Link.Name == "vf0" {
			must(t, m.store.Put(allocation.Record{Claim: allocation.Ref{UID: "u", Name: "c", Namespace: "n"}, Pool: "n1", Device: d}))
		}
	}
	m.run(t.Context())
	if want := []string{"pf0 0 to 4"}; !slices.Equal(f.done, want) {
		t.Errorf("with one in use: got %q, want %q", f.done, want)
	}
	if want := "--sriov-vfs: pf1 (0000:02:00.0) has 2 virtual functions, want 4: in use: 0000:02:00.1 (allocated)"; len(f.notes) != 1 || f.notes[0] != want {
		t.Errorf("reported %q, want %q", f.notes, want)
	}
}

// TestMakeVFsFails checks that a number which a physical function cannot have is an
// error at the start that names all of it, and that what the kernel refuses is
// reported.
func TestMakeVFsFails(t *testing.T) {
	f := newFakeFunctions()
	_, err := f.maker(t, "true=9").plan(t.Context())
	refused(t, err, `--sriov-vfs: "true=9": pf0 (0000:01:00.0) can have 8 virtual functions at most, not 9`)
	f.fails = errors.New("no such file")
	f.maker(t, `device.attributes["dra-netdev.github.io"].ifName == "pf0"=1`).run(t.Context())
	if want := "--sriov-vfs: pf0 (0000:01:00.0) has 0 virtual functions, want 1: no such file"; len(f.notes) != 1 || !strings.HasSuffix(f.notes[0], want) {
		t.Errorf("reported %q, want %q", f.notes, want)
	}
}
