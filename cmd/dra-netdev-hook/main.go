// Command dra-netdev-hook is the last guard of a pod: an OCI createRuntime
// hook (runtime-spec, config.md) that fails a container unless the interfaces
// of its claim are in its network namespace, and waits while they are on their
// way. It guards also when the driver is away, when NRI is off, and when the
// runtime dropped the driver's handlers.
//
// It is a program of its own, and small, because it runs for every container
// with an interface: it takes 3 ms, the driver's binary takes 40 ms and more.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// version is set by the linker: the packages that know one are too big.
var version = "unknown"

// paths are the values of a flag that may be repeated.
type paths []string

// String implements flag.Value.
func (p *paths) String() string { return fmt.Sprint([]string(*p)) }

// Set implements flag.Value.
func (p *paths) Set(path string) error {
	*p = append(*p, path)
	return nil
}

func main() {
	var records paths
	flag.Var(&records, "record", "allocation record of an interface that the container must have; may be repeated")
	printVersion := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *printVersion {
		fmt.Println("dra-netdev-hook", version)
		return
	}
	if err := run(os.Stdin, records...); err != nil {
		fmt.Fprintf(os.Stderr, "dra-netdev: %v\n", err)
		os.Exit(1)
	}
}

// run checks the container, and leaves a file for the driver if it is refused.
func run(stdin io.Reader, records ...string) error {
	if len(records) == 0 {
		return errors.New("--record: is required")
	}
	var container state
	err := json.NewDecoder(io.LimitReader(stdin, maxState)).Decode(&container)
	refused := records[0]
	if err != nil {
		err = fmt.Errorf("read the container's state: %w", err)
	} else {
		leaveMark(container, records[0])
		refused, err = check(container, records)
	}
	if err == nil || !filepath.IsAbs(refused) {
		return err
	}
	if left := leave(container, refused, err.Error()); left != nil {
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
