package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// attached returns the allocation of a link that was moved into pod.
func attached(t testing.TB, host, pod *nstest.NS) allocation.Record {
	t.Helper()
	host.Run("ip link add h0 type ifb")
	h, p := open(t, host), open(t, pod)
	id := netdev.Ident{Name: "h0", Kind: "ifb", Tag: "nd-test"}
	before, _, err := netdev.Read(context.Background(), h, id)
	if err != nil {
		t.Fatal(err)
	}
	want := before
	want.Name, want.Up = "net1", true
	a := allocation.Record{Claim: allocation.Ref{Name: "c", UID: "u"}, Device: inventory.Device{Name: "h0"}, ID: id, Original: &before, Want: &want, Sandbox: "s", NetNSCookie: p.Cookie()}
	done, err := netdev.Attach(context.Background(), h, p, []netdev.Plan{a.Plan()})
	if err != nil {
		t.Fatal(err)
	}
	a.Attached = &done[0].State
	return a
}

// recordOf returns the file of an allocation in a book of its own. The book
// itself writes it, so that the hook and the book cannot drift apart.
func recordOf(t testing.TB, a allocation.Record) string {
	t.Helper()
	book, _, err := allocation.Open(t.Context(), t.TempDir(), "boot")
	if err != nil {
		t.Fatal(err)
	}
	if err := book.Put(a); err != nil {
		t.Fatal(err)
	}
	return book.Path(a)
}

// TestCheck holds that a container passes only with its link in its namespace.
func TestCheck(t *testing.T) {
	host, pod, other := nstest.New(t), nstest.New(t), nstest.New(t)
	a := attached(t, host, pod)
	tests := []struct {
		name   string
		change func(a *allocation.Record)
		in     *nstest.NS
		want   string
	}{
		{"there", nil, pod, ""},
		{"not attached", func(a *allocation.Record) { *a = a.Restored() }, pod, "was not moved"},
		{"other namespace", nil, other, "was not moved"},
		{"other link", func(a *allocation.Record) { a.ID.Tag = "nd-other" }, pod, "link h0 is not in this pod's network namespace"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			record := a
			if tt.change != nil {
				tt.change(&record)
			}
			expect(t, run(container(t, tt.in), recordOf(t, record)), tt.want)
		})
	}
	expect(t, run(strings.NewReader("{}"), "x"), "pid 0")
	expect(t, run(container(t, pod), filepath.Join(t.TempDir(), "none")), "is not prepared")
	for text, want := range map[string]string{
		`{"version":1,"allocation":{"id"`: "read record ",
		`{"version":2,"allocation":{}}`:   "is of version 2, this hook (unknown) knows 1",
		`{"allocation":{}}`:               "is of version 0",
	} {
		file := filepath.Join(t.TempDir(), "record")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, run(container(t, pod), file), want)
	}
}

// TestRefusalIsLeft checks that a refusal is left for the driver, in a directory
// that is root's alone, whichever runtime tells of the pod, that it is bounded,
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
	book, _, err := allocation.Open(t.Context(), filepath.Join(dir, "allocations"), "boot")
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, refusalDir, filepath.Base(book.Path(a)))
	if err := book.Put(a); err != nil {
		t.Fatal(err)
	}
	expect(t, run(with(nil), book.Path(a)), "")
	if _, err := os.Stat(filepath.Dir(left)); !os.IsNotExist(err) {
		t.Errorf("a container that passes left something: %v", err)
	}
	if err := book.Put(a.Restored()); err != nil {
		t.Fatal(err)
	}
	web := podRef{"default", "web", "uid-web"}
	tests := []struct {
		name        string
		annotations map[string]string
		want        refusal
	}{
		{"no word of the pod", nil, refusal{Container: "c"}},
		{"containerd", map[string]string{"io.kubernetes.cri.sandbox-namespace": "default", "io.kubernetes.cri.sandbox-name": "web", "io.kubernetes.cri.sandbox-uid": "uid-web", "io.kubernetes.cri.container-name": "app"}, refusal{Pod: web, Container: "app"}},
		{"CRI-O", map[string]string{"io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.name": "web", "io.kubernetes.pod.uid": "uid-web", "io.kubernetes.container.name": "app"}, refusal{Pod: web, Container: "app"}},
		{"too long", map[string]string{"io.kubernetes.pod.uid": strings.Repeat("u", 10_000)}, refusal{Pod: podRef{UID: strings.Repeat("u", maxName)}, Container: "c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, run(with(tt.annotations), book.Path(a)), "was not moved")
			text, err := os.ReadFile(left)
			if err != nil {
				t.Fatal(err)
			}
			var got refusal
			if err := json.Unmarshal(text, &got); err != nil || got.Time.IsZero() {
				t.Errorf("%v: %s", err, text)
			}
			tt.want.Time, tt.want.Reason = got.Time, "link h0 was not moved into this pod's network namespace"
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
	c := exec.Command("nsenter", "--net="+n.Path, "--", "sh", "-c", "echo; exec sleep 60")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	if _, err := fmt.Fscanln(out); err != nil && err.Error() != "unexpected newline" { // it is in the namespace now
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"ociVersion": "1.3.0", "id": "c", "status": "created", "pid": c.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReader(string(text))
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}
