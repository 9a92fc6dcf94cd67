package netdev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// move is the source that moves the host's own link.
type move struct{}

// bring tags the link and moves it from the host into the pod.
func (move) bring(ctx context.Context, host, pod *NetNS, p Plan, moved int) (Link, error) {
	if err := budget(ctx, moved); err != nil {
		return Link{}, err
	}
	l, err := host.findOnHost(p.ID)
	if err != nil {
		return Link{}, err
	}
	if l.Immutable {
		return Link{}, immutable(l)
	}
	if err := pod.vacant(p.Want.Name); err != nil {
		return Link{}, err
	}
	if err := host.tag(l, p); err != nil {
		return Link{}, err
	}
	if err := host.leaveGroups(l, p); err != nil {
		return Link{}, err
	}
	err = moveLink(host, pod, l, p.Want.Name, 0)
	if errors.Is(err, unix.EINVAL) {
		this := []Link{l}
		if host.conn.markImmutable(this); this[0].Immutable {
			err = immutable(l)
		}
	}
	if err != nil {
		return Link{}, err
	}
	return pod.findInPod(p.ID, p.certain(host, pod))
}

func immutable(l Link) error {
	return fmt.Errorf("interface %s cannot change its network namespace: %w", l.Name, unix.EINVAL)
}

// tag adds our altname to the link. It removes those of its own that the link
// cannot have in the pod, or is to have as its name there; the detach restores
// them.
func (n *NetNS) tag(l Link, p Plan) error {
	var ms []message
	if !slices.Contains(l.AltNames, p.ID.Tag) {
		ms = append(ms, altName(l.Index, p.ID.Tag, true))
	}
	for _, a := range l.AltNames {
		if a != p.ID.Tag && (a == p.Want.Name || !slices.Contains(p.Want.AltNames, a)) {
			ms = append(ms, altName(l.Index, a, false))
		}
	}
	_, err := n.conn.do(ms...)
	return err
}

// take moves the link back to the host, if it is in the pod, and restores it there.
func (move) take(host, pod *NetNS, p Plan) (Result, error) {
	var result Result
	var rdma error // the link has its tag until the device is on the host, which restore checks
	if pod != nil {
		rdma = takeRDMA(host, pod, p.Original.RDMA)
		var err error
		if result, err = leave(host, pod, p); err != nil {
			return result, err
		}
		if p.Want.VRF != nil {
			if err := pod.removeVRFs(); err != nil {
				result.addUnset([]failure{{"remove VRF " + p.Want.VRF.Name, err}})
			}
		}
		for _, remove := range []func() ([]failure, error){
			func() ([]failure, error) { return pod.removeRules(p.Want.Rules) },
			func() ([]failure, error) { return pod.removeDeviceless(p.Want.Deviceless) },
		} {
			refused, err := remove()
			if err != nil {
				return result, err
			}
			result.addUnset(refused)
		}
		if err := pod.unguard(p.Original.Name); err != nil {
			return result, err
		}
	}
	if err := host.unguard(fallbackName(p.ID.Tag)); err != nil {
		return result, err
	}
	l, err := host.findOnHost(p.ID)
	if errors.Is(err, ErrNotFound) {
		result, err := p.byOriginalIndex(host)
		vf := host.run(vfSteps(p.Original.asOriginal(p.Want))) // its physical function may be there
		result.addUnset(vf.refused)
		return result, join(err, vf.err)
	}
	if err != nil {
		return result, err
	}
	result, err = restore(host, l, p, result)
	return result, join(rdma, err)
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
		return result, pod.removeIFB(p.ID.PodIndex)
	}
	if err == nil {
		err = pod.removeIFB(l.Index)
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
	if err := pod.leaveGroups(l, p); err != nil {
		return result, err
	}
	name := p.Original.Name
	if host.vacant(name) != nil {
		name = fallbackName(p.ID.Tag)
	}
	err = moveLink(pod, host, l, name, p.Original.Index)
	if errors.Is(err, unix.EBUSY) { // another link has its index meanwhile
		err = moveLink(pod, host, l, name, 0)
	}
	if errors.Is(err, unix.EEXIST) { // not every kernel reports which name
		for _, n := range append(l.AltNames, name) {
			err = join(err, host.vacant(n))
		}
	}
	return result, err
}

// prepareMoveBack undoes in the pod what would make the move fail, or the link
// impossible to find on the host: a tag that the pod removed or gave to another
// link, and altnames that it added or that another link of the host has meanwhile.
// The link gets a name that no other has, because that is its guard's name on the
// host: links of many pods, each under the same name there, are moved back at the
// same time, also by two instances of the driver.
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
	if l.Name != p.Original.Name {
		fallback := fallbackName(p.ID.Tag)
		if err := pod.evict(fallback, l.Index); err != nil {
			return l, err
		}
		return pod.rename(l, fallback)
	}
	return pod.conn.linkByIndex(l.Index)
}

// leaveGroups removes the link's multicast addresses with which the kernel joined their
// groups (`ip address … autojoin`). It would remain a member when the link leaves the
// namespace, and refuse to join again when the link is there with the same index.
func (n *NetNS) leaveGroups(l Link, p Plan) error {
	var ms []message
	for _, a := range p.Original.Addresses {
		if a.Flags&unix.IFA_F_MCAUTOJOIN != 0 {
			m := a.message(l.Index, false)
			m.already = unix.EADDRNOTAVAIL
			ms = append(ms, m)
		}
	}
	_, err := n.conn.do(ms...)
	return err
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
