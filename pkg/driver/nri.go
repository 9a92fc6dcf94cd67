package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
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
		started := time.Now()
		err := d.connectNRI(ctx)
		d.connected.Store(false)
		if ctx.Err() != nil {
			break
		}
		if time.Since(started) > time.Minute {
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
	go func() { ended <- s.Run(ctx) }()
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
		return ctx.Err()
	}
}

// Synchronize implements the stub's interface. It must return at once: the
// runtime waits for it before it starts another pod. The list says nothing
// that could be relied on: a pod may be missing because its shim is slow to
// answer, or because it is being made.
func (h *hooks) Synchronize(ctx context.Context, pods []*api.PodSandbox, _ []*api.Container) ([]*api.ContainerUpdate, error) {
	h.connected.Store(true)
	select {
	case h.synchronized <- struct{}{}:
	default:
	}
	klog.FromContext(ctx).Info("The container runtime is connected", "pods", len(pods))
	return nil, nil
}

// RunPodSandbox implements the stub's interface: an error fails the pod.
func (h *hooks) RunPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	all := h.book.OfPod(pod.Uid)
	if len(all) == 0 {
		return nil
	}
	h.moves.Lock()
	defer h.moves.Unlock()
	return h.attach(podContext(ctx, pod), pod, h.book.OfPod(pod.Uid))
}

// CreateContainer implements the stub's interface: a container that was
// promised a link is refused unless the link is in its sandbox. Where the
// sandbox was made while the hooks were not connected the link is attached
// now, before the container exists.
func (h *hooks) CreateContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	links := promised(c.Env)
	if len(links) == 0 {
		return nil, nil, nil
	}
	h.moves.Lock()
	defer h.moves.Unlock()
	for _, want := range links {
		found := h.book.Find(func(a allocation.Allocation) bool { return a.Claim.UID == want[0] && a.Device.Name == want[1] })
		if len(found) == 0 {
			return nil, nil, fmt.Errorf("container %s: device %s of claim %s is not prepared", c.Name, want[1], want[0])
		}
		switch a := found[0]; {
		case a.Attached != nil && a.Sandbox == pod.Id:
		case a.Before == nil && a.For(pod.Uid):
			if err := h.attach(podContext(ctx, pod), pod, h.book.OfPod(pod.Uid)); err != nil {
				return nil, nil, err
			}
		case a.Before == nil:
			// A second pod on the claim gets no Prepare. Whether it may have
			// the link is the claim's word, not that of an environment which
			// the user can write; the kubelet asks again.
			go h.askForPods(context.WithoutCancel(ctx), a) // ends by itself
			return nil, nil, fmt.Errorf("container %s: claim %s/%s was not reserved for this pod when it was prepared: looking again", c.Name, a.Claim.Namespace, a.Claim.Name)
		default:
			return nil, nil, fmt.Errorf("container %s: link %s of claim %s/%s is not in this pod: another pod has it", c.Name, a.Device.Link.Name, a.Claim.Namespace, a.Claim.Name)
		}
	}
	return nil, nil, nil
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
	h.moves.Lock()
	defer h.moves.Unlock()
	h.detach(ctx, h.book.InSandbox(pod.Id), netnsPath(pod))
	return nil // the pod may end in any case: the book knows what is left to do
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
