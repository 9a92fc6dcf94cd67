package attachment

import (
	"context"
	"fmt"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

const maxNamed = 64 // bytes of a key that a user wrote, in an error

// Admit returns an error unless the named devices, and all others of the pod,
// are in the sandbox or on their way there. It returns the records of those on
// their way: their container must not begin before Await, or the runtime hook,
// has seen them arrive. Where nothing is on its way, as when the sandbox was
// made while no driver was there, an attach begins now.
//
// A caller that knows of a container takes its keys from an environment that
// the user can write, so they prove nothing.
func (e *Engine) Admit(ctx context.Context, s allocation.Sandbox, keys []allocation.Key) (attaching []allocation.Record, err error) {
	all := e.Store.All()
	for _, k := range keys {
		if err := admissible(all, s, k); err != nil {
			return nil, err
		}
	}
	begun := true
	for _, r := range all {
		if !r.ReservedFor(s.PodUID) || r.Released || r.AttachedTo(s.ID) {
			continue
		}
		if slices.Contains(r.Superseded, s.ID) || r.Attached() && r.Attachment.Sandbox.PodUID == s.PodUID && !newer(s, r) {
			return nil, fmt.Errorf("%s is in a newer sandbox of the pod", r)
		}
		attaching = append(attaching, r)
		begun = begun && r.AttachingTo(s.ID)
	}
	if len(attaching) == 0 || begun {
		return attaching, nil
	}
	if err := e.Attach(ctx, s); err != nil {
		return nil, err
	}
	return e.get(keysOf(attaching)), nil
}

// admissible returns an error unless the device of the key can be in the
// sandbox.
func admissible(all []allocation.Record, s allocation.Sandbox, k allocation.Key) error {
	i := slices.IndexFunc(all, func(r allocation.Record) bool { return r.Key() == k })
	switch {
	case i < 0 || all[i].Released:
		return fmt.Errorf("device %s of claim %s is not prepared", cut(k.Device), cut(k.ClaimUID))
	case all[i].AttachedTo(s.ID) || all[i].ReservedFor(s.PodUID):
		return nil
	case all[i].Attached():
		return otherPod(all[i])
	}
	return fmt.Errorf("claim %s is not known to be reserved for this pod", all[i].Claim)
}

// Await waits until none of the pod's links is on its way into the sandbox any
// more, and returns an error unless all have arrived.
func (e *Engine) Await(ctx context.Context, s allocation.Sandbox) error {
	all, unlock, err := e.lock(ctx, func() []allocation.Record { return e.Store.OfPod(s.PodUID) })
	if err != nil {
		return err
	}
	defer unlock()
	for _, r := range all {
		switch {
		case r.AttachedTo(s.ID):
		case r.AttachingTo(s.ID):
			return fmt.Errorf("%s is not attached yet: the attach was cut off and goes on soon", r)
		default:
			return fmt.Errorf("%s was not attached: %s", r, r.Condition.Message)
		}
	}
	return nil
}

// cut returns the first bytes of what a user wrote, quoted for an error.
func cut(s string) string {
	if len(s) > maxNamed {
		s = s[:maxNamed]
	}
	return fmt.Sprintf("%.*q", maxNamed, s)
}
