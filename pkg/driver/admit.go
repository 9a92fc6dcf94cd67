package driver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/nri/pkg/api"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

const (
	// maxPromised bounds the devices that a container's environment may name.
	// A claim has 32 at most (resourceapi.AllocationResultsMaxSize).
	maxDeviceEnv = 256
	// askPatience is how much of a hook's time questions to the API server may
	// take.
	apiTimeout = 500 * time.Millisecond
)

// CreateContainer implements the stub's interface: no container of a pod
// begins without the pod's links, whether it names their claim or not. Where
// the sandbox was made while the hooks were not connected the links are
// attached now, before the container exists.
//
// The environment is the user's to write, and as long as the user likes: it
// is bounded first, and the records are read once for all of it.
func (h *hooks) CreateContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	ctx, cancel := inTime(ctx, pod)
	defer cancel()
	links, err := parseDeviceEnv(c.Env)
	if err != nil {
		return nil, nil, fmt.Errorf("container %s: %w", c.Name, err)
	}
	known := snapshot(h.store.All())
	if len(links) == 0 && len(known.owed(pod)) == 0 {
		return nil, nil, nil
	}
	h.askForPod(ctx, pod, known.toAskFor(pod, links))
	return nil, nil, h.act(ctx, h.store.Lock, func(ctx context.Context) error {
		if err := h.admit(ctx, pod, links); err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
		return nil
	})
}

// snapshot is all records as they were at one moment.
type snapshot []allocation.Record

// find returns the allocation of a device to a claim.
func (s snapshot) find(d claimDevice) (a allocation.Record, found bool) {
	i := slices.IndexFunc(s, func(a allocation.Record) bool { return a.Claim.UID == d.claimUID && a.Device.Name == d.device })
	if i < 0 {
		return a, false
	}
	return s[i], true
}

// owed returns the pod's allocations whose links are not in this sandbox.
func (s snapshot) owed(pod *api.PodSandbox) []allocation.Record {
	var owed []allocation.Record
	for _, a := range s {
		if a.ReservedFor(pod.Uid) && !a.Released && !a.AttachedTo(pod.Id) {
			owed = append(owed, a)
		}
	}
	return owed
}

// toAskFor returns an allocation of each claim among the links' that may be
// reserved for the pod by now though no record says so: a second pod on a
// claim gets no Prepare. A claim of another namespace is never the pod's.
func (s snapshot) toAskFor(pod *api.PodSandbox, links []claimDevice) []allocation.Record {
	var ask []allocation.Record
	asked := map[string]bool{}
	for _, want := range links {
		a, found := s.find(want)
		if found && !asked[a.Claim.UID] && a.Claim.Namespace == pod.Namespace && !a.AttachedTo(pod.Id) && !a.ReservedFor(pod.Uid) {
			asked[a.Claim.UID] = true
			ask = append(ask, a)
		}
	}
	return ask
}

// askForPod asks for which pods those claims are reserved, and waits for the
// answers as long as the hook has time. Whether the pod may have the link is
// the claim's word, not that of an environment which the user can write.
func (h *hooks) askForPod(ctx context.Context, pod *api.PodSandbox, claims []allocation.Record) {
	deadline, _ := ctx.Deadline() // inTime has set one
	timeout := time.NewTimer(min(apiTimeout, time.Until(deadline)/4))
	defer timeout.Stop()
	for _, answered := range h.ask(context.WithoutCancel(ctx), claims) {
		select {
		case <-answered:
		case <-timeout.C:
			return
		}
	}
}

// admit returns an error unless the promised links, and all others of the pod,
// are in the sandbox, or can be now. The caller holds the book.
func (h *hooks) admit(ctx context.Context, pod *api.PodSandbox, links []claimDevice) error {
	known := snapshot(h.store.All())
	for _, want := range links {
		a, ok := known.find(want)
		switch {
		case !ok || a.Released:
			return fmt.Errorf("device %s of claim %s is not prepared", cut(want.device, maxNamed), cut(want.claimUID, maxNamed))
		case a.AttachedTo(pod.Id) || a.ReservedFor(pod.Uid):
		case a.Attached != nil:
			return fmt.Errorf("link %s of claim %s/%s is not in this pod: another pod has it", a.Device.Link.Name, a.Claim.Namespace, a.Claim.Name)
		default:
			return fmt.Errorf("claim %s/%s is not known to be reserved for this pod", a.Claim.Namespace, a.Claim.Name)
		}
	}
	owed := known.owed(pod)
	for _, a := range owed {
		if slices.Contains(a.Superseded, pod.Id) || a.Attached != nil && a.PodUID == pod.Uid && !newer(pod, a) {
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
