package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

const (
	// patience is how long a runtime waits for a hook: NRI's default, for a
	// runtime that does not say.
	patience = 2 * time.Second
	// answerTime is kept of that for the answer.
	answerTime = 200 * time.Millisecond
	// askPatience is how much of that a question to the API server may take.
	askPatience = 500 * time.Millisecond
)

// hooks is the driver as the container runtime sees it. It implements the
// stub's interfaces of the events in the package comment.
type hooks struct {
	*Driver
	synchronized chan struct{}
}

// act runs f, which touches links, with the book held. It returns before the
// runtime loses patience, whatever becomes of f: the kernel makes a request
// wait for as long as others hold its lock (RTNL), and the runtime takes a
// hook that is late for one that did its work. f goes on by itself then, finds
// its context ended, and brings home what it moved.
func (h *hooks) act(ctx context.Context, f func(context.Context) error) error {
	deadline, _ := ctx.Deadline() // inTime has set one
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-answerTime))
	done := make(chan error, 1)
	go func() { // ends when the kernel has answered
		defer cancel()
		unlock, err := h.book.Lock(ctx)
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
	if len(h.book.OfPod(pod.Uid)) == 0 {
		return nil
	}
	ctx, cancel := inTime(ctx, pod)
	defer cancel()
	return h.act(ctx, func(ctx context.Context) error {
		return h.attach(ctx, pod, h.book.OfPod(pod.Uid))
	})
}

// CreateContainer implements the stub's interface: no container of a pod
// begins without the pod's links, whether it names their claim or not. Where
// the sandbox was made while the hooks were not connected the links are
// attached now, before the container exists.
func (h *hooks) CreateContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	ctx, cancel := inTime(ctx, pod)
	defer cancel()
	links := promised(c.Env)
	if len(links) == 0 && len(h.owed(pod)) == 0 {
		return nil, nil, nil
	}
	h.askForPod(ctx, pod, links)
	return nil, nil, h.act(ctx, func(ctx context.Context) error {
		if err := h.admit(ctx, pod, links); err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
		return nil
	})
}

// owed returns the pod's allocations whose links are not in this sandbox.
func (h *hooks) owed(pod *api.PodSandbox) []allocation.Allocation {
	return slices.DeleteFunc(h.book.OfPod(pod.Uid), func(a allocation.Allocation) bool { return a.In(pod.Id) })
}

// askForPod asks for the pods of those claims that the book knows for others
// only: a second pod on a claim gets no Prepare. Whether it may have the link
// is the claim's word, not that of an environment which the user can write.
func (h *hooks) askForPod(ctx context.Context, pod *api.PodSandbox, links [][2]string) {
	answered := make(chan struct{})
	go func() { // ends by itself
		defer close(answered)
		for _, want := range links {
			a, ok := h.find(want[0], want[1])
			if ok && !a.In(pod.Id) && !a.For(pod.Uid) {
				h.askForPods(context.WithoutCancel(ctx), a)
			}
		}
	}()
	deadline, _ := ctx.Deadline() // inTime has set one
	select {
	case <-answered:
	case <-time.After(min(askPatience, time.Until(deadline)/4)):
	}
}

// admit returns an error unless the promised links, and all others of the pod,
// are in the sandbox, or can be now. The caller holds the book.
func (h *hooks) admit(ctx context.Context, pod *api.PodSandbox, links [][2]string) error {
	for _, want := range links {
		a, ok := h.find(want[0], want[1])
		switch {
		case !ok || a.Released:
			return fmt.Errorf("device %s of claim %s is not prepared", want[1], want[0])
		case a.In(pod.Id) || a.For(pod.Uid):
		case a.Attached != nil:
			return fmt.Errorf("link %s of claim %s/%s is not in this pod: another pod has it", a.Device.Link.Name, a.Claim.Namespace, a.Claim.Name)
		default:
			return fmt.Errorf("claim %s/%s is not known to be reserved for this pod", a.Claim.Namespace, a.Claim.Name)
		}
	}
	owed := h.owed(pod)
	for _, a := range owed {
		if slices.Contains(a.Left, pod.Id) || a.Attached != nil && a.PodUID == pod.Uid && lives(a) {
			return fmt.Errorf("link %s of claim %s/%s is in a newer sandbox of the pod", a.Device.Link.Name, a.Claim.Namespace, a.Claim.Name)
		}
	}
	if len(owed) == 0 {
		return nil
	}
	// The sandbox was made while the hooks were away, and perhaps the pod's
	// last one ended meanwhile.
	return h.attach(ctx, pod, owed)
}

// lives says whether the sandbox that has the link may be there still. Our own
// pin keeps the namespace, so it is the runtime's path that tells.
func lives(a allocation.Allocation) bool {
	ns, err := openNetNS(a.NetNS, a.NetNSCookie)
	if ns != nil {
		ns.Close()
	}
	return ns != nil || err != nil
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
	if len(h.book.InSandbox(pod.Id)) == 0 {
		return nil
	}
	ctx, cancel := inTime(ctx, pod)
	defer cancel()
	// The pod may end in any case: the book knows what is left to do.
	if err := h.act(ctx, func(ctx context.Context) error {
		return h.detach(ctx, h.book.InSandbox(pod.Id), netnsPath(pod))
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
	return context.WithTimeout(ctx, patience)
}

var errHostNetwork = errors.New("the pod uses the host's network (hostNetwork: true), into which no link can be moved")
