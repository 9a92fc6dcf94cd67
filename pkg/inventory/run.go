package inventory

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	settle     = 30 * time.Millisecond  // from a change to the scan: a new link gets its addresses meanwhile, or leaves for a container
	spacing    = 900 * time.Millisecond // least time between two scans: a change is published within a second
	perLink    = 3 * time.Millisecond   // least time between two scans for each link, because a scan costs time per link
	rescan     = time.Minute            // default of Interval: most changes in sysfs are not reported
	retryFirst = 100 * time.Millisecond // first wait after an error; it doubles with each further one
	retryLast  = 30 * time.Second       // longest wait after an error
)

// RunConfig are the inputs of Run. Links and Watch are netdev.Links and
// netdev.Watch, or replacements for tests.
type RunConfig struct {
	Links    func(context.Context) ([]netdev.Link, error)
	Watch    func(context.Context) (<-chan struct{}, error) // its channel is closed at the next change of links, and when ctx ends
	Sys      fs.ReadLinkFS                                  // root of sysfs
	Options  func() Options                                 // called for each scan; nil for none
	Interval time.Duration                                  // between two scans when nothing changes; 0 for a minute
	OnError  func(error)                                    // called with each error that is retried; may be nil
}

// Run scans and calls publish with all devices, including those that are not
// offered: once at the start, then whenever they differ from those published
// last. A change that Watch reports is published within a second. While links
// change all the time it scans about once a second, or every three seconds on a
// node with 1,000 links. If Links or Watch fails, Run retries and keeps what was
// published. It does not scan while publish runs.
//
// Run returns when ctx ends, with the error of ctx.
func Run(ctx context.Context, c RunConfig, publish func([]Device)) error {
	c = c.withDefaults()
	var published []Device
	first, listing, watching := true, backoff{}, backoff{}
	for ctx.Err() == nil {
		started, wait := time.Now(), c.Interval
		// It watches before it lists, so that it misses no change in between.
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

// watch calls Watch and also returns a function that ends it and waits for its
// end. If links cannot be watched, changed is nil, which never becomes ready.
func (c RunConfig) watch(ctx context.Context) (changed <-chan struct{}, unwatch func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	changed, err = c.Watch(ctx)
	if err != nil {
		cancel()
		return nil, func() {}, err
	}
	return changed, func() { cancel(); <-changed }, nil
}

// pause waits until the next scan is due: after wait, or settle after a change,
// but in that case not before earliest.
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

// backoff is a wait that doubles with each error.
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
