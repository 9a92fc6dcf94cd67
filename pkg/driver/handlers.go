package driver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
)

const (
	// handlerTimeout is how long a runtime waits for a handler: NRI's default,
	// for a runtime that sets no deadline.
	handlerTimeout = 2 * time.Second
	// handlerMargin is kept of that for the answer.
	handlerMargin = 200 * time.Millisecond
	// apiTimeout is how much of a handler's time questions to the API server may
	// take.
	apiTimeout = 500 * time.Millisecond
	// pausePoll is how often pause looks whether the handlers have finished.
	pausePoll = 5 * time.Millisecond
)

// handlers answer the container runtime.
type handlers struct {
	engine       *attachment.Engine
	store        *allocation.Store
	specs        specs
	hooks        *seenHooks
	reservations *reservations
	metadata     metadataFiles

	running sync.RWMutex // read-locked by each handler
}

// pause waits until no handler runs, or ctx ends, and keeps further ones from
// running until the returned function is called.
func (h *handlers) pause(ctx context.Context) (resume func()) {
	for !h.running.TryLock() {
		select {
		case <-ctx.Done():
			return func() {}
		case <-time.After(pausePoll):
		}
	}
	return h.running.Unlock
}

// runSandbox begins to attach the interfaces of a new sandbox's pod.
func (h *handlers) runSandbox(ctx context.Context, pod *api.PodSandbox) error {
	if len(h.store.OfPod(pod.Uid)) == 0 {
		return nil
	}
	return h.withinDeadline(ctx, pod, func(ctx context.Context) error {
		return h.engine.Attach(ctx, sandboxOf(pod))
	})
}

// endSandbox begins to restore what a sandbox has. The pod may end in any
// case: the records say what is left to do.
func (h *handlers) endSandbox(ctx context.Context, pod *api.PodSandbox) error {
	if len(h.store.InSandbox(pod.Id)) == 0 {
		return nil
	}
	if err := h.withinDeadline(ctx, pod, func(ctx context.Context) error {
		h.engine.Detach(ctx, sandboxOf(pod))
		return nil
	}); err != nil {
		klog.FromContext(ctx).Error(err, "Failed to detach when the sandbox stopped; will retry", "pod", klog.KRef(pod.Namespace, pod.Name))
	}
	return nil
}

// createContainer lets no container of a pod begin without the pod's
// interfaces, whether it names their claim or not. Where they are on their way
// the runtime hook waits for them, if the container has it and this kind of
// runtime was seen to run it; otherwise the handler waits, and with it all other
// pods of the node.
//
// The environment is the user's to write, and as long as the user likes: it
// is bounded first, and the records are read once for all of it.
func (h *handlers) createContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) (adjustment *api.ContainerAdjustment, err error) {
	keys, err := parseDeviceEnv(c.Env)
	if err != nil {
		return nil, err
	}
	if h.specs.hooks(c) {
		h.hooks.expect(c.Id, pod.RuntimeHandler)
	}
	missing := func(r allocation.Record) bool { return r.ReservedFor(pod.Uid) && !r.AttachedTo(pod.Id) && !r.Released }
	if len(keys) == 0 && len(h.store.Find(missing)) == 0 {
		return nil, nil
	}
	all := h.store.All()
	err = h.withinDeadline(ctx, pod, func(ctx context.Context) error {
		h.refreshReservations(ctx, toRefresh(all, pod, keys))
		s := sandboxOf(pod)
		attaching, err := h.engine.Admit(ctx, s, keys)
		if err == nil && len(attaching) == 0 {
			err = h.metadata.refresh(keys)
		}
		if err != nil || len(attaching) == 0 {
			return err
		}
		if !h.hooks.seen(pod.RuntimeHandler) || movesNodes(attaching, keys) {
			return h.engine.Await(ctx, s)
		}
		adjustment = h.specs.guard(h.specs.unguarded(c, attaching))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if adjustment == nil {
		adjustment = replaceNodes(c, h.store.InSandbox(pod.Id), keys)
	}
	return adjustment, nil
}

// toRefresh returns a record of each claim among the keys' that may be reserved
// for the pod by now though no record says so: a second pod on a claim gets no
// Prepare. A claim of another namespace is never the pod's.
func toRefresh(all []allocation.Record, pod *api.PodSandbox, keys []allocation.Key) []allocation.Record {
	var found []allocation.Record
	seen := map[string]bool{}
	for _, r := range all {
		if slices.Contains(keys, r.Key()) && !seen[r.Claim.UID] && r.Claim.Namespace == pod.Namespace && !r.AttachedTo(pod.Id) && !r.ReservedFor(pod.Uid) {
			seen[r.Claim.UID] = true
			found = append(found, r)
		}
	}
	return found
}

// refreshReservations asks which pods the claims are reserved for, and waits
// for the answers as long as the handler has time. Only the claim decides
// whether the pod may have the interface, not an environment which the user can
// write.
func (h *handlers) refreshReservations(ctx context.Context, claims []allocation.Record) {
	deadline, _ := ctx.Deadline() // withinDeadline has set one
	timeout := time.NewTimer(min(apiTimeout, time.Until(deadline)/4))
	defer timeout.Stop()
	for _, answered := range h.reservations.refresh(context.WithoutCancel(ctx), claims) {
		select {
		case <-answered:
		case <-timeout.C:
			return
		}
	}
}

// withinDeadline runs f, with the pod in its logger. It returns before the
// runtime's timeout, even if f does not: the kernel makes a request wait for as
// long as others hold its lock (RTNL), and the runtime treats a late handler as
// a successful one. f goes on by itself then, with its context ended.
func (h *handlers) withinDeadline(ctx context.Context, pod *api.PodSandbox, f func(context.Context) error) error {
	logger := klog.FromContext(ctx).WithValues("pod", klog.KRef(pod.Namespace, pod.Name), "podUID", pod.Uid, "sandbox", pod.Id)
	ctx = klog.NewContext(ctx, logger)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(handlerTimeout)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-handlerMargin))
	done := make(chan error, 1)
	go func() { // ends when the kernel has answered
		defer cancel()
		h.running.RLock()
		defer h.running.RUnlock()
		done <- f(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	default:
		logger.Error(ctx.Err(), "Timed out waiting for the kernel or for the lock of an allocation")
		return fmt.Errorf("the interfaces cannot be moved in time, the kernel or the driver is busy: %w", ctx.Err())
	}
}

// sandboxOf returns what the engine wants to know of a pod's sandbox.
func sandboxOf(pod *api.PodSandbox) allocation.Sandbox {
	s := allocation.Sandbox{ID: pod.Id, PodUID: pod.Uid}
	for _, ns := range pod.GetLinux().GetNamespaces() {
		if ns.Type == "network" {
			s.NetNS = ns.Path
		}
	}
	return s
}
