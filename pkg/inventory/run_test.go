package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// host is a fake of the kernel for Run: a change of its links ends the watches.
type host struct {
	mu        sync.Mutex // guards all fields below while Run runs; not needed after synctest.Wait
	links     []netdev.Link
	listing   func() // called while the links are listed, with mu held; may be nil
	linksErr  error
	watchErr  error
	watches   map[chan struct{}]bool // the open ones
	opened    int
	listed    []time.Duration
	published []time.Duration
	last      []Device
	errs      []string
	start     time.Time
	interval  time.Duration
	opts      Options
}

// run starts Run in a synctest bubble, calls then, and checks what Run returns.
func (h *host) run(t *testing.T, then func()) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h.start, h.watches = time.Now(), map[chan struct{}]bool{}
		done := make(chan error)
		go func() {
			done <- Run(ctx, RunConfig{Links: h.list, Watch: h.watch, Sys: fstest.MapFS{}, Interval: h.interval,
				Options: func() (opts Options) { h.do(func() { opts = h.opts }); return opts },
				OnError: func(err error) { h.do(func() { h.errs = append(h.errs, err.Error()) }) }}, h.publish)
		}()
		synctest.Wait()
		then()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want %v", err, context.Canceled)
		}
		if len(h.watches) != 0 {
			t.Errorf("%d watches are still open after Run has returned", len(h.watches))
		}
	})
}

func (h *host) do(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *host) list(context.Context) ([]netdev.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listed = append(h.listed, time.Since(h.start))
	listed := slices.Clone(h.links)
	if h.listing != nil {
		h.listing()
	}
	return listed, h.linksErr
}

// watch is like netdev.Watch: the channel is closed once.
func (h *host) watch(ctx context.Context) (<-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened++
	if h.watchErr != nil {
		return nil, h.watchErr
	}
	changed := make(chan struct{})
	h.watches[changed] = true
	context.AfterFunc(ctx, func() { h.do(func() { h.end(changed) }) })
	return changed, nil
}

// end is called with mu held.
func (h *host) end(changed chan struct{}) {
	if h.watches[changed] {
		delete(h.watches, changed)
		close(changed)
	}
}

func (h *host) publish(devs []Device) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.published = append(h.published, time.Since(h.start))
	h.last = devs
}

// change calls f, which changes the links, and ends all open watches.
func (h *host) change(f func()) {
	h.do(func() {
		f()
		for changed := range h.watches {
			h.end(changed)
		}
	})
	synctest.Wait()
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRunPublishesAtOnce(t *testing.T) {
	h := &host{interval: time.Hour}
	h.run(t, func() {
		if len(h.published) != 1 || h.published[0] != 0 || len(h.last) != 0 {
			t.Errorf("published at %v: %v; want an empty list at 0", h.published, h.last)
		}
		after(10 * time.Second)
		if len(h.published) != 1 {
			t.Errorf("published at %v, though nothing changed", h.published)
		}
	})
}

func TestRunLatency(t *testing.T) {
	// Long after a scan, right after one, and in between.
	for _, pause := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond, 899 * time.Millisecond, 10 * time.Second} {
		t.Run(pause.String(), func(t *testing.T) {
			h := &host{interval: time.Hour, links: []netdev.Link{link(2, "eth0")}}
			h.run(t, func() {
				after(10*time.Second + 250*time.Millisecond)
				h.change(func() { h.links[0].MTU = 9000 })
				after(settle + pause)
				at := time.Since(h.start)
				h.change(func() { h.links[0].MTU = 1400 })
				after(time.Second)
				last := h.published[len(h.published)-1]
				if mtu := *h.last[0].Attributes["mtu"].IntValue; mtu != 1400 || last-at >= time.Second {
					t.Errorf("changed at %v, published at %v with MTU %d; want 1400 within a second", at, h.published, mtu)
				}
			})
		})
	}
}

// TestRunSettles checks that a new link is published once, with the address that
// it gets shortly after it appeared.
func TestRunSettles(t *testing.T) {
	h := &host{interval: time.Hour}
	h.run(t, func() {
		after(5 * time.Second)
		h.change(func() { h.links = append(h.links, link(2, "eth0")) })
		after(20 * time.Millisecond)
		h.change(func() { addresses("192.0.2.1/24")(&h.links[0]) })
		after(5 * time.Second)
		if len(h.published) != 2 || *h.last[0].Attributes["ipv4"].StringValue != "192.0.2.1/24" {
			t.Errorf("published at %v, last %v; want twice, the second with the address", h.published, h.last)
		}
	})
}

func TestRunStorm(t *testing.T) {
	h := &host{interval: time.Hour, links: []netdev.Link{link(2, "eth0")}}
	h.run(t, func() {
		for range 6000 { // a minute
			h.change(func() { h.links[0].MTU++ })
			time.Sleep(10 * time.Millisecond)
		}
		after(time.Second)
		if n := len(h.published); n < 55 || n > 69 {
			t.Errorf("%d publications in a minute of 6000 changes; want about one a second", n)
		}
		if len(h.listed) > 69 {
			t.Errorf("%d scans in a minute", len(h.listed))
		}
		if got, want := *h.last[0].Attributes["mtu"].IntValue, int64(h.links[0].MTU); got != want {
			t.Errorf("published MTU %d, want the last, %d", got, want)
		}
	})
}

// TestRunStormOfMany checks that a node with many links, where a scan costs more,
// scans less often while links change all the time, and still publishes the
// first change after a quiet time within a second.
func TestRunStormOfMany(t *testing.T) {
	h := &host{interval: time.Hour}
	for i := range 1000 {
		h.links = append(h.links, link(2+i, fmt.Sprintf("x%d", i)))
	}
	h.run(t, func() {
		after(10 * time.Second)
		at := time.Since(h.start)
		h.change(func() { h.links[0].MTU++ })
		after(time.Second)
		if last := h.published[len(h.published)-1]; last < at || last-at >= time.Second {
			t.Errorf("changed at %v, published at %v; want within a second", at, h.published)
		}
		for range 300 { // half a minute
			h.change(func() { h.links[0].MTU++ })
			time.Sleep(100 * time.Millisecond)
		}
		after(3 * time.Second)
		if n := len(h.listed); n < 10 || n > 14 {
			t.Errorf("%d scans in half a minute of changes to 1 of 1,000 links; want one in three seconds", n)
		}
		if got, want := *h.last[0].Attributes["mtu"].IntValue, int64(h.links[0].MTU); got != want {
			t.Errorf("published MTU %d, want the last, %d", got, want)
		}
	})
}

// TestRunMissesNothing checks that a change made while the links are listed, and
// missing in that list, is published by the next scan.
func TestRunMissesNothing(t *testing.T) {
	h := &host{interval: time.Hour, links: []netdev.Link{link(2, "eth0")}}
	h.listing = func() { // each list is outdated when it is returned
		if h.links[0].MTU < 1505 {
			h.links[0].MTU++
			for changed := range h.watches {
				h.end(changed)
			}
		}
	}
	h.run(t, func() {
		after(10 * time.Second)
		if mtu := *h.last[0].Attributes["mtu"].IntValue; mtu != 1505 {
			t.Errorf("published MTU %d at %v, want the last, 1505", mtu, h.published)
		}
	})
}

func TestRunUnchanged(t *testing.T) {
	h := &host{interval: 5 * time.Second, links: []netdev.Link{link(2, "eth0")}}
	h.run(t, func() {
		for range 100 {
			h.change(func() { h.links[0].Statistics.RxBytes += 1500 })
			after(time.Second)
		}
		if len(h.published) != 1 || len(h.listed) < 90 {
			t.Errorf("published at %v in %d scans; want once: changed counters are no difference", h.published, len(h.listed))
		}
		h.change(func() { h.opts.Filter = mustFilter(t, "false") })
		after(time.Second)
		if len(h.published) != 2 {
			t.Errorf("published at %v; want a second time: a link is no longer offered", h.published)
		}
	})
}

func TestRunRescans(t *testing.T) {
	h := &host{interval: 30 * time.Second, links: []netdev.Link{link(2, "eth0")}}
	h.run(t, func() {
		after(5 * time.Second)
		h.do(func() { h.links[0].Alias = "unseen" }) // not reported
		after(31 * time.Second)
		if len(h.published) != 2 {
			t.Errorf("published at %v; want a second time by the interval", h.published)
		}
	})
}

func TestRunReopensWatch(t *testing.T) {
	h := &host{interval: time.Hour, watchErr: errors.New("no socket")}
	h.run(t, func() {
		after(time.Minute)
		if h.opened < 5 || h.opened > 12 || len(h.errs) != h.opened || !strings.Contains(h.errs[0], "watch links: no socket") {
			t.Errorf("opened %d times in a minute, errors %q; want some, with growing waits", h.opened, h.errs)
		}
		h.do(func() { h.watchErr, h.links = nil, append(h.links, link(2, "eth0")) })
		after(31 * time.Second)
		if len(h.published) != 2 {
			t.Fatalf("published at %v; want the change made while there was no watch", h.published)
		}
		after(time.Minute)
		h.change(func() { h.links = append(h.links, link(3, "eth1")) })
		after(time.Second)
		if len(h.published) != 3 {
			t.Errorf("published at %v; want again, within a second of a change", h.published)
		}
	})
}

func TestRunRetriesLinks(t *testing.T) {
	h := &host{interval: time.Hour, linksErr: errors.New("interrupted")}
	h.run(t, func() {
		after(10 * time.Second)
		if len(h.published) != 0 || len(h.errs) < 4 || len(h.errs) > 9 || h.errs[0] != "list links: interrupted" {
			t.Errorf("published at %v, errors %q; want none and some", h.published, h.errs)
		}
		h.do(func() { h.linksErr = nil })
		after(15 * time.Second)
		if len(h.published) != 1 {
			t.Errorf("published at %v; want once, an empty list", h.published)
		}
		h.change(func() { h.linksErr = errors.New("interrupted") })
		after(time.Minute)
		if len(h.published) != 1 {
			t.Errorf("published at %v; want no publication after an error", h.published)
		}
	})
}
