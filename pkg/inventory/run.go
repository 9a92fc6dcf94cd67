package inventory

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	settle     = 100 * time.Millisecond // from a hint to the scan: a new link gets its addresses meanwhile
	spacing    = 900 * time.Millisecond // from scan to scan: a change is published within a second, a storm about once a second
	perLink    = 3 * time.Millisecond   // what spacing is at least for each link, since a scan and what it changes cost by the link
	rescan     = time.Minute            // Interval, if not set: sysfs changes without a hint
	retryFirst = 100 * time.Millisecond // waits after an error double from here …
	retryLast  = 30 * time.Second       // … to here
)

// RunConfig is what Run works with. Links and Watch are netdev's, as values.
type RunConfig struct {
	Links    func(context.Context) ([]netdev.Link, error)
	Watch    func(context.Context) (<-chan struct{}, error) // closed after the first change of links from now on, and when ctx ends
	Sys      fs.ReadLinkFS                                  // root of sysfs
	Options  func() Options                                 // asked for each scan; nil for none
	Interval time.Duration                                  // from scan to scan without a change; 0 for a minute
	OnError  func(error)                                    // called with what is being retried; may be nil
}

// Run scans and calls publish with all devices, those left out too: at once,
// and from then on whenever they differ from those published last. A change
// that Watch reports is published within a second, a storm of them about once
// a second, on a node with 1,000 links once in three. Links and Watch may fail for any time: they are tried again, and
// what was published stands. No scan is made while publish runs.
//
// Run returns when ctx ends, with its error.
func Run(ctx context.Context, c RunConfig, publish func([]Device)) error {
	c = c.withDefaults()
	var published []Device
	first, listing, watching := true, backoff{}, backoff{}
	for ctx.Err() == nil {
		started, wait := time.Now(), c.Interval
		// Watched first, listed then: no change is between the two.
		changed, unwatch, err := c.watch(ctx)
		if err != nil {
			wait = min(wait, watching.next())
			c.OnError(fmt.Errorf("watch links: %w", err))
		} else {
			watching = backoff{}
		}
		links, err := c.Links(ctx)
		if err != nil {
			wait = min(wait, listing.next())
			c.OnError(fmt.Errorf("list links: %w", err))
		} else {
			listing = backoff{}
			devices := Scan(links, c.Sys, c.Options())
			if first || !same(published, devices) {
				publish(devices)
				published, first = devices, false
			}
		}
		pause(ctx, changed, started.Add(max(spacing, time.Duration(len(links))*perLink)), wait)
		unwatch()
	}
	return ctx.Err()
}

func (c RunConfig) withDefaults() RunConfig {
	if c.Options == nil {
		c.Options = func() Options { return Options{} }
	}
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	if c.Interval == 0 {
		c.Interval = rescan
	}
	c.Interval = max(c.Interval, spacing)
	return c
}

// watch is Watch, and a function that ends it and waits until it has ended.
// While the links cannot be watched, changed is nil and never closed.
func (c RunConfig) watch(ctx context.Context) (changed <-chan struct{}, unwatch func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	changed, err = c.Watch(ctx)
	if err != nil {
		cancel()
		return nil, func() {}, err
	}
	return changed, func() { cancel(); <-changed }, nil
}

// pause waits until the next scan is due: after wait, or after a change and the
// time it takes to settle, but then not before earliest.
func pause(ctx context.Context, changed <-chan struct{}, earliest time.Time, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-changed:
		sleep(ctx, max(settle, time.Until(earliest)))
	}
}

// backoff is a wait that doubles.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, retryFirst), retryLast)
	return b.last
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
