package netdev

import (
	"context"
	"fmt"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Result is the outcome of a detach for one link.
type Result struct {
	Name string // on the host now
	// HostNameTaken means that another link has the link's name on the host. The
	// link has a unique name until a further Detach can rename it.
	HostNameTaken bool
	// Missing means that the link is in neither namespace: it was destroyed, or
	// is in a namespace that the pod made.
	Missing bool
	// Unset names the settings of the original state that could not be restored
	// and that are no error: routes, neighbors, altnames, hardware settings; and
	// what the pod added to the link and could not be removed.
	Unset []string
	// Final are the link's counters just before it left the pod, if it was
	// there.
	Final *nic.Statistics
}

// Detach moves the links back to the host, in the reverse order of the plans, and
// restores their original states. It finds a link wherever it is: in the pod under
// any name, or on the host already, also under a wrong name. Of Plan.Want it needs
// the name, what is asked of a virtual function, and the rules and the routes
// without a link, which it removes from the pod. pod may be nil when the namespace is gone. After one link has
// failed Detach goes on with the others and joins the errors. A missing link is no
// error, and calling Detach again is harmless.
func Detach(_ context.Context, host, pod *NetNS, plans []Plan) ([]Result, error) {
	results := make([]Result, len(plans))
	var errs []error
	for i, p := range slices.Backward(plans) {
		var err error
		if results[i], err = p.source().take(host, pod, p); err != nil {
			errs = append(errs, fmt.Errorf("detach %s: %w", p.Original.Name, err))
		}
	}
	return results, join(errs...)
}

// addUnset adds steps that were refused.
func (r *Result) addUnset(refused []failure) {
	for _, f := range refused {
		r.Unset = append(r.Unset, fmt.Sprintf("%s: %v", f.what, f.err))
	}
}

// restore restores the original state of a link that is on the host and removes
// the tag, which the link keeps while anything is left to be done.
func restore(host *NetNS, l Link, p Plan, result Result) (Result, error) {
	want := p.Original.asOriginal(p.Want)
	if taken, err := host.conn.linkByName(want.Name); err == nil && taken.Index != l.Index {
		result.HostNameTaken = true
		want.Name = l.Name
		if l.Name == p.Want.Name && l.Name != p.Original.Name {
			want.Name = fallbackName(p.ID.Tag)
		}
	}
	l, unnamed := host.rename(l, want.Name)
	want.Name = l.Name
	result.Name = want.Name
	result.addUnset(unsilence(p.Programs))
	refused, err := host.apply(l, p.ID.Tag, want, sideHost)
	result.addUnset(refused)
	if err = join(unnamed, err, release(p.Programs)); err != nil {
		return result, err
	}
	if result.HostNameTaken || !slices.Contains(l.AltNames, p.ID.Tag) {
		return result, nil
	}
	_, err = host.conn.do(altName(l.Index, p.ID.Tag, false))
	return result, err
}
