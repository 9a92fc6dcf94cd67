// Command dra-netdev-hook is the last guard of a pod: an OCI createRuntime
// hook (runtime-spec, config.md) that fails a container unless the link that
// its claim promises is in its network namespace. It holds when the driver is
// away, when NRI is off, and when the runtime dropped our hooks.
//
// It is a program of its own, and small, because it runs for every container
// with a link: it takes 3 ms, the driver's binary takes 40 ms and more.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// version is set by the linker: the packages that know one are too big.
var version = "unknown"

func main() {
	record := flag.String("record", "", "record of the allocation in the driver's book")
	printVersion := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *printVersion {
		fmt.Println("dra-netdev-hook", version)
		return
	}
	if err := run(os.Stdin, *record); err != nil {
		fmt.Fprintf(os.Stderr, "dra-netdev: %v\n", err)
		os.Exit(1)
	}
}

// run checks the container, and leaves word for the driver if it is refused.
func run(stdin io.Reader, record string) error {
	var container state
	err := json.NewDecoder(io.LimitReader(stdin, maxState)).Decode(&container)
	if err != nil {
		err = fmt.Errorf("read the container's state: %w", err)
	} else {
		err = check(container, record)
	}
	if err == nil || !filepath.IsAbs(record) {
		return err
	}
	if left := leave(container, record, err.Error()); left != nil {
		err = fmt.Errorf("%w; the driver cannot report it: %w", err, left)
	}
	return err
}

// state is what the hook needs of the container's state (runtime-spec,
// runtime.md), which the runtime writes to its standard input.
type state struct {
	ID          string            `json:"id"`
	PID         int               `json:"pid"`
	Annotations map[string]string `json:"annotations"`
}

const maxState = 1 << 20 // bytes: a pod's annotations have 256 KiB at most

// recordVersion is the only version of records that the hook knows: what it
// does not understand proves nothing, so it refuses the others.
const recordVersion = 1

// record is what the hook needs of a record; see pkg/allocation.
type record struct {
	Version    int `json:"version"`
	Allocation struct {
		ID          netdev.Ident    `json:"id"`
		NetNSCookie uint64          `json:"netNSCookie"`
		Attached    json.RawMessage `json:"attached"`
	} `json:"allocation"`
}

// check returns nil if the link of the record is in the container's namespace.
func check(container state, path string) error {
	if container.PID <= 0 {
		return fmt.Errorf("the container's state has pid %d, want that of its first process", container.PID)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the claim's network device is not prepared: %w", err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read record %s: %w", path, err)
	}
	if r.Version != recordVersion {
		return fmt.Errorf("record %s is of version %d, this hook (%s) knows %d: the driver and its hook are not of one release", path, r.Version, version, recordVersion)
	}
	ns, err := netdev.Open(fmt.Sprintf("/proc/%d/ns/net", container.PID))
	if err != nil {
		return err
	}
	defer ns.Close()
	a := r.Allocation
	if len(a.Attached) == 0 || ns.Cookie() != a.NetNSCookie {
		return fmt.Errorf("link %s was not moved into this pod's network namespace", a.ID.Name)
	}
	if _, err := netdev.Inspect(context.Background(), ns, a.ID); err != nil {
		return fmt.Errorf("link %s is not in this pod's network namespace: %w", a.ID.Name, err)
	}
	return nil
}
