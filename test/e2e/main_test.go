//go:build e2e

// Package e2e tests the driver on a real cluster, which it starts, with the means
// of a user and an administrator: kubectl, the chart and commands on the nodes.
//
// Tests run one after the other and use the same names for NICs and objects, so
// each test removes what it created. Environment variables:
//
//	E2E_KEEP=1       keep the cluster after the tests and print its directory
//	E2E_CLUSTER=DIR  use the cluster with this CLUSTER_STATE, and keep it
//	CLUSTER=kind     use the running kind cluster, and keep it
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/dhcptest"
)

const (
	nodeCount      = 2
	statusInterval = "1s" // short, so that tests need not wait for statistics
)

// root is the directory of the repository.
var root = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

func TestMain(m *testing.M) {
	if link := os.Getenv(dhcp6Link); link != "" {
		fmt.Fprintln(os.Stderr, dhcptest.Run6(link, leased6, lease6))
		os.Exit(1)
	}
	if node := os.Getenv(gpuNode); node != "" {
		if err := runGPUDriver(node); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run installs the driver on a cluster and runs the tests.
func run(m *testing.M) (code int, err error) {
	end, err := cluster()
	if err != nil {
		return 1, err
	}
	defer func() {
		if endErr := end(); endErr != nil && err == nil {
			err = endErr
		}
	}()
	start := time.Now()
	if out, err := exec.Command("make", "-C", root, "--no-print-directory", "install", "HELM_FLAGS=--values="+filepath.Join(root, "test/e2e/values.yaml")+" --set statusInterval="+statusInterval).CombinedOutput(); err != nil {
		return 1, fmt.Errorf("make install: %w\n%s", err, out)
	}
	fmt.Printf("e2e: the driver was installed in %.1f s\n", time.Since(start).Seconds())
	vanish()
	return m.Run(), nil
}

// cluster starts a cluster unless one is given, and returns a function that ends it.
func cluster() (end func() error, err error) {
	nothing := func() error { return nil }
	if os.Getenv("CLUSTER") == "kind" {
		return nothing, nil
	}
	state := os.Getenv("E2E_CLUSTER")
	keep := state != "" || os.Getenv("E2E_KEEP") == "1"
	if state == "" {
		state = "/tmp/dn-e2e-" + strconv.Itoa(os.Getpid())
	}
	os.Setenv("CLUSTER_STATE", state)
	end = nothing
	if keep {
		fmt.Printf("e2e: the cluster is kept; CLUSTER_STATE=%s\n", state)
	} else if end, err = janitor(); err != nil {
		return nil, err
	}
	if out, err := exec.Command(filepath.Join(root, "test/cluster/up"), strconv.Itoa(nodeCount)).CombinedOutput(); err != nil {
		end()
		return nil, fmt.Errorf("start the cluster: %w\n%s", err, out)
	}
	return end, nil
}

// janitor starts a process that ends the cluster when this process has ended,
// also by a signal, a panic or the time limit of go test: its standard input is
// closed then. The returned function ends the cluster at once and waits for that.
func janitor() (end func() error, err error) {
	c := exec.Command("sh", "-c", `cat; exec "$0"`, filepath.Join(root, "test/cluster/down"))
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not reached by the terminal's Ctrl-C
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	alive, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() error {
		alive.Close()
		if err := c.Wait(); err != nil {
			return fmt.Errorf("end the cluster: %w", err)
		}
		return nil
	}, nil
}
