package driver

import (
	"context"
	"fmt"
	"net"
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
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), handlerTimeout)
	defer cancel()
	if unlock, err := d.store.Lock(last); err == nil {
		defer unlock()
	}
	conn.Close()
	return ctx.Err()
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
