// Package nstest gives tests their own network namespaces and compares complete
// snapshots of them. It hides threads and file descriptors; a namespace ends
// with its test. Snapshots are read with ip(8), so that a test does not check
// the project's netlink code with that same code.
package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// NS is a fresh network namespace with lo down and nothing else.
type NS struct {
	// Path is a file of the namespace that can be opened while the test runs.
	Path string
	t    testing.TB
	file *os.File
}

// New makes a namespace, in which IPv6 addresses are usable at once (no duplicate
// address detection). Without root, which namespaces need, it skips the test.
func New(t testing.TB) *NS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	n := &NS{t: t}
	if err := away(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			n.file, err = os.Open(own)
		}
		return err
	}, func() {}); err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() { n.file.Close() })
	n.Path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
	n.Run("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")
	return n
}

// Close releases the namespace before the test ends.
func (n *NS) Close() { n.file.Close() }

// Do runs f on a thread in the namespace and waits for it.
func (n *NS) Do(f func()) {
	n.t.Helper()
	if err := away(func() error { return unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET) }, f); err != nil {
		n.t.Fatalf("enter network namespace: %v", err)
	}
}

// own is the network namespace of the calling thread.
const own = "/proc/thread-self/ns/net"

// away runs f on a thread that enter has moved to another namespace, and moves
// the thread back. Otherwise the process's first thread, which never ends, could
// keep that namespace alive.
func away(enter func() error, f func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		before, err := os.Open(own)
		if err != nil {
			done <- err
			return
		}
		if err = enter(); err == nil {
			f()
		}
		if unix.Setns(int(before.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		before.Close()
		done <- err
	}()
	return <-done
}

// Run runs a command in the namespace and returns its output. An error ends the
// test.
func (n *NS) Run(command string) string {
	n.t.Helper()
	out, err := n.Try(command)
	if err != nil {
		n.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// Try is Run for commands that may fail.
func (n *NS) Try(command string) (string, error) {
	return n.command(strings.Fields(command)...)
}

func (n *NS) command(words ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"--net=" + n.Path, "--"}, words...)...).CombinedOutput()
	return string(out), err
}

// Lines runs each line as a command.
func (n *NS) Lines(commands string) {
	n.t.Helper()
	for line := range strings.Lines(commands) {
		if line = strings.TrimSpace(line); line != "" {
			n.Run(line)
		}
	}
}

// shows are the commands whose output makes up a snapshot.
var shows = []string{
	"ip -details address show",
	"ip -oneline -4 route show table all",
	"ip -oneline -6 route show table all",
	"ip neighbor show nud permanent",
	"ip rule show",
	"ip -6 rule show",
	"tc qdisc show",
}

// fleeting matches what changes by itself and is removed from snapshots.
var fleeting = regexp.MustCompile(` tentative| optimistic|expires \d+sec ?|-cpu \d+`)

const title = "# "

// Snapshot returns all links, addresses, routes, neighbors, rules and qdiscs.
func (n *NS) Snapshot() string {
	n.t.Helper()
	var script strings.Builder
	for _, show := range shows {
		fmt.Fprintf(&script, "echo '%s%s'; %s;", title, show, show)
	}
	out, err := n.command("sh", "-c", script.String())
	if err != nil {
		n.t.Fatalf("read namespace: %v\n%s", err, out)
	}
	var all []string
	for _, section := range strings.Split(fleeting.ReplaceAllString(out, ""), title)[1:] {
		lines := strings.Split(strings.TrimSpace(section), "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		if strings.Contains(lines[0], " route ") || strings.Contains(lines[0], " qdisc ") {
			// Routes with the same destination, and qdiscs, are listed in the order
			// in which their links last changed.
			slices.Sort(lines[1:])
		}
		all = append(all, lines...)
	}
	return strings.Join(all, "\n")
}

// settleTime is how long the kernel may take to update a link's operational
// state.
const settleTime = 4 * time.Second

// Same fails the test unless the namespace equals the snapshot, now or within
// settleTime. what names the namespace in the error.
func (n *NS) Same(want, what string) {
	n.t.Helper()
	var got string
	for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		if got = n.Snapshot(); got == want {
			return
		}
	}
	n.t.Errorf("%s has changed (-before +now):\n%s", what, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
}

// Settled returns a snapshot when nothing has changed for over a second.
func (n *NS) Settled() string {
	n.t.Helper()
	last, since := n.Snapshot(), time.Now()
	for end := time.Now().Add(settleTime); time.Now().Before(end) && time.Since(since) < 1200*time.Millisecond; time.Sleep(250 * time.Millisecond) {
		if s := n.Snapshot(); s != last {
			last, since = s, time.Now()
		}
	}
	return last
}

// HoldRTNL holds the kernel's RTNL lock for d, so that all requests that change a
// link, in any namespace, wait (see holdrtnl). The test does not end before that.
func HoldRTNL(t testing.TB, d time.Duration) {
	t.Helper()
	holdRTNL(t, "-for", d.String())
}

// SlowRTNL holds the lock for d, again and again with a pause between two times,
// until stop is called or the test ends: the kernel serves one or a few requests
// in each pause.
func SlowRTNL(t testing.TB, d, pause time.Duration) (stop func()) {
	t.Helper()
	return holdRTNL(t, "-for", d.String(), "-pause", pause.String())
}

// holdRTNL returns when the lock is held, with what ends the program and waits
// for its end.
func holdRTNL(t testing.TB, flags ...string) (stop func()) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "holdrtnl")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/dra-netdev/dra-netdev/internal/nstest/holdrtnl").CombinedOutput(); err != nil {
		t.Fatalf("build holdrtnl: %v\n%s", err, out)
	}
	c := exec.Command(program, flags...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("holdrtnl: %v", err)
		}
	})
	t.Cleanup(stop)
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		t.Fatalf("holdrtnl: %v", err)
	}
	time.Sleep(20 * time.Millisecond) // from its output to its system call
	return stop
}

// Batch runs the lines as one batch of ip(8).
func (n *NS) Batch(lines string) {
	n.t.Helper()
	c := exec.Command("nsenter", "--net="+n.Path, "--", "ip", "-batch", "-")
	c.Stdin = strings.NewReader(lines)
	if out, err := c.CombinedOutput(); err != nil {
		n.t.Fatalf("ip -batch: %v\n%s", err, out)
	}
}
