package driver

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"k8s.io/klog/v2"
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

// runtimeConnection is the connection to the container runtime (NRI).
type runtimeConnection struct {
	socket   string
	handlers *handlers

	connected atomic.Bool   // the runtime calls our handlers
	firstSync chan struct{} // closed when it has first done so
	synced    func()        // closes firstSync
}

func newRuntimeConnection(socket string, h *handlers) *runtimeConnection {
	c := &runtimeConnection{socket: socket, handlers: h, firstSync: make(chan struct{})}
	c.synced = sync.OnceFunc(func() { close(c.firstSync) })
	return c
}

// serve keeps a connection to the container runtime until ctx ends.
func (c *runtimeConnection) serve(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithName("nri")
	wait := retryMin
	for ctx.Err() == nil {
		err := c.connect(ctx)
		served := c.connected.Swap(false)
		if ctx.Err() != nil {
			break
		}
		if served {
			wait = retryMin
		}
		logger.Info("Not connected to the container runtime; will retry", "retryAfter", wait, "reason", fmt.Sprint(err))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMax)
	}
	return ctx.Err()
}

// connect serves one connection to its end.
func (c *runtimeConnection) connect(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: retryMax}).DialContext(ctx, "unix", c.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	synchronized := make(chan struct{})
	p := &nriPlugin{c.handlers, sync.OnceFunc(func() {
		c.connected.Store(true)
		c.synced()
		close(synchronized)
	})}
	s, err := stub.New(p, stub.WithPluginName(pluginName), stub.WithPluginIdx(pluginIndex), stub.WithConnection(conn),
		stub.WithLogger(nriLogger{klog.FromContext(ctx).WithName("nri")}),
		// A runtime that knows failure policies fails a pod whose handler was
		// late, instead of starting it without its interface.
		stub.WithFailurePolicy(&api.FailurePolicy{FailRequest: true, KeepConnected: true}))
	if err != nil {
		return fmt.Errorf("make NRI stub: %w", err)
	}
	// The stub may hang in its handshake for ever, holding its own lock. It is
	// left alone then: its connection is closed, and nothing else is its.
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.WithoutCancel(ctx)) }() // a handler is not cut off by our end
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(handshake):
		return fmt.Errorf("the runtime has not answered in %v", handshake)
	case <-synchronized:
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// Handlers under way finish, and no further one begins. An answer on its way
	// is lost; then the pod is asked for again.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), handlerTimeout)
	defer cancel()
	defer c.handlers.pause(last)()
	conn.Close()
	return ctx.Err()
}

// nriPlugin is what the runtime calls: the stub finds its handlers by name. It
// has no method that is not one.
type nriPlugin struct {
	h            *handlers
	synchronized func()
}

// Synchronize implements the stub's interface. It must return at once: the
// runtime waits for it before it starts another pod. The list proves nothing:
// a pod may be missing because its shim is slow to answer, or because it is
// being made.
func (p *nriPlugin) Synchronize(ctx context.Context, pods []*api.PodSandbox, _ []*api.Container) ([]*api.ContainerUpdate, error) {
	p.synchronized()
	klog.FromContext(ctx).Info("Connected to the container runtime", "pods", len(pods))
	return nil, nil
}

// RunPodSandbox implements the stub's interface: an error fails the pod.
func (p *nriPlugin) RunPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return p.h.runSandbox(ctx, pod)
}

// StopPodSandbox implements the stub's interface.
func (p *nriPlugin) StopPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return p.h.endSandbox(ctx, pod)
}

// RemovePodSandbox implements the stub's interface. It does what
// StopPodSandbox does, which may not have been called.
func (p *nriPlugin) RemovePodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return p.h.endSandbox(ctx, pod)
}

// CreateContainer implements the stub's interface.
func (p *nriPlugin) CreateContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	adjustment, err := p.h.createContainer(ctx, pod, c)
	if err != nil {
		err = fmt.Errorf("container %s: %w", c.Name, err)
	}
	return adjustment, nil, err
}

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
