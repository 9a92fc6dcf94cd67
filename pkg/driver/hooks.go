package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/klog/v2"
)

const (
	// patience is how long a runtime waits for a hook: NRI's default, for a
	// runtime that does not say.
	handlerTimeout = 2 * time.Second
	// answerTime is kept of that for the answer.
	handlerMargin = 200 * time.Millisecond
)

// hooks is the driver as the container runtime sees it. It implements the
// stub's interfaces of the events in the package comment.
type hooks struct {
	*Driver
	synchronized chan struct{}
}

// act runs f, which touches links, with the book held by lock. It returns before the
// runtime loses patience, whatever becomes of f: the kernel makes a request
// wait for as long as others hold its lock (RTNL), and the runtime takes a
// hook that is late for one that did its work. f goes on by itself then, finds
// its context ended, and brings home what it moved.
func (h *hooks) act(ctx context.Context, lock func(context.Context) (func(), error), f func(context.Context) error) error {
	deadline, _ := ctx.Deadline() // inTime has set one
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-handlerMargin))
	done := make(chan error, 1)
	go func() { // ends when the kernel has answered
		defer cancel()
		unlock, err := lock(ctx)
		if err != nil {
			done <- err
			return
		}
		defer unlock()
		done <- f(ctx)
	}()
	<-ctx.Done()
	select {
	case err := <-done:
		return err
	default:
		klog.FromContext(ctx).Error(ctx.Err(), "A hook's time is up: the kernel is busy, or another instance is")
		return fmt.Errorf("the links cannot be moved in time, the kernel or the driver is busy: %w", ctx.Err())
	}
}

// Synchronize implements the stub's interface. It must return at once: the
// runtime waits for it before it starts another pod. The list says nothing
// that could be relied on: a pod may be missing because its shim is slow to
// answer, or because it is being made.
func (h *hooks) Synchronize(ctx context.Context, pods []*api.PodSandbox, _ []*api.Container) ([]*api.ContainerUpdate, error) {
	h.connected.Store(true)
	h.greet()
	select {
	case h.synchronized <- struct{}{}:
	default:
	}
	klog.FromContext(ctx).Info("The container runtime is connected", "pods", len(pods))
	return nil, nil
}

// RunPodSandbox implements the stub's interface: an error fails the pod.
func (h *hooks) RunPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	if len(h.store.OfPod(pod.Uid)) == 0 {
		return nil
	}
	ctx, cancel := inTime(ctx, pod)
	defer cancel()
	return h.act(ctx, h.store.Lock, func(ctx context.Context) error {
		return h.attach(ctx, pod, h.store.OfPod(pod.Uid))
	})
}

// StopPodSandbox implements the stub's interface.
func (h *hooks) StopPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return h.endSandbox(ctx, pod)
}

// RemovePodSandbox implements the stub's interface. It does what
// StopPodSandbox does, which may not have been called.
func (h *hooks) RemovePodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return h.endSandbox(ctx, pod)
}

func (h *hooks) endSandbox(ctx context.Context, pod *api.PodSandbox) error {
	all := h.store.InSandbox(pod.Id)
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := inTime(ctx, pod)
	defer cancel()
	lock := func(ctx context.Context) (func(), error) { return h.lockToDetach(ctx, all) }
	// The pod may end in any case: the book knows what is left to do.
	if err := h.act(ctx, lock, func(ctx context.Context) error {
		return h.detach(ctx, h.store.InSandbox(pod.Id), netnsPath(pod))
	}); err != nil {
		klog.FromContext(ctx).Error(err, "The pod ends, its links are brought home later")
	}
	return nil
}

// netnsPath returns the path of the pod's network namespace, or "" for a pod
// that uses the host's.
func netnsPath(pod *api.PodSandbox) string {
	for _, ns := range pod.GetLinux().GetNamespaces() {
		if ns.Type == "network" {
			return ns.Path
		}
	}
	return ""
}

// inTime returns the hook's context with a deadline in any case, and with the
// pod in its logger.
func inTime(ctx context.Context, pod *api.PodSandbox) (context.Context, context.CancelFunc) {
	logger := klog.FromContext(ctx).WithValues("pod", klog.KRef(pod.Namespace, pod.Name), "podUID", pod.Uid, "sandbox", pod.Id)
	ctx = klog.NewContext(ctx, logger)
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, handlerTimeout)
}

var errHostNetwork = errors.New("the pod uses the host's network (hostNetwork: true), into which no link can be moved")
