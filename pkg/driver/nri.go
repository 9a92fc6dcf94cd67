package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

const (
	pluginName  = "dra-netdev"
	pluginIndex = "00" // the runtime asks no later plugin once one has failed
	retryMin    = 200 * time.Millisecond
	retryMax    = 5 * time.Second
	// handshake is how long the runtime may take from the connection to the
	// first Synchronize. The stub alone would wait for ever.
	handshake = 15 * time.Second
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

// serveNRI keeps a connection to the container runtime until ctx ends.
func (d *Driver) serveNRI(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithName("nri")
	wait := retryMin
	for ctx.Err() == nil {
		err := d.connectNRI(ctx)
		served := d.connected.Swap(false)
		if ctx.Err() != nil {
			break
		}
		if served {
			wait = retryMin
		}
		logger.Info("The container runtime is not connected, trying again", "after", wait, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMax)
	}
	return ctx.Err()
}

// connectNRI serves one connection to its end.
func (d *Driver) connectNRI(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: retryMax}).DialContext(ctx, "unix", d.cfg.NRISocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	h := &hooks{Driver: d, synchronized: make(chan struct{}, 1)}
	s, err := stub.New(h, stub.WithPluginName(pluginName), stub.WithPluginIdx(pluginIndex), stub.WithConnection(conn),
		stub.WithLogger(nriLogger{klog.FromContext(ctx).WithName("nri")}),
		// A runtime that knows failure policies fails a pod whose hook was
		// late, instead of starting it without its link.
		stub.WithFailurePolicy(&api.FailurePolicy{FailRequest: true, KeepConnected: true}))
	if err != nil {
		return fmt.Errorf("make NRI stub: %w", err)
	}
	// The stub may hang in its handshake for ever, holding its own lock. It is
	// left alone then: its connection is closed, and nothing else is its.
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.WithoutCancel(ctx)) }() // a hook is not cut off by our end
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(handshake):
		return fmt.Errorf("the runtime has not answered in %v", handshake)
	case <-h.synchronized:
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// No hook moves anything while the book is ours. One that waits for it, or
	// an answer on its way, is lost; then the pod is asked for again.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if unlock, err := d.book.Lock(last); err == nil {
		defer unlock()
	}
	conn.Close()
	return ctx.Err()
}

// act runs f, which touches links, with the book held. It returns before the
// runtime loses patience, whatever becomes of f: the kernel makes a request
// wait for as long as others hold its lock (RTNL), and the runtime takes a
// hook that is late for one that did its work. f goes on by itself then, finds
// its context ended, and brings home what it moved.
func (h *hooks) act(ctx context.Context, f func(context.Context) error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
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
	return h.act(podContext(ctx, pod), func(ctx context.Context) error {
		return h.attach(ctx, pod, h.book.OfPod(pod.Uid))
	})
}

// CreateContainer implements the stub's interface: no container of a pod
// begins without the pod's links, whether it names their claim or not. Where
// the sandbox was made while the hooks were not connected the links are
// attached now, before the container exists.
func (h *hooks) CreateContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	ctx = podContext(ctx, pod)
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

// owed returns the pod's allocations whose links are to come into this sandbox
// yet.
func (h *hooks) owed(pod *api.PodSandbox) []allocation.Allocation {
	return slices.DeleteFunc(h.book.OfPod(pod.Uid), func(a allocation.Allocation) bool {
		return a.Attached != nil && a.Sandbox == pod.Id || slices.Contains(a.Left, pod.Id)
	})
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
			if ok && !a.For(pod.Uid) && !slices.Contains(a.Left, pod.Id) {
				h.askForPods(context.WithoutCancel(ctx), a)
			}
		}
	}()
	select {
	case <-answered:
	case <-time.After(askPatience):
	}
}

// admit returns an error unless the promised links, and all others of the pod,
// are in the sandbox, or can be now. The caller holds the book.
func (h *hooks) admit(ctx context.Context, pod *api.PodSandbox, links [][2]string) error {
	for _, want := range links {
		a, ok := h.find(want[0], want[1])
		here := a.Attached != nil && a.Sandbox == pod.Id
		switch {
		case !ok:
			return fmt.Errorf("device %s of claim %s is not prepared", want[1], want[0])
		case slices.Contains(a.Left, pod.Id) && !here:
			return fmt.Errorf("link %s of claim %s/%s is in a newer sandbox of the pod", a.Device.Link.Name, a.Claim.Namespace, a.Claim.Name)
		case here || a.For(pod.Uid):
		case a.Attached != nil:
			return fmt.Errorf("link %s of claim %s/%s is not in this pod: another pod has it", a.Device.Link.Name, a.Claim.Namespace, a.Claim.Name)
		default:
			return fmt.Errorf("claim %s/%s is not known to be reserved for this pod", a.Claim.Namespace, a.Claim.Name)
		}
	}
	// What is still to come: the sandbox was made while the hooks were away,
	// and perhaps the pod's last one ended meanwhile.
	if owed := h.owed(pod); len(owed) > 0 {
		return h.attach(ctx, pod, owed)
	}
	return nil
}

// StopPodSandbox implements the stub's interface.
func (h *hooks) StopPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return h.endSandbox(podContext(ctx, pod), pod)
}

// RemovePodSandbox implements the stub's interface. It does what
// StopPodSandbox does, which may not have been called.
func (h *hooks) RemovePodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return h.endSandbox(podContext(ctx, pod), pod)
}

func (h *hooks) endSandbox(ctx context.Context, pod *api.PodSandbox) error {
	if len(h.book.InSandbox(pod.Id)) == 0 {
		return nil
	}
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

// podContext adds the pod to the context's logger.
func podContext(ctx context.Context, pod *api.PodSandbox) context.Context {
	logger := klog.FromContext(ctx).WithValues("pod", klog.KRef(pod.Namespace, pod.Name), "podUID", pod.Uid, "sandbox", pod.Id)
	return klog.NewContext(ctx, logger)
}

var errHostNetwork = errors.New("the pod uses the host's network (hostNetwork: true), into which no link can be moved")

// nriLogger writes the stub's messages to ours.
type nriLogger struct{ klog.Logger }

func (l nriLogger) Debugf(_ context.Context, format string, args ...any) {
	l.V(4).Info(fmt.Sprintf(format, args...))
}

func (l nriLogger) Infof(_ context.Context, format string, args ...any) {
	l.V(2).Info(fmt.Sprintf(format, args...))
}

func (l nriLogger) Warnf(_ context.Context, format string, args ...any) {
	l.Info(fmt.Sprintf(format, args...))
}

func (l nriLogger) Errorf(_ context.Context, format string, args ...any) {
	l.Error(nil, fmt.Sprintf(format, args...))
}
