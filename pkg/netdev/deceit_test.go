package netdev

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// altNames are as many alternative names of 127 bytes, the longest there are.
func altNames(link string, first, count int) string {
	var script strings.Builder
	for i := range count {
		if i%7 == 0 { // no more fit into the message that ip(8) sends
			fmt.Fprintf(&script, "\nip link property add dev %s", link)
		}
		fmt.Fprintf(&script, " altname a%0126d", first+i)
	}
	return script.String()
}

// attachOne attaches h0 as net1 and returns the plan with the link's identity.
func (w *world) attachOne() Plan {
	w.t.Helper()
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	return p
}

// TestLongMessages checks that no link is hidden behind one whose message is
// long, in a list and by itself.
func TestLongMessages(t *testing.T) {
	for name, inPod := range map[string]string{
		"on lo":         altNames("lo", 0, 18),
		"on the link":   altNames("net1", 0, 490),
		"before uppers": "ip link add wall index 50 type ifb" + altNames("wall", 0, 300) + "\nip link add m0 index 60 link net1 type macvlan\nip link set m0 up",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, rich, "")
			p := w.attachOne()
			w.Pod.Lines(inPod)
			fresh := open(t, w.Pod.Path)
			want := strings.Count(w.Pod.Run("ip -oneline link show"), "\n")
			if links, err := fresh.Links(); err != nil || len(links) != want {
				t.Errorf("Links: got %d links, error %v, want %d", len(links), err, want)
			}
			if l, err := Inspect(context.Background(), fresh, p.ID); err != nil || l.Name != "net1" {
				t.Errorf("Inspect: got link %q, error %v", l.Name, err)
			}
			if result := w.detach(p)[0]; result.Missing || result.Name != "h0" || len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			w.Host.Same(w.hostBefore, "the host")
			if out, err := w.Pod.Try("ip link show m0"); err == nil {
				t.Errorf("the pod still has a link on the host's:\n%s", out)
			}
		})
	}
}

// TestSquattedNames checks that a pod that gives our names to links of its own
// does not keep our link by that.
func TestSquattedNames(t *testing.T) {
	const tag = "nd-test-0"
	fallback := fallbackName(tag)
	for name, inPod := range map[string]string{
		"fallback name":            "ip link set net1 name evil\nip link add " + fallback + " type ifb",
		"fallback name of one up":  "ip link set net1 name evil\nip link add " + fallback + " type ifb\nip link set " + fallback + " up",
		"fallback name as altname": "ip link set net1 name evil\nip link add x type ifb\nip link property add dev x altname " + fallback,
		"fallback name of lo":      "ip link set net1 name evil\nip link set lo down\nip link set lo name " + fallback,
		"tag as a name":            "ip link property del dev net1 altname " + tag + "\nip link add " + tag + " type ifb",
		"tag as an altname":        "ip link property del dev net1 altname " + tag + "\nip link add x type ifb\nip link property add dev x altname " + tag,
		"both":                     "ip link set net1 name evil\nip link property del dev evil altname " + tag + "\nip link add " + fallback + " type ifb\nip link property add dev " + fallback + " altname " + tag,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, rich, "")
			p := w.attachOne()
			w.Pod.Lines(inPod)
			if result := w.detach(p)[0]; result.Missing || result.HostNameTaken || result.Name != "h0" || len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			w.Host.Same(w.hostBefore, "the host")
		})
	}
}

// TestImpostor checks that a link that the pod made in place of ours, with the
// tag and all else that it can copy, is not moved to the host.
func TestImpostor(t *testing.T) {

	for name, tt := range map[string]struct {
		onHost, link, inPod string
		uncertain           bool // it may be ours as far as we can see, so nothing is given up
	}{
		"veth":                     {link: "h0", inPod: "ip link add net1 type veth peer name mitm netns OTHER"},
		"veth of the same index":   {link: "h0", uncertain: true, inPod: "ip link add net1 index INDEX type veth peer name mitm netns OTHER"},
		"veth with the same other": {link: "h0", uncertain: true, inPod: "ip link add net1 index INDEX type veth peer name mitm index LOWER netns OTHER"},
		"veth within the pod":      {link: "h0", uncertain: true, inPod: "ip link add net1 index INDEX type veth peer name mitm index LOWER"},
		"ifb":                      {link: "h1", onHost: "ip link add h1 type ifb\nip link set h1 up", inPod: "ip link add net1 index 77 type ifb"},
		"macvlan":                  {link: "h1", onHost: "ip link add h1 link p0 type macvlan\nip link set h1 up", inPod: "ip link add x type ifb\nip link add net1 index INDEX link x type macvlan"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.onHost, "")
			other := nstest.New(t)
			p := w.plan(tt.link, `{"interface":{"name":"net1"}}`)
			p.ID = w.attach(p)[0].ID

			w.Pod.Run("ip link del net1")
			w.Pod.Lines(strings.NewReplacer("OTHER", other.Path, "INDEX", fmt.Sprint(p.ID.PodIndex), "LOWER", fmt.Sprint(p.ID.PodLower)).Replace(tt.inPod))
			w.Pod.Run("ip link property add dev net1 altname " + p.ID.Tag)
			results, err := Detach(context.Background(), w.host, w.pod, []Plan{p})
			if results[0].Missing == tt.uncertain || errors.Is(err, errUncertain) != tt.uncertain {
				t.Errorf("Detach: got %+v, error %v", results, err)
			}
			if out, err := w.Host.Try("ip link show " + tt.link); err == nil {
				t.Errorf("the host has a link of the pod's:\n%s", out)
			}
		})
	}
}

// TestPairInTwoPods checks that a link is restored whose peer was moved to a
// second pod since, when that pod is known, and otherwise when the peer is back.
func TestPairInTwoPods(t *testing.T) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("known=%t", known), func(t *testing.T) {
			w := newWorld(t, "ip link add h5 type veth peer name h6\nip link set h5 up\nip link set h6 up", "")
			second := nstest.New(t)
			pod2 := open(t, second.Path)
			h, p := w.plan("h5", `{"interface":{"name":"net1"}}`), w.plan("h6", `{"interface":{"name":"net2"}}`)
			h.ID = w.attach(h)[0].ID
			done, err := Attach(context.Background(), w.host, pod2, []Plan{p})
			if err != nil {
				t.Fatalf("Attach: %v", err)
			}
			p.ID = done[0].ID
			if l, err := Inspect(context.Background(), w.pod, h.ID); err != nil || l.Name != "net1" {
				t.Errorf("Inspect: got link %q, error %v", l.Name, err)
			}
			if known {
				h.PeerNS, h.PeerIndex = pod2, p.ID.PodIndex
			}
			results, err := Detach(context.Background(), w.host, w.pod, []Plan{h})
			if results[0].Missing || errors.Is(err, errUncertain) == known {
				t.Errorf("Detach of the first end: got %+v, error %v", results, err)
			}
			if results, err := Detach(context.Background(), w.host, pod2, []Plan{p}); err != nil || results[0].Missing {
				t.Errorf("Detach of the second end: got %+v, error %v", results, err)
			}
			if result := w.detach(h)[0]; result.Missing || result.Name != "h5" {
				t.Errorf("Detach of the first end at last: got %+v", result)
			}
			w.asBefore()
		})
	}
}

// TestManyUppers checks that hundreds of upper devices that a pod made are deleted
// as a group: one by one, each would take 20 ms.
func TestManyUppers(t *testing.T) {
	const count, limit = 100, time.Second
	w := newWorld(t, rich, "")
	p := w.attachOne()
	for i := range count {
		w.Pod.Run(fmt.Sprintf("ip link add m%d link net1 type macvlan mode bridge", i))
	}
	w.Pod.Lines("ip link add link m0 name chain type macvlan")
	started := time.Now()
	for _, id := range []Ident{p.ID, {Name: "none", Kind: "ifb", Tag: "nd-none", PodIndex: 9999}} {
		if err := w.pod.DeleteUppers(context.Background(), id); err != nil {
			t.Errorf("DeleteUppers: %v", err)
		}
	}
	if took := time.Since(started); took > limit {
		t.Errorf("DeleteUppers took %v, want less than %v", took, limit)
	}
	if links, err := w.pod.Links(); err != nil || len(links) != 2 {
		t.Errorf("afterwards: got %d links in the pod, error %v, want lo and net1", len(links), err)
	}
	w.detach(p)
	w.asBefore()
}

// TestCrowdedPod checks that a pod which fills its namespace slows down neither
// inspections nor detaches much, and that everything is restored.
func TestCrowdedPod(t *testing.T) {
	w := newWorld(t, rich, "")
	p := w.attachOne()
	var batch strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&batch, "link add x%d type ifb\n", i)
	}
	for i := range 5000 {
		fmt.Fprintf(&batch, "route add 10.%d.%d.0/24 dev net1\n", 100+i/250, i%250)
	}
	w.Pod.Batch(batch.String())
	w.Pod.Lines(altNames("net1", 0, 490))
	for what, f := range map[string]func() error{
		"inspection":      func() error { _, err := Inspect(context.Background(), w.pod, p.ID); return err },
		"check of uppers": func() error { return w.pod.DeleteUppers(context.Background(), p.ID) },
	} {
		started := time.Now()
		if err := f(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(started); took > 200*time.Millisecond {
			t.Errorf("%s took %v", what, took)
		} else {
			t.Logf("%s took %v", what, took)
		}
	}
	started := time.Now()
	results, err := Detach(context.Background(), w.host, w.pod, []Plan{p})
	if took := time.Since(started); took > time.Second {
		t.Errorf("Detach took %v", took)
	} else {
		t.Logf("Detach took %v", took)
	}
	if err != nil || results[0].Missing || len(results[0].Unset) > 0 {
		t.Errorf("Detach: got %+v, error %v", results, err)
	}
	if _, err := Inspect(context.Background(), w.pod, p.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("Inspect afterwards: got error %v", err)
	}
	w.Host.Same(w.hostBefore, "the host")
}
