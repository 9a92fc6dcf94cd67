package attachment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

const (
	freeAttempts = 2                // attaches that may fail for one reason before further ones wait
	attemptPause = 30 * time.Second // from then on, between two of them
)

// attempts remembers the attaches that failed, so that a link is not moved into
// a pod and back at each of the kubelet's retries. It is of one instance of the
// driver: another one tries twice by itself. A success, or a failure for
// another reason, begins anew. It is safe for use by several goroutines.
type attempts struct {
	now func() time.Time

	mu     sync.Mutex // guards failed
	failed map[attempt]failure
}

// attempt is an attach of a claim's links to a pod: what one pod fails at is no
// other pod's fault.
type attempt struct{ claimUID, podUID string }

// failure is the last failed one.
type failure struct {
	err    error
	reason string // of err, the same in each sandbox
	times  int    // that it failed for this reason
	next   time.Time
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, failed: map[attempt]failure{}}
}

// wait returns an error while it is too early to try one of them again.
func (t *attempts) wait(all []allocation.Record, s allocation.Sandbox) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range all {
		if f := t.failed[attempt{a.Claim.UID, s.PodUID}]; t.now().Before(f.next) {
			return f.later()
		}
	}
	return nil
}

// later is the failure's error, with the time of the next attempt.
func (f failure) later() error {
	return fmt.Errorf("%w; failed %d times, tried again after %s", f.err, f.times, f.next.UTC().Format(time.TimeOnly+" MST"))
}

// note notes how the attach to the pod's sandbox ended and returns its error,
// with the time of the next attempt if that is not at once.
func (t *attempts) note(all []allocation.Record, s allocation.Sandbox, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := err
	seen := map[attempt]bool{} // a claim may have several devices
	for _, a := range all {
		this := attempt{a.Claim.UID, s.PodUID}
		switch {
		case err == nil:
			delete(t.failed, this)
			continue
		case seen[this] || errors.Is(err, errHostNetwork): // which moves nothing
			continue
		}
		seen[this] = true
		f := failure{err: err, reason: reasonOf(err, s), times: 1}
		if last := t.failed[this]; last.reason == f.reason {
			f.times = last.times + 1
		}
		if f.times >= freeAttempts {
			f.next = t.now().Add(attemptPause)
			out = f.later()
		}
		t.failed[this] = f
	}
	return out
}

// forget forgets a claim that is gone.
func (t *attempts) forget(claimUID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.failed, func(a attempt, _ failure) bool { return a.claimUID == claimUID })
}

// changing is what an error for the same reason may have otherwise next time.
var changing = regexp.MustCompile(`[0-9.]+[mµn]?s\b|index [0-9]+`)

// reasonOf returns an error's text without what differs between two sandboxes.
func reasonOf(err error, s allocation.Sandbox) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded.Error()
	}
	text := err.Error()
	for _, own := range []string{s.NetNS, s.ID} {
		if own != "" {
			text = strings.ReplaceAll(text, own, "")
		}
	}
	return changing.ReplaceAllString(text, "")
}
