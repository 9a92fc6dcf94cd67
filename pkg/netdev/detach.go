package netdev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
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
	Final *v1alpha1.Statistics
}

// Detach moves the links back to the host, in the reverse order of the plans, and
// restores their original states. It finds a link wherever it is: in the pod under
// any name, or on the host already, also under a wrong name. Of Plan.Want it needs
// the name only. pod may be nil when the namespace is gone. After one link has
// failed Detach goes on with the others and joins the errors. A missing link is no
// error, and calling Detach again is harmless.
func Detach(ctx context.Context, host, pod *NetNS, plans []Plan) ([]Result, error) {
	results := make([]Result, len(plans))
	var errs []error
	for i, p := range slices.Backward(plans) {
		var err error
		if results[i], err = detach(ctx, host, pod, p); err != nil {
			errs = append(errs, fmt.Errorf("detach %s: %w", p.Original.Name, err))
		}
	}
	return results, errors.Join(errs...)
}

func detach(_ context.Context, host, pod *NetNS, p Plan) (Result, error) {
	var result Result
	if pod != nil {
		var err error
		if result, err = leave(host, pod, p); err != nil {
			return result, err
		}
		if err := pod.unguard(p.Original.Name); err != nil {
			return result, err
		}
	}
	for _, guard := range []string{p.Want.Name, fallbackName(p.ID.Tag)} {
		if err := host.unguard(guard); err != nil {
			return result, err
		}
	}
	l, err := host.findOnHost(p.ID)
	if errors.Is(err, ErrNotFound) {
		return p.byOriginalIndex(host)
	}
	if err != nil {
		return result, err
	}
	return restore(host, l, p, result)
}

// byOriginalIndex is the outcome for a link that findOnHost does not find: it is
// missing, unless an earlier Detach removed the tag as its last step and died
// before reporting. Then the link has its own name and ifindex, which the kernel
// gives to no other link by itself.
func (p Plan) byOriginalIndex(host *NetNS) (Result, error) {
	l, err := host.conn.linkByIndex(p.Original.Index)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return Result{}, err
	case err == nil && p.ID.couldBe(l) && l.Name == p.Original.Name && l.Index == p.Original.Index:
		return Result{Name: l.Name}, nil
	}
	return Result{Missing: true}, nil
}

// leave moves the link out of the pod, if it is there, and returns its last
// counters and what the pod added to it and could not be removed.
func leave(host, pod *NetNS, p Plan) (result Result, err error) {
	l, err := pod.findInPod(p.ID, p.certain(host, pod))
	if errors.Is(err, ErrNotFound) {
		return result, nil
	}
	if err != nil {
		return result, err
	}
	refused, err := pod.deleteUppers(l)
	if err != nil {
		return result, err
	}
	result.addUnset(refused)
	if l, err = prepareMoveBack(host, pod, l, p); err != nil {
		return result, err
	}
	result.Final = &l.Statistics
	name := p.Original.Name
	if host.vacant(name) != nil {
		name = fallbackName(p.ID.Tag)
	}
	err = move(pod, host, l, name, p.Original.Index)
	if errors.Is(err, unix.EBUSY) { // another link has its index meanwhile
		err = move(pod, host, l, name, 0)
	}
	if errors.Is(err, unix.EEXIST) { // not every kernel reports which name
		for _, n := range append(l.AltNames, name) {
			err = errors.Join(err, host.vacant(n))
		}
	}
	return result, err
}

// addUnset adds steps that were refused.
func (r *Result) addUnset(refused []failure) {
	for _, f := range refused {
		r.Unset = append(r.Unset, fmt.Sprintf("%s: %v", f.what, f.err))
	}
}

// prepareMoveBack undoes in the pod what would make the move fail, or the link
// impossible to find on the host: a tag that the pod removed or gave to another
// link, altnames that it added or that another link of the host has meanwhile, and
// a name that is not the one we gave (the guard must have a name that we know).
func prepareMoveBack(host, pod *NetNS, l Link, p Plan) (Link, error) {
	var ms []message
	if !slices.Contains(l.AltNames, p.ID.Tag) {
		if err := pod.evict(p.ID.Tag, l.Index); err != nil {
			return l, err
		}
		ms = append(ms, altName(l.Index, p.ID.Tag, true))
	}
	for _, a := range l.AltNames {
		if a != p.ID.Tag && (!slices.Contains(p.Original.AltNames, a) || host.vacant(a) != nil) {
			ms = append(ms, altName(l.Index, a, false))
		}
	}
	if _, err := pod.conn.do(ms...); err != nil {
		return l, err
	}
	if l.Name != p.Want.Name && l.Name != p.Original.Name {
		fallback := fallbackName(p.ID.Tag)
		if err := pod.evict(fallback, l.Index); err != nil {
			return l, err
		}
		return pod.rename(l, fallback)
	}
	return pod.conn.linkByIndex(l.Index)
}

// evict removes a name of ours from any link of the pod but the one with this
// index: the pod can know our names, and give them to links of its own.
func (n *NetNS) evict(name string, index int) error {
	l, err := n.conn.linkByName(name)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && l.Index == index:
		return nil
	case err != nil:
		return err
	case l.Name != name:
		_, err = n.conn.do(altName(l.Index, name, false))
		return err
	}
	random := make([]byte, 6)
	rand.Read(random) // never fails
	_, err = n.rename(l, fmt.Sprintf("x%x", random))
	return err
}

// restore restores the original state of a link that is on the host and removes
// the tag, which the link keeps while anything is left to be done.
func restore(host *NetNS, l Link, p Plan, result Result) (Result, error) {
	want := p.Original
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
	refused, err := host.apply(l, p.ID.Tag, want, sideHost)
	result.addUnset(refused)
	if err = errors.Join(unnamed, err); err != nil {
		return result, err
	}
	if result.HostNameTaken || !slices.Contains(l.AltNames, p.ID.Tag) {
		return result, nil
	}
	_, err = host.conn.do(altName(l.Index, p.ID.Tag, false))
	return result, err
}
