//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	driverLabel  = "app.kubernetes.io/name=dra-netdev"
	poll         = 100 * time.Millisecond
	commandLimit = 90 * time.Second // of one command; longer than kubectl's own timeouts
	podLimit     = 30 * time.Second // until a pod runs or is deleted
)

// command runs a program of the repository and returns its standard output. An
// error contains its standard error.
func command(stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(root, name), args...)
	inGroup(c)
	var out, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &stderr
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out.String(), nil
}

// inGroup makes a cancelled command end together with its child processes, since
// most commands are shell scripts.
func inGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
}

func tryKubectl(args ...string) (string, error) { return command("", "test/cluster/kubectl", args...) }

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryNode(node string, args ...string) (string, error) {
	return command("", "test/cluster/node", append([]string{node}, args...)...)
}

func onNode(t *testing.T, node string, args ...string) string {
	t.Helper()
	out, err := tryNode(node, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// get returns the object, or the list of objects, that kubectl get prints.
func get[T any](args ...string) (T, error) {
	var object T
	out, err := tryKubectl(append([]string{"get", "-o", "json"}, args...)...)
	if err != nil {
		return object, err
	}
	return object, json.Unmarshal([]byte(out), &object)
}

func mustGet[T any](t *testing.T, args ...string) T {
	t.Helper()
	object, err := get[T](args...)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// eventually calls f until it returns nil, and returns how long that took. The
// test fails if it takes longer than limit.
func eventually(t *testing.T, limit time.Duration, what string, f func() error) time.Duration {
	t.Helper()
	for start := time.Now(); ; {
		err := f()
		took := time.Since(start)
		switch {
		case err == nil && took <= limit:
			return took
		case took > limit:
			t.Fatalf("%s: took %v, limit %v; last seen: %v", what, took.Round(time.Millisecond), limit, err)
		}
		time.Sleep(poll)
	}
}

// apply creates objects and deletes them at the end of the test.
func apply(t *testing.T, manifest string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := command(manifest, "test/cluster/kubectl", "delete", "-f", "-", "--ignore-not-found", "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
	explainFailure(t)
	if _, err := command(manifest, "test/cluster/kubectl", "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// nothingLeft returns an error that names the pods and claims that still exist.
func nothingLeft() error {
	out, err := tryKubectl("get", "pods,resourceclaims", "-o", "name")
	if err == nil && out != "" {
		err = fmt.Errorf("still found %q", strings.Fields(out))
	}
	return err
}

// example applies a file of examples/ unchanged.
func example(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, string(text))
}

// ready waits until a pod runs.
func ready(t *testing.T, pod string) {
	t.Helper()
	kubectl(t, "wait", "--for=condition=Ready", "--timeout="+podLimit.String(), "pod/"+pod)
}

// deletePod deletes a pod and waits for the end of it.
func deletePod(t *testing.T, pod string, flags ...string) {
	t.Helper()
	kubectl(t, append([]string{"delete", "pod", pod, "--timeout=" + podLimit.String()}, flags...)...)
}

// pods returns the pods with a label, except those that are being deleted.
func pods(t *testing.T, namespace, label string) []corev1.Pod {
	t.Helper()
	var live []corev1.Pod
	for _, p := range mustGet[corev1.PodList](t, "pods", "--namespace="+namespace, "--selector="+label).Items {
		if p.DeletionTimestamp == nil {
			live = append(live, p)
		}
	}
	return live
}

// stream collects the output of a running command.
type stream[T any] struct {
	mu   sync.Mutex // guards seen
	seen []T
}

// all returns the items collected so far.
func (s *stream[T]) all() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]T(nil), s.seen...)
}

// follow starts a command and collects its output as items, which the function
// returned by next reads, until the test ends or reading fails.
func follow[T any](t *testing.T, next func(io.Reader) func() (T, error), name string, args ...string) *stream[T] {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, filepath.Join(root, name), args...)
	inGroup(c)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s, done := &stream[T]{}, make(chan struct{})
	go func() { // ends with the command
		defer close(done)
		for read := next(out); ; {
			item, err := read()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.seen = append(s.seen, item)
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		c.Wait()
	})
	return s
}

// watch collects each state of objects that the API server reports.
func watch[T any](t *testing.T, args ...string) *stream[T] {
	t.Helper()
	next := func(r io.Reader) func() (T, error) {
		d := json.NewDecoder(r)
		return func() (object T, err error) { return object, d.Decode(&object) }
	}
	return follow(t, next, "test/cluster/kubectl", append([]string{"get", "--watch", "-o", "json"}, args...)...)
}

// explained are the failed tests for which explainFailure has printed the state.
var explained = map[string]bool{}

// explainFailure prints the state of the cluster once if the test has failed. It
// runs before the cleanups that were registered earlier.
func explainFailure(t *testing.T) {
	t.Cleanup(func() {
		if !t.Failed() || explained[t.Name()] {
			return
		}
		explained[t.Name()] = true
		for _, args := range [][]string{
			{"describe", "pods"},
			{"get", "events", "--sort-by=.metadata.creationTimestamp"},
			{"get", "resourceclaims,resourceslices", "-o", "yaml", "--show-managed-fields=false"},
			{"logs", "--namespace=dra-netdev", "--selector=" + driverLabel, "--prefix", "--tail=60"},
		} {
			out, err := tryKubectl(args...)
			t.Logf("--- kubectl %s\n%s", strings.Join(args, " "), last(out, 12000))
			if err != nil {
				t.Log(err)
			}
		}
		for _, node := range []string{"n1", "n2"} {
			out, err := tryNode(node, "ip", "-details", "address")
			t.Logf("--- %s: ip address\n%s", node, last(out, 8000))
			if err != nil {
				t.Log(err)
			}
		}
	})
}

// last returns the last n bytes of s.
func last(s string, n int) string { return s[max(0, len(s)-n):] }
