// Package node tests one node without a cluster: the built driver as a process
// of its own, between the kubelet's own DRA manager and plugin manager, the
// runtime's own NRI and CDI code, and a real API server. What a cluster adds,
// test/e2e has; here a case takes seconds, and the moment at which something
// breaks can be chosen.
//
// It is a module of its own because the kubelet's packages are not for import:
// k8s.io/kubernetes names its staging libraries by replace directives.
package node

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"k8s.io/klog/v2"
)

const (
	inNode = "DRA_NETDEV_TEST_NODE" // set in the process that runs the tests
	kubeIn = "DRA_NETDEV_TEST_KUBE" // where etcd and kube-apiserver are
)

// master is the API server of all tests.
var master *apiServer

// programs is the directory of what was built from this repository. All else
// that the tests put on disk is below it.
var programs string

// TestMain runs the tests in network, mount and process namespaces of their
// own: the API server has the loopback for itself, mounts are nobody else's,
// and all processes end with this one, however it ends.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // each test says that it needs root
	}
	run := outside
	if os.Getenv(inNode) != "" {
		run = inside
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// outside runs this program again in namespaces of its own. What needs the
// machine's network, to download modules, is done before.
func outside(*testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "dra-netdev-node")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-trimpath", "-tags=grpcnotrace", "-ldflags=-s -w", "-o", dir, "./cmd/...")
	build.Dir = "../.."
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("build the driver: %w", err)
	}
	cluster := exec.Command("../cluster/build")
	cluster.Stderr = os.Stderr
	kube, err := cluster.Output()
	if err != nil {
		return 1, fmt.Errorf("build the API server: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return 1, err
	}
	self := exec.Command("unshare", append([]string{"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private", "--", exe}, os.Args[1:]...)...)
	self.Env = append(os.Environ(), inNode+"="+dir, kubeIn+"="+filepath.Join(strings.TrimSpace(string(kube)), "bin"))
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	return 0, self.Run()
}

func inside(m *testing.M) (int, error) {
	programs = os.Getenv(inNode)
	logrus.SetOutput(io.Discard) // the runtime's own messages
	klog.SetLogger(klog.Logger{})
	if err := exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
		return 1, fmt.Errorf("ip link set lo up: %w", err)
	}
	var err error
	if err := startEtcd(filepath.Join(programs, "etcd")); err != nil {
		return 1, err
	}
	if master, err = startAPIServer(filepath.Join(programs, "api"), 6443); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
