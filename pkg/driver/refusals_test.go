package driver

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestRefusalIsReported checks that what the runtime hook has refused is
// reported once, in an event of the pod that was refused, and that no file can
// have an event written about a pod of another namespace, or stop the others.
func TestRefusalIsReported(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb")
	w.stop()
	c := w.claim("c", "h0", net1, "web")
	dir := filepath.Join(w.dir, "state", refusalDir)
	must(t, os.MkdirAll(dir, 0o700))
	leave := func(name string, pod allocation.Ref, reason string) {
		text, err := json.Marshal(refusal{Pod: pod, Container: "app", Reason: reason, Time: time.Now()})
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	w.startDriver()
	must(t, w.prepare(c))
	for _, tt := range []struct {
		file string
		pod  allocation.Ref
		want string // whose event it is
	}{
		{"uid-c_h0.json", allocation.Ref{}, "web"}, // a runtime that does not tell the pod
		{"uid-c_h0.json", allocation.Ref{Namespace: "default", Name: "second", UID: "uid-second"}, "second"},
		{"uid-c_h0.json", allocation.Ref{Namespace: "elsewhere", Name: "victim", UID: "uid-victim"}, nodeName},
		{"uid-x_h1.json", allocation.Ref{Namespace: "default", Name: "third", UID: "uid-third"}, "third"}, // no record
		{"uid-y_h1.json", allocation.Ref{}, nodeName},
	} {
		reason := "reason of " + tt.want + " " + tt.file
		must(t, os.WriteFile(filepath.Join(dir, "garbage"), []byte(strings.Repeat("x", 1<<20)), 0o600))
		leave(tt.file, tt.pod, reason)
		w.driver.reconcile(w.ctx)
		w.driver.reconcile(w.ctx)
		var got []string
		w.eventually("an event of "+tt.want, func() bool {
			got = w.notes(reason)
			return len(got) > 0
		})
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s, %v: events of %v, want one of %s", tt.file, tt.pod, got, tt.want)
		}
	}
	other := func(name string) allocation.Ref {
		return allocation.Ref{Namespace: "default", Name: name, UID: "uid-" + name}
	}
	leave("uid-z_h0.json", other("fourth"), "too long"+strings.Repeat("x", refusalSize))
	leave("uid-z_h1.json", other("fifth"), "the next one")
	w.driver.reconcile(w.ctx)
	w.eventually("an event of the next one", func() bool { return len(w.notes("the next one")) == 1 })
	if got := w.notes("too long"); len(got) > 0 {
		t.Errorf("a file beyond the limit is reported: %d events", len(got))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	w.unprepare(c)
	w.restored()
}

// notes returns whom those events regard that report a refusal with this in
// their note.
func (w *world) notes(text string) (names []string) {
	list, err := w.client.EventsV1().Events(metav1.NamespaceAll).List(w.ctx, metav1.ListOptions{})
	must(w.t, err)
	for _, e := range list.Items {
		if e.Reason == v1alpha1.ReasonContainerRefused && strings.Contains(e.Note, text) {
			names = append(names, e.Regarding.Name)
		}
	}
	return names
}
