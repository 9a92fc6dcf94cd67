package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// attaching returns the record of a link that is about to be moved into pod,
// and a function that moves it and returns its record then.
func attaching(t testing.TB, host, pod *nstest.NS, device string) (allocation.Record, func() allocation.Record) {
	t.Helper()
	host.Run("ip link add " + device + " type ifb")
	h, p := open(t, host), open(t, pod)
	r := allocation.Record{Claim: allocation.Ref{Name: "c", UID: "u"}, Device: inventory.Device{Name: device, Link: netdev.Link{Name: device, Kind: "ifb"}}}
	r.Config.Interface.Name = strings.ReplaceAll(device, "h", "net")
	original, _, err := netdev.Read(context.Background(), h, r.ID())
	if err != nil {
		t.Fatal(err)
	}
	want := original
	want.Name, want.Up = r.Interface(), true
	r = r.Begin(allocation.Sandbox{ID: "s", NetNS: pod.Path, Cookie: p.Cookie()}, r.ID(), original, nil, time.Now().Add(time.Minute), time.Now())
	return r, func() allocation.Record {
		done, err := netdev.Attach(context.Background(), h, p, []netdev.Plan{{ID: r.Attachment.ID, Original: original, Want: want}})
		if err != nil {
			t.Fatal(err)
		}
		return r.AttachDone(done[0], time.Now())
	}
}

// attached returns the record of a link that was moved into pod.
func attached(t testing.TB, host, pod *nstest.NS) allocation.Record {
	t.Helper()
	_, move := attaching(t, host, pod, "h0")
	return move()
}

// storeOf returns a store with these records. The store itself writes them, so
// that the hook and the store cannot drift apart.
func storeOf(t testing.TB, records ...allocation.Record) *allocation.Store {
	t.Helper()
	store, _, err := allocation.Open(t.Context(), filepath.Join(t.TempDir(), "allocations"), "boot")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		put(t, store, r)
	}
	return store
}

func put(t testing.TB, store *allocation.Store, r allocation.Record) {
	t.Helper()
	if err := store.Put(r); err != nil {
		t.Error(err)
	}
}

// recordOf returns the file of a record in a store of its own.
func recordOf(t testing.TB, r allocation.Record) string {
	t.Helper()
	return storeOf(t, r).Path(r.Key())
}

// TestCheck checks that a container passes only with its interface in its
// namespace.
func TestCheck(t *testing.T) {
	host, pod, other := nstest.New(t), nstest.New(t), nstest.New(t)
	r := attached(t, host, pod)
	if index, err := open(t, pod).IndexByName("net0"); err != nil || index != r.Attachment.ID.PodIndex {
		t.Errorf("IndexByName: got %d, %v, want %d", index, err, r.Attachment.ID.PodIndex)
	}
	tests := []struct {
		name   string
		change func(a *allocation.Attachment)
		in     *nstest.NS
		want   string
	}{
		{"there", nil, pod, ""},
		{"given up", func(a *allocation.Attachment) { a.InPod = nil }, pod, "was not moved"},
		{"late", func(a *allocation.Attachment) { a.InPod, a.Deadline = nil, time.Now().Add(-time.Minute) }, pod, "was not moved into this pod's network namespace in time"},
		{"other namespace", nil, other, "was not moved"},
		{"on its way to another", func(a *allocation.Attachment) { a.InPod, a.Deadline = nil, time.Now().Add(time.Minute) }, other, "was not moved"},
		{"other link", func(a *allocation.Attachment) { a.ID.PodIndex, a.ID.Tag = 999, "nd-other" }, pod, "interface h0 is not in this pod's network namespace"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now, a := r, *r.Attachment
			if tt.change != nil {
				tt.change(&a)
			}
			now.Attachment = &a
			started := time.Now()
			expect(t, run(container(t, tt.in), recordOf(t, now)), tt.want)
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	untouched := r
	untouched.Attachment = nil
	expect(t, run(container(t, pod), recordOf(t, untouched)), "was not moved")
	expect(t, run(container(t, pod), recordOf(t, r), recordOf(t, untouched)), "was not moved")
	pod.Lines("ip link set net0 down\nip link set net0 name other0")
	expect(t, run(container(t, pod), recordOf(t, r)), "") // an earlier container has renamed it
	pod.Run("ip link add net0 type ifb")
	expect(t, run(container(t, pod), recordOf(t, r)), "") // and given its name to another
	expect(t, run(strings.NewReader("{}"), "x"), "pid 0")
	expect(t, run(container(t, pod)), "--record: is required")
	expect(t, run(container(t, pod), filepath.Join(t.TempDir(), "none")), "is not prepared")
	for text, want := range map[string]string{
		`{"version":2,"record":{"attachment"`: "read record ",
		`{"version":1,"allocation":{}}`:       "is of version 1, this hook (unknown) knows 2",
		`{"record":{}}`:                       "is of version 0",
	} {
		file := filepath.Join(t.TempDir(), "record")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, run(container(t, pod), file), want)
	}
}

// TestRecordFlag checks that the flag may be given once, as in CDI specs of
// older drivers, and repeatedly.
func TestRecordFlag(t *testing.T) {
	for _, want := range []paths{{"a"}, {"a", "b", "a"}} {
		var args []string
		for _, path := range want {
			args = append(args, "--record", path)
		}
		var got paths
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.Var(&got, "record", "")
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("records (-want +got):\n%s", d)
		}
	}
}

// TestMark checks that the driver can see that the hook has run, also for a
// container that is refused, where it wants to, and nowhere else.
func TestMark(t *testing.T) {
	host, pod := nstest.New(t), nstest.New(t)
	record := recordOf(t, attached(t, host, pod))
	dir := filepath.Join(filepath.Dir(filepath.Dir(record)), marks)
	expect(t, run(container(t, pod), record), "")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a mark was left where the driver wants none: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	expect(t, run(strings.NewReader(`{"pid":0}`), record), "pid 0")
	expect(t, run(strings.NewReader(`{"id":"c"`), record), "read the container's state")
	if all, err := os.ReadDir(dir); err != nil || len(all) != 0 {
		t.Errorf("marks of no container: %v, %v, want none", all, err)
	}
	for _, tt := range []struct{ id, file, want string }{
		{"c", "2e", ""},                   // the first byte of sha256("c")
		{"web", "4b", "is not prepared"},  // a new mark, of a container that is refused
		{"c", "2e", "is not prepared"},    // written over
		{"c\nd", "fa", "is not prepared"}, // whatever the ID is
	} {
		state, err := json.Marshal(map[string]any{"id": tt.id, "pid": pidIn(t, pod)})
		if err != nil {
			t.Fatal(err)
		}
		path := record
		if tt.want != "" {
			path = filepath.Join(filepath.Dir(record), "u_none.json")
		}
		expect(t, run(strings.NewReader(string(state)), path), tt.want)
		if text, err := os.ReadFile(filepath.Join(dir, tt.file)); err != nil || string(text) != tt.id {
			t.Errorf("the mark of %q is %q, %v, want the container's ID", tt.id, text, err)
		}
	}
}

// TestRefusalIsLeft checks that a refusal is left for the driver, in a directory
// that is root's alone, whichever runtime names the pod, that it is bounded,
// and that a container which passes leaves none.
func TestRefusalIsLeft(t *testing.T) {
	host, pod := nstest.New(t), nstest.New(t)
	a := attached(t, host, pod)
	state, err := io.ReadAll(container(t, pod))
	if err != nil {
		t.Fatal(err)
	}
	with := func(annotations map[string]string) io.Reader {
		text, err := json.Marshal(annotations)
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReader(strings.TrimSuffix(string(state), "}") + `,"annotations":` + string(text) + "}")
	}
	dir := t.TempDir()
	store, _, err := allocation.Open(t.Context(), filepath.Join(dir, "allocations"), "boot")
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, refusalDir, filepath.Base(store.Path(a.Key())))
	if err := store.Put(a); err != nil {
		t.Fatal(err)
	}
	expect(t, run(with(nil), store.Path(a.Key())), "")
	if _, err := os.Stat(filepath.Dir(left)); !os.IsNotExist(err) {
		t.Errorf("a container that passes left something: %v", err)
	}
	if err := store.Put(a.Untouched()); err != nil {
		t.Fatal(err)
	}
	web := podRef{"default", "web", "uid-web"}
	tests := []struct {
		name        string
		annotations map[string]string
		want        refusal
	}{
		{"pod not named", nil, refusal{Container: "c"}},
		{"containerd", map[string]string{"io.kubernetes.cri.sandbox-namespace": "default", "io.kubernetes.cri.sandbox-name": "web", "io.kubernetes.cri.sandbox-uid": "uid-web", "io.kubernetes.cri.container-name": "app"}, refusal{Pod: web, Container: "app"}},
		{"CRI-O", map[string]string{"io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.name": "web", "io.kubernetes.pod.uid": "uid-web", "io.kubernetes.container.name": "app"}, refusal{Pod: web, Container: "app"}},
		{"too long", map[string]string{"io.kubernetes.pod.uid": strings.Repeat("u", 10_000)}, refusal{Pod: podRef{UID: strings.Repeat("u", maxName)}, Container: "c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, run(with(tt.annotations), store.Path(a.Key())), "was not moved")
			text, err := os.ReadFile(left)
			if err != nil {
				t.Fatal(err)
			}
			var got refusal
			if err := json.Unmarshal(text, &got); err != nil || got.Time.IsZero() {
				t.Errorf("%v: %s", err, text)
			}
			tt.want.Time, tt.want.Reason = got.Time, "interface h0 was not moved into this pod's network namespace"
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for path, mode := range map[string]os.FileMode{left: 0o600, filepath.Dir(left): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
	for n := range 2 * maxRefusals { // the driver is away, other claims' containers are refused
		run(with(nil), filepath.Join(dir, "allocations", fmt.Sprintf("u%d_h0.json", n)))
	}
	if all, err := os.ReadDir(filepath.Dir(left)); err != nil || len(all) != maxRefusals {
		t.Errorf("%d refusals are left, want %d", len(all), maxRefusals)
	}
}

func open(t testing.TB, n *nstest.NS) *netdev.NetNS {
	t.Helper()
	ns, err := netdev.Open(n.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// container is the state of a container whose first process is in n.
func container(t testing.TB, n *nstest.NS) *strings.Reader {
	t.Helper()
	text, err := json.Marshal(map[string]any{"ociVersion": "1.3.0", "id": "c", "status": "created", "pid": pidIn(t, n)})
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReader(string(text))
}

// pidIn returns the ID of a process in n, which ends with the test.
func pidIn(t testing.TB, n *nstest.NS) int {
	t.Helper()
	return start(t, "nsenter", "--net="+n.Path, "--", "sh", "-c", "echo; exec sleep 60").Pid
}

// start returns a process that has written a line. It ends with the test.
func start(t testing.TB, name string, args ...string) *os.Process {
	t.Helper()
	c := exec.Command(name, args...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	if _, err := fmt.Fscanln(out); err != nil && err.Error() != "unexpected newline" {
		t.Fatal(err)
	}
	return c.Process
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}
