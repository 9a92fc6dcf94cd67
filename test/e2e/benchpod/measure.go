package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	settle = 200 * time.Millisecond // for what the kubelet and the runtime do after the end of a pod

	// Once in this time the kubelet looks at all pods. It does not end a pod
	// before it has seen it so since its last change: pods run for longer. And
	// the next pod starts at a moment that does not depend on the last look.
	kubeletPeriod = time.Second
)

// bench is a node and the API server, both watched.
type bench struct {
	options
	api   *api
	links *board[linkNames] // of the node
	pods  *board[phases]
	pid   string // of the node's init: its /proc leads to the node's files and network
	count int    // of pods so far
}

// newBench starts to watch a cluster, and adds its versions to versions.
func newBench(ctx context.Context, o options, versions map[string]string) (*bench, error) {
	b := &bench{options: o}
	var pids [2]string
	for i, set := range []string{"control-plane", o.node} {
		text, err := os.ReadFile(filepath.Join(o.state, set+".pid"))
		if err != nil {
			return nil, err
		}
		pids[i], _, _ = strings.Cut(string(text), " ")
	}
	b.pid = pids[1]
	var err error
	if b.api, err = newAPI(o.state, netOf(pids[0])); err != nil {
		return nil, err
	}
	if b.links, err = watchLinks(netOf(b.pid)); err != nil {
		return nil, err
	}
	if b.pods, err = b.api.watchPods(ctx); err != nil {
		return nil, err
	}
	type node struct {
		Status struct {
			NodeInfo struct{ KubeletVersion, ContainerRuntimeVersion string }
		}
	}
	n, err := get[node](ctx, b.api, "/api/v1/nodes/"+o.node)
	versions["Kubernetes"] = n.Status.NodeInfo.KubeletVersion
	versions["runtime"] = n.Status.NodeInfo.ContainerRuntimeVersion
	return b, err
}

func netOf(pid string) string { return filepath.Join("/proc", pid, "ns/net") }

// measure starts a pod and deletes it, and returns when all is as it was. What
// keeps a pod from running is in the sample; an error ends the benchmark.
func (b *bench) measure(ctx context.Context, v variant, round int) (sample, error) {
	s := sample{variant: v, Round: round}
	b.count++
	name := fmt.Sprintf("bench-%d", b.count)
	before := veths(view(b.links, linkNames.set))
	if v.Kind == byClaim {
		if err := b.until(ctx, "the node offering the links", func() error { return b.offered(ctx, v) }); err != nil {
			return s, err
		}
		if err := b.api.create(ctx, claimPath, v.claim(name)); err != nil {
			return s, err
		}
	}
	if err := b.start(ctx, name, &s); err != nil {
		return s, err
	}
	if err := b.stop(ctx, name, before, &s); err != nil {
		return s, err
	}
	if v.Kind == byClaim {
		if err := b.api.remove(ctx, claimPath, name); err != nil {
			return s, err
		}
		if err := b.until(ctx, "the end of the claim", func() error { return b.claimGone(ctx, name) }); err != nil {
			return s, err
		}
	}
	time.Sleep(settle + rand.N(kubeletPeriod))
	return s, nil
}

// start takes the time until a pod runs.
func (b *bench) start(ctx context.Context, name string, s *sample) error {
	running := b.pods.expect(func(p phases) bool { return p[name] == "Running" })
	start := time.Now()
	if err := b.api.create(ctx, podsPath, s.pod(name)); err != nil {
		return err
	}
	at, err := b.wait(ctx, running, "the pod running")
	if err != nil {
		s.Failure = b.explain(ctx, name, err)
		return nil
	}
	s.RunningMS = ms(at.Sub(start))
	if err := b.check(s.variant); err != nil {
		s.Failure = err.Error()
	}
	time.Sleep(b.hold)
	return nil
}

// stop takes the times until the node has the links of a pod again, has no
// more of the pod's own, and the pod is gone.
func (b *bench) stop(ctx context.Context, name string, before map[string]bool, s *sample) error {
	asBefore := func(l linkNames) bool { return hasAll(l.set(), s.links()) && maps.Equal(veths(l.set()), before) }
	ends := []struct {
		what string
		ms   *float64
		wait func(context.Context, string) (time.Time, error)
	}{
		{"the return of the pod's links", &s.RestoredMS, b.links.expect(func(l linkNames) bool { return hasAll(l.set(), s.links()) })},
		{"the end of the pod's veth pair", &s.AsBeforeMS, b.links.expect(asBefore)},
		{"the end of the pod", &s.GoneMS, b.pods.expect(func(p phases) bool { return p[name] == "" })},
	}
	start := time.Now()
	if err := b.api.remove(ctx, podsPath, name); err != nil {
		return err
	}
	for _, end := range ends {
		at, err := b.wait(ctx, end.wait, end.what)
		if err != nil {
			return err
		}
		*end.ms = max(0, ms(at.Sub(start))) // what a plain pod does not have was there before
	}
	// Of a pod that did not run, the links may have been on the node by chance.
	_, err := b.wait(ctx, b.links.expect(asBefore), "the return of the pod's links")
	return err
}

// wait ends one waiting after the time limit.
func (b *bench) wait(ctx context.Context, wait func(context.Context, string) (time.Time, error), what string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return wait(ctx, what)
}

// until tries f until it returns nil. It polls: not while time is taken.
func (b *bench) until(ctx context.Context, what string, f func() error) error {
	for end := time.Now().Add(b.timeout); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not happen: %w", what, err)
		}
	}
}

// offered reports whether the driver publishes the links of a pod.
func (b *bench) offered(ctx context.Context, v variant) error {
	type list struct {
		Items []struct {
			Spec struct{ Devices []struct{ Name string } }
		}
	}
	slices, err := get[list](ctx, b.api, slicePath)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, s := range slices.Items {
		for _, d := range s.Spec.Devices {
			names[d.Name] = true
		}
	}
	if !hasAll(names, v.links()) {
		return fmt.Errorf("there are %d devices in %d ResourceSlices", len(names), len(slices.Items))
	}
	return nil
}

func (b *bench) claimGone(ctx context.Context, name string) error {
	switch _, err := get[object](ctx, b.api, claimPath+"/"+name); err {
	case errNotFound:
		return nil
	case nil:
		return fmt.Errorf("%s is there", name)
	default:
		return err
	}
}

// check reports what the one running pod lacks of its interfaces.
func (b *bench) check(v variant) error {
	if left := view(b.links, linkNames.set); v.NICs > 0 && slices.ContainsFunc(v.links(), func(name string) bool { return left[name] }) {
		return fmt.Errorf("the pod runs, but the node still has some of its links")
	}
	found, err := filepath.Glob(filepath.Join("/proc", b.pid, "root/run/netns/*"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("there are network namespaces of %d pods, want 1: %v", len(found), err)
	}
	got, err := inNetNS(found[0], podLinks)
	if err != nil {
		return err
	}
	for i := range v.NICs {
		if want := fmt.Sprintf("mtu %d, %s", podMTU, podAddress(i+1)); got[podLink(i+1)] != want {
			return fmt.Errorf("%s in the pod has %q, want %q", podLink(i+1), got[podLink(i+1)], want)
		}
	}
	return nil
}

// podLinks describes the links of the caller's network namespace by their MTU
// and their IPv4 addresses.
func podLinks() (map[string]string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("mtu %d", link.MTU)
		for _, a := range addresses {
			if prefix, ok := a.(*net.IPNet); ok && prefix.IP.To4() != nil {
				text += ", " + prefix.String()
			}
		}
		all[link.Name] = text
	}
	return all, nil
}

// explain returns why a pod does not run: the last warning that there is.
func (b *bench) explain(ctx context.Context, pod string, err error) string {
	type list struct {
		Items []struct{ Type, Message string }
	}
	events, listErr := get[list](ctx, b.api, eventPath+"?fieldSelector=involvedObject.name="+pod)
	if listErr != nil {
		return err.Error()
	}
	text := err.Error()
	for _, e := range events.Items {
		if e.Type == "Warning" {
			text = e.Message
		}
	}
	return text
}

func hasAll(set map[string]bool, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !set[name] })
}

// veths are the names of the host's ends of the pods' own interfaces.
func veths(set map[string]bool) map[string]bool {
	ends := map[string]bool{}
	for name := range set {
		if strings.HasPrefix(name, "veth") {
			ends[name] = true
		}
	}
	return ends
}
