package netdev

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// Home is what became of a link at its detach.
type Result struct {
	Name string // on the host now
	// Misnamed says that the host's name for the link was taken meanwhile. It
	// has a unique one, and a further Detach renames it when that is possible.
	HostNameTaken bool
	// Lost says that the link is in neither namespace: it was destroyed, or is
	// in a namespace that the pod made.
	Missing bool
	// Unset names what of the state before the kernel refused and a link can
	// be home without: routes, neighbours, altnames and settings; and what the
	// pod put on the link and could not be taken off.
	Unset []string
	// Final are the link's counters just before it left the pod, if it was
	// there.
	Final *v1alpha1.Statistics
}

// Detach brings the links home, in the reverse order of the plans, and makes
// them as before. It finds a link wherever and however it is: in the pod under
// any name, home already, or home under a wrong name. pod may be nil when the
// namespace is gone. Links go on after one has failed; the errors are joined.
// A lost link is no error, and calling Detach again is harmless.
func Detach(ctx context.Context, host, pod *NetNS, plans []Plan) ([]Result, error) {
	homes := make([]Result, len(plans))
	var errs []error
	for i, p := range slices.Backward(plans) {
		var err error
		if homes[i], err = detach(ctx, host, pod, p); err != nil {
			errs = append(errs, fmt.Errorf("detach %s: %w", p.Original.Name, err))
		}
	}
	return homes, errors.Join(errs...)
}

func detach(_ context.Context, host, pod *NetNS, p Plan) (Result, error) {
	var home Result
	if pod != nil {
		var err error
		if home, err = leave(host, pod, p); err != nil {
			return home, err
		}
		if err := pod.unguard(p.Original.Name); err != nil {
			return home, err
		}
	}
	for _, guard := range []string{p.Want.Name, fallbackName(p.ID.Tag)} {
		if err := host.unguard(guard); err != nil {
			return home, err
		}
	}
	l, err := host.findOnHost(p.ID)
	if errors.Is(err, ErrNotFound) {
		return p.byOriginalIndex(host)
	}
	if err != nil {
		return home, err
	}
	return restore(host, l, p, home)
}

// unmarked says what became of a link that no mark knows: it is lost, unless
// an earlier Detach took the tag off as its last act and was never heard. Then
// it is home under its own name and ifindex, which the kernel gives to no
// other link by itself.
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
// counters and what of the pod could not be taken off it.
func leave(host, pod *NetNS, p Plan) (home Result, err error) {
	l, err := pod.findInPod(p.ID, p.certain(host, pod))
	if errors.Is(err, ErrNotFound) {
		return home, nil
	}
	if err != nil {
		return home, err
	}
	refused, err := pod.deleteUppers(l)
	if err != nil {
		return home, err
	}
	home.addUnset(refused)
	if l, err = prepareMoveBack(host, pod, l, p); err != nil {
		return home, err
	}
	home.Final = &l.Statistics
	name := p.Original.Name
	if host.vacant(name) != nil {
		name = fallbackName(p.ID.Tag)
	}
	err = move(pod, host, l, name, p.Original.Index)
	if errors.Is(err, unix.EBUSY) { // another link has its index by now
		err = move(pod, host, l, name, 0)
	}
	if errors.Is(err, unix.EEXIST) { // not every kernel says which
		for _, n := range append(l.AltNames, name) {
			err = errors.Join(err, host.vacant(n))
		}
	}
	return home, err
}

// tell adds to what was left undone.
func (h *Result) addUnset(refused []failure) {
	for _, f := range refused {
		h.Unset = append(h.Unset, fmt.Sprintf("%s: %v", f.what, f.err))
	}
}

// recognisable undoes in the pod what would make the move fail, or the link
// unknown on the host: a tag that the pod took off or gave to another link,
// altnames that it added or that the host has given away meanwhile, and a name
// that is not the one we gave (the guard must have a name that we know).
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

// evict takes a name of ours from any other link of the pod than the one with
// this index: the pod can know our names, and give them to links of its own.
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

// settle makes a link that is on the host as before and takes its tag off,
// which it keeps while something is still to be done.
func restore(host *NetNS, l Link, p Plan, home Result) (Result, error) {
	want := p.Original
	if taken, err := host.conn.linkByName(want.Name); err == nil && taken.Index != l.Index {
		home.HostNameTaken = true
		want.Name = l.Name
		if l.Name == p.Want.Name && l.Name != p.Original.Name {
			want.Name = fallbackName(p.ID.Tag)
		}
	}
	l, misnamed := host.rename(l, want.Name)
	want.Name = l.Name
	home.Name = want.Name
	unset, failed := host.setConf6(l, want)
	home.addUnset(unset)
	host.detachPrograms(l, want.Programs) // what is refused is asked for again
	differed, _ := host.setHardware(l, want.Ethtool)
	want, taken, lookup := host.conn.restorable(l.Index, want)
	home.addUnset(taken)
	refused, err := converge(host, l, p.ID.Tag, want.allOptional(), sideHost)
	home.addUnset(refused)
	if differed { // some can be set only after others, or while the link is up
		_, refused = host.setHardware(l, want.Ethtool)
		home.addUnset(refused)
	}
	home.addUnset(host.setPrograms(l, want.Programs)) // a driver may refuse one with the pod's MTU or channels
	if err = errors.Join(misnamed, failed, lookup, err); err != nil {
		return home, err
	}
	if home.HostNameTaken || !slices.Contains(l.AltNames, p.ID.Tag) {
		return home, nil
	}
	_, err = host.conn.do(altName(l.Index, p.ID.Tag, false))
	return home, err
}

// rename gives a link another name and returns it as it is then, whatever came
// of it. A kernel before 6.2 renames no link that is up: it is set down, and
// what it loses by that is for converge to bring back, as its being up.
func (n *NetNS) rename(l Link, name string) (Link, error) {
	if l.Name == name {
		return l, nil
	}
	if slices.Contains(l.AltNames, name) { // it stands in the way, though it is its own
		if _, err := n.conn.do(altName(l.Index, name, false)); err != nil {
			return l, err
		}
	}
	ms := set(true, l.Index, "rename to "+name, attr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, err := n.conn.do(ms...)
	if errors.Is(err, unix.EBUSY) && l.Up {
		_, err = n.conn.do(append(setFlag(l.Index, l.Up, false, unix.IFF_UP, "up"), ms...)...)
	}
	now, lookup := n.conn.linkByIndex(l.Index)
	if lookup != nil {
		return l, errors.Join(err, lookup)
	}
	return now, err
}

// allOptional returns the state with routes and neighbours that may be left
// out: a route whose gateway the host no longer reaches must not keep a link
// from its node.
func (s State) allOptional() State {
	s.Routes, s.Neighbors = slices.Clone(s.Routes), slices.Clone(s.Neighbors)
	for i := range s.Routes {
		s.Routes[i].Optional = true
	}
	for i := range s.Neighbors {
		s.Neighbors[i].Optional = true
	}
	return s
}

// spareName is a name for a link whose own is taken: the same for the same
// tag, and nobody else's.
func fallbackName(tag string) string {
	return fmt.Sprintf("nd%x", sha256.Sum256([]byte(tag)))[:labelLen]
}
