package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	// recordVersion is the only version of records that the hook knows: what it
	// does not understand proves nothing, so it refuses the others.
	recordVersion = 2

	claimLocks = "locks"               // directory with the claims' locks, beside that of the records
	grace      = 2 * time.Second       // after a deadline, for the driver to record the end of an attach
	longest    = 90 * time.Second      // that the hook waits in all, whatever the records say
	lookAgain  = 20 * time.Millisecond // while no driver is at work on the claim
)

// record is what the hook needs of a record; see pkg/allocation.
type record struct {
	Version int `json:"version"`
	Record  struct {
		Device struct {
			Link struct {
				Name string `json:"name"`
			} `json:"link"`
		} `json:"device"`
		Attachment *struct {
			Sandbox struct {
				Cookie uint64 `json:"cookie"`
			} `json:"sandbox"`
			ID       netdev.Ident `json:"id"`
			Deadline time.Time    `json:"deadline"`
			InPod    *struct {
				State struct {
					Name string `json:"name"`
				}
			} `json:"inPod"`
		} `json:"attachment"`
		Condition struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"condition"`
	} `json:"record"`
}

// why returns what went wrong with the interface, if that is recorded.
func (r record) why() string {
	if c := r.Record.Condition; strings.HasSuffix(c.Reason, "Failed") {
		return ": " + c.Message
	}
	return ""
}

// errOnTheWay is the answer for an interface that the driver is about to move
// into the container's network namespace.
var errOnTheWay = errors.New("it is still on its way into this pod")

// check returns nil once the interfaces of all records are in the container's
// network namespace; otherwise the record of the first that is not, and why.
func check(container state, records []string) (refused string, err error) {
	end := time.Now().Add(longest) // one for all of them
	if container.PID <= 0 {
		return records[0], fmt.Errorf("the container's state has pid %d, want that of its first process", container.PID)
	}
	ns, err := netdev.Open(fmt.Sprintf("/proc/%d/ns/net", container.PID))
	if err != nil {
		return records[0], err
	}
	defer ns.Close()
	return awaitAll(ns, records, end)
}

// awaitAll is await for one record after the other.
func awaitAll(ns *netdev.NetNS, records []string, end time.Time) (refused string, err error) {
	for _, path := range records {
		if err := await(ns, path, end); err != nil {
			return path, err
		}
	}
	return "", nil
}

// await checks the interface of a record, and again while it is on its way, but
// not after end. Once the deadline of the attach has passed no driver begins to
// work on it any more: then only one that is at work is waited for.
func await(ns *netdev.NetNS, path string, end time.Time) error {
	for waited := false; ; waited = true {
		deadline, err := checkOne(ns, path)
		now, last := time.Now(), deadline.Add(grace)
		if last.After(end) {
			last = end
		}
		if !errors.Is(err, errOnTheWay) || !now.Before(last) || waited && !now.Before(deadline) {
			return err
		}
		awaitDriver(path, last)
	}
}

// checkOne returns nil if the interface of a record is in the namespace, and
// errOnTheWay, with the time until when the driver tries, if it is to be.
func checkOne(ns *netdev.NetNS, path string) (deadline time.Time, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return deadline, fmt.Errorf("the claim's network device is not prepared: %w", err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return deadline, fmt.Errorf("read record %s: %w", path, err)
	}
	if r.Version != recordVersion {
		return deadline, fmt.Errorf("record %s is of version %d, this hook (%s) knows %d: driver and hook are from different releases", path, r.Version, version, recordVersion)
	}
	a := r.Record.Attachment
	switch {
	case a == nil || a.Sandbox.Cookie != ns.Cookie() || a.InPod == nil && a.Deadline.IsZero():
		return deadline, fmt.Errorf("interface %s was not moved into this pod's network namespace%s", r.Record.Device.Link.Name, r.why())
	case a.InPod == nil:
		return a.Deadline, fmt.Errorf("interface %s was not moved into this pod's network namespace in time: %w", r.Record.Device.Link.Name, errOnTheWay)
	}
	if index, err := ns.IndexByName(a.InPod.State.Name); err == nil && index == a.ID.PodIndex {
		return deadline, nil
	}
	// A container of the pod may have renamed it.
	if _, err := netdev.Inspect(context.Background(), ns, a.ID); err != nil {
		return deadline, fmt.Errorf("interface %s is not in this pod's network namespace: %w", r.Record.Device.Link.Name, err)
	}
	return deadline, nil
}

// awaitDriver waits until the interfaces of the record's claim may be elsewhere:
// until the process that moves them is done, or a moment if there is none, as
// while the driver is away, but not after end. The lock ends with its process,
// however that ends.
func awaitDriver(path string, end time.Time) {
	claim, _, _ := strings.Cut(filepath.Base(path), "_")
	f, err := os.Open(filepath.Join(filepath.Dir(filepath.Dir(path)), claimLocks, claim))
	if err == nil {
		if err = flock(f, unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
			awaitLock(f, end)
			return
		}
		f.Close() // which unlocks it
	}
	time.Sleep(min(lookAgain, time.Until(end)))
}

// awaitLock waits until the lock is free, but not after end, and closes f.
// To wait in the kernel wakes sooner than to look again and again.
func awaitLock(f *os.File, end time.Time) {
	done := make(chan struct{})
	go func() { // ends with the lock's holder, or with the program
		defer close(done)
		defer f.Close() // which unlocks it
		flock(f, unix.LOCK_SH)
	}()
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// flock is flock(2), which a signal to the process may interrupt.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
