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

	claimLocks = "locks"                // directory with the claims' locks, beside that of the records
	grace      = 2 * time.Second        // after a deadline, for the driver to record the end of an attach
	longest    = 90 * time.Second       // that the hook waits, whatever a record says
	lookAgain  = 20 * time.Millisecond  // while nobody attaches what is on its way
	lockPoll   = 500 * time.Microsecond // while somebody does
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
	if container.PID <= 0 {
		return records[0], fmt.Errorf("the container's state has pid %d, want that of its first process", container.PID)
	}
	ns, err := netdev.Open(fmt.Sprintf("/proc/%d/ns/net", container.PID))
	if err != nil {
		return records[0], err
	}
	defer ns.Close()
	for _, path := range records {
		if err := await(ns, path, time.Now().Add(longest)); err != nil {
			return path, err
		}
	}
	return "", nil
}

// await checks the interface of a record, and again while it is on its way, but
// not after end.
func await(ns *netdev.NetNS, path string, end time.Time) error {
	for {
		deadline, err := checkOne(ns, path)
		if !errors.Is(err, errOnTheWay) || time.Now().After(end) || time.Now().After(deadline.Add(grace)) {
			return err
		}
		busy := awaitDriver(path, deadline.Add(grace))
		if !busy { // the driver is away, or about to begin
			time.Sleep(lookAgain)
		}
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

// awaitDriver waits until nobody moves interfaces of the record's claim, but
// not after end, and reports whether somebody did. The lock ends with the
// process that holds it, however that ends.
func awaitDriver(path string, end time.Time) (busy bool) {
	claim, _, _ := strings.Cut(filepath.Base(path), "_")
	f, err := os.Open(filepath.Join(filepath.Dir(filepath.Dir(path)), claimLocks, claim))
	if err != nil {
		return false
	}
	defer f.Close() // which unlocks it
	for time.Now().Before(end) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return busy
		}
		busy = true
		time.Sleep(lockPoll)
	}
	return busy
}
