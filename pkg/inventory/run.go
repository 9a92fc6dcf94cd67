package inventory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	settle     = 100 * time.Millisecond // from a hint to the scan: a new link gets its addresses meanwhile
	spacing    = 900 * time.Millisecond // from scan to scan: a change is published within a second, a storm about once a second
	rescan     = time.Minute            // Interval, if not set: sysfs changes without a hint
	retryFirst = 100 * time.Millisecond // waits after an error double from here …
	retryLast  = 30 * time.Second       // … to here
)

// RunConfig is what Run works with. Links and Watch are netdev's, as values.
type RunConfig struct {
	Links    func(context.Context) ([]netdev.Link, error)
	Watch    func(context.Context) (<-chan struct{}, error) // a hint that links changed; closed when it ends
	Sys      fs.ReadLinkFS                                  // root of sysfs
	Options  func() Options                                 // asked for each scan; nil for none
	Interval time.Duration                                  // from scan to scan without a hint; 0 for a minute
	OnError  func(error)                                    // told of what is being retried, from two goroutines; may be nil
}

// Run scans and calls publish with all devices, those left out too: at once,
// and from then on whenever they differ from those published last. A change
// that Watch hints at is published within a second, a storm of them about once
// a second. Links and Watch may fail for any time: they are tried again, and
// what was published stands. No scan is made while publish runs.
//
// Run returns when ctx ends, with its error, after its goroutine has ended.
func Run(ctx context.Context, c RunConfig, publish func([]Device)) error {
	c = c.withDefaults()
	hints := make(chan struct{}, 1)
	var watching sync.WaitGroup
	watching.Go(func() { c.watch(ctx, hints) })
	defer watching.Wait()

	var published []Device
	first, retry := true, backoff{}
	for ctx.Err() == nil {
		started, wait := time.Now(), c.Interval
		drain(hints)
		links, err := c.Links(ctx)
		if err != nil {
			wait = min(retry.next(), c.Interval)
			c.OnError(fmt.Errorf("list links: %w", err))
		} else {
			retry = backoff{}
			devices := Scan(links, c.Sys, c.Options())
			if first || !same(published, devices) {
				publish(devices)
				published, first = devices, false
			}
		}
		pause(ctx, hints, started, wait)
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

// pause waits until the next scan is due: after wait, or after a hint and the
// time it takes to settle, but not too soon after the last scan began.
func pause(ctx context.Context, hints <-chan struct{}, started time.Time, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-hints:
		sleep(ctx, max(settle, time.Until(started.Add(spacing))))
	}
}

// watch passes hints on until ctx ends, and opens the watch again when it
// breaks.
func (c RunConfig) watch(ctx context.Context, hints chan<- struct{}) {
	retry := backoff{}
	for ctx.Err() == nil {
		opened := time.Now()
		err := c.follow(ctx, hints)
		if ctx.Err() != nil {
			return
		}
		if time.Since(opened) > retryLast {
			retry = backoff{}
		}
		c.OnError(fmt.Errorf("watch links: %w", err))
		sleep(ctx, retry.next())
	}
}

// follow opens the watch once and returns when it ends. What happened before
// it was open has gone unseen, so that is a hint too.
func (c RunConfig) follow(ctx context.Context, hints chan<- struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := c.Watch(ctx)
	if err != nil {
		return err
	}
	for {
		select {
		case hints <- struct{}{}:
		default: // one is waiting already
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-events:
			if !open {
				return errors.New("the kernel's event stream ended")
			}
		}
	}
}

// backoff is a wait that doubles.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, retryFirst), retryLast)
	return b.last
}

// drain forgets a hint that the scan about to start will follow.
func drain(hints <-chan struct{}) {
	select {
	case <-hints:
	default:
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
