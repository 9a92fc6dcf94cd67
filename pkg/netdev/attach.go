package netdev

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Plan is one attachment: two states of one link.
type Plan struct {
	ID             Ident
	Original, Want State
	// PeerNS and PeerIndex are where the peer of a pair is, if that is in a pod
	// too; nil if it is not.
	PeerNS    *NetNS
	PeerIndex int
	// Programs is a directory for the BPF programs of a link that has none in the
	// pod: a file system is mounted there meanwhile.
	Programs string
}

// Attached is a link as it was found in the pod after the attach.
type Attached struct {
	ID      Ident    // with PodIndex
	State   State    // as read back
	Omitted []string // optional settings that the kernel refused
	// Queues are the host's settings of the link's queues, for its original state:
	// the move keeps them.
	Queues map[string]string `json:"-"`
	// Base are the link's counters at the attach. They are cumulative over all
	// its owners.
	Base nic.Statistics
}

// Attach moves the links into the pod's namespace and makes them as wanted, in
// the order of the plans: all of them, or none. On an error every link is restored
// on the host. A link that is in the pod already is made as wanted.
func Attach(ctx context.Context, host, pod *NetNS, plans []Plan) ([]Attached, error) {
	if pod.cookie == host.cookie {
		return nil, fmt.Errorf("%s is the host's own network namespace", pod)
	}
	done, touched, err := attachAll(ctx, host, pod, plans)
	if err == nil {
		return done, nil
	}
	_, undo := Detach(context.WithoutCancel(ctx), host, pod, plans[:touched])
	if undo != nil {
		undo = fmt.Errorf("roll back: %w", undo)
	}
	return nil, join(err, undo)
}

// attachAll stops at the first error. It returns how many plans it has started.
func attachAll(ctx context.Context, host, pod *NetNS, plans []Plan) (done []Attached, touched int, err error) {
	plans = slices.Clone(plans) // attach fits them to the pod
	for i := range plans {
		p := &plans[i]
		a, err := attach(ctx, host, pod, p, i, namesOf(slices.Delete(slices.Clone(plans), i, i+1)))
		plans[i].Original.Queues = a.Queues // for a rollback
		if err != nil {
			return nil, i + 1, fmt.Errorf("attach %s to %s: %w", p.Original.Name, pod, err)
		}
		done = append(done, a)
	}
	if err := pod.await(ctx, plans, done); err != nil {
		return nil, len(plans), err
	}
	return done, len(plans), reidentify(pod, done)
}

// reidentify updates the identities of pairs after all links have moved: the
// peers may have moved too.
func reidentify(pod *NetNS, done []Attached) error {
	for i, a := range done {
		if !isPair(a.ID.Kind) {
			continue
		}
		l, err := pod.conn.linkByIndex(a.ID.PodIndex)
		if err != nil {
			return err
		}
		done[i].ID = a.ID.withPodIndex(l)
	}
	return nil
}

// namesOf returns the names that the links are to have in the pod.
func namesOf(plans []Plan) []string {
	var names []string
	for _, p := range plans {
		names = append(names, p.Want.Name)
	}
	return names
}

// attach makes one link as wanted in the pod. Others are the names there of
// the links that are attached with it.
func attach(ctx context.Context, host, pod *NetNS, p *Plan, moved int, others []string) (Attached, error) {
	l, err := pod.findInPod(p.ID, p.certain(host, pod))
	inside := err == nil
	var removed []failure
	if err == nil || errors.Is(err, ErrNotFound) {
		p.Want.AltNames, removed, err = pod.altNamesInPod(*p, l.Index, others)
	}
	if err == nil {
		err = host.setForPod(p.Want.VF)
	}
	if err == nil && !inside {
		l, err = p.source().bring(ctx, host, pod, *p, moved)
	}
	if err != nil {
		return Attached{}, err
	}
	a := Attached{ID: p.ID.withPodIndex(l), Base: l.Statistics, Queues: p.Original.Queues}
	if a.Queues == nil {
		if a.Queues, err = pod.sysfsSettings(l.Name, xpsBudget); err != nil {
			return a, err
		}
	}
	if err := pod.loopbackUp(); err != nil {
		return a, err
	}
	rdma, err := bringRDMA(host, pod, l, p.Want.RDMA)
	if err != nil {
		return a, err
	}
	if p.Want.NoPrograms {
		if err := pod.keepPrograms(l, p.Programs); err != nil {
			return a, fmt.Errorf("interface.disableEbpfPrograms: %w", err)
		}
	}
	a.Omitted = p.Want.fitIPv6(l)
	want := p.Want.early()
	refused, err := pod.apply(l, p.ID.Tag, want, sidePod)
	if err != nil {
		return a, err
	}
	for _, f := range append(removed, refused...) {
		a.Omitted = append(a.Omitted, fmt.Sprintf("%s: %v", f.what, f.err))
	}
	if l, err = pod.conn.linkByIndex(l.Index); err != nil {
		return a, err
	}
	if a.State, err = pod.read(l, p.ID.Tag, want, both, sidePod); err != nil {
		return a, err
	}
	if a.State.RDMA = rdma; rdma != nil {
		rdma.Base = pod.RDMACounters(a.State)
	}
	if p.Want.RDMA.Moves() && !rdma.Moves() {
		a.Omitted = append(a.Omitted, "RDMA device "+rdma.Name+": "+rdma.Stays)
	}
	return a, want.checkIn(a.State.withoutKernels(want))
}

// altNamesInPod returns the wanted altnames that the link with this index can have
// in the pod, and why it cannot have the others: a link of the pod has the name,
// or one that is attached with it gets it.
func (n *NetNS) altNamesInPod(p Plan, index int, others []string) (names []string, removed []failure, err error) {
	for _, a := range p.Want.AltNames {
		l, err := n.conn.linkByName(a)
		switch {
		case err != nil && !errors.Is(err, ErrNotFound):
			return nil, nil, err
		case slices.Contains(others, a):
			removed = append(removed, failure{"altname " + a, errOthersName})
		case a == p.Want.Name: // it becomes the name
		case err == nil && l.Index != index:
			removed = append(removed, failure{"altname " + a, n.taken(a, l)})
		default:
			names = append(names, a)
		}
	}
	return names, removed, nil
}

// errOthersName is why a link does not get one of its altnames in a pod.
var errOthersName = errors.New("it is the name of another interface of the pod")

// loopbackUp sets lo of a pod's namespace up, as every pod expects it.
func (n *NetNS) loopbackUp() error {
	lo, err := n.conn.linkByIndex(loopbackIndex)
	if err != nil {
		return err
	}
	_, err = n.conn.do(setFlag(lo.Index, lo.Up, true, unix.IFF_UP, "lo up")...)
	return err
}
