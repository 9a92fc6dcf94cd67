package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const inNode = "DRA_NETDEV_TEST_NODE" // set in the process that is the node

// Main runs a package's tests in network and mount namespaces of their own, for
// code that takes the process's network namespace for the host's. It is called
// by TestMain and does not return.
func Main(m *testing.M) {
	if os.Getenv(inNode) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	self := exec.Command("unshare", append([]string{"--net", "--mount", "--propagation=private", "--", exe}, os.Args[1:]...)...)
	self.Env = append(os.Environ(), inNode+"=1")
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := self.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Host runs commands, one a line, in the process's own namespace, which must be
// one of Main's. The first that fails fails the test.
func Host(t testing.TB, commands string) {
	t.Helper()
	for line := range strings.Lines(commands) {
		if f := strings.Fields(line); len(f) > 0 {
			if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
		}
	}
}

// Machine returns the network namespace of the machine's first process, to which
// the kernel gives hardware. It is for tests that have a machine of their own.
func Machine(t testing.TB) *NS {
	t.Helper()
	path := "/proc/1/ns/net"
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &NS{Path: path, t: t, file: file}
}
