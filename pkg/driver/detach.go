package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

var errNameTaken = errors.New("is taken on the host")

var errHardwareAway = errors.New("the device is neither in the pod nor on the host: it was unplugged, or moved on by the pod; it is brought home when it appears")

// lockToDetach takes the book to bring these links home, whose pods have ended
// or let go of them. What a pod can make slow and what needs no book is done
// here, before the book is taken: the node's other pods wait for it.
func (d *Driver) lockToDetach(ctx context.Context, all []allocation.Record) (unlock func(), err error) {
	d.deleteUppers(ctx, all)
	return d.store.Lock(ctx)
}

// errMissing says that a virtual link is in neither namespace, though the
// pod's is still there. It may have been destroyed, or be hidden from us.
var errMissing = errors.New("the link is neither in the pod nor on the host: it was destroyed, or moved on by the pod")

// missingFor is how long a link must be missing before its record, and with it
// the pin that may be all that keeps the link alive, is given up.
const missingFor = time.Minute

// detach brings the links home that are out, each as far as it can be. path is
// the pod's namespace as an event told it, if one did. What could not be done
// stays in the book, and is tried again by tidy. The caller holds the book.
func (d *Driver) detach(ctx context.Context, all []allocation.Record, path string) error {
	var errs []error
	sandboxes := map[string]bool{}
	for _, a := range all {
		if a.Original == nil {
			continue
		}
		sandboxes[a.Sandbox] = true
		err := d.detachOne(ctx, a, path)
		d.metrics.moved("detach", err)
		if err != nil {
			errs = append(errs, err)
			klog.FromContext(ctx).Error(err, "Link is not home as it was, trying again later", "link", a.Device.Link.Name)
			reason := v1alpha1.ReasonDetachFailed
			if errors.Is(err, errMissing) {
				reason = v1alpha1.ReasonMissing
			}
			d.tell(a, reason, err.Error(), nil)
			// Its pod has let go of it: from here on it is tidy's.
			a.Attached = nil
			a.HostNameTaken = errors.Is(err, errNameTaken)
			if errors.Is(err, errHardwareAway) || errors.Is(err, errMissing) {
				a = d.lose(a)
			}
			errs = append(errs, d.store.Put(a))
		}
	}
	for sandbox := range sandboxes {
		errs = append(errs, d.unpin(sandbox))
	}
	return errors.Join(errs...)
}

func (d *Driver) detachOne(ctx context.Context, a allocation.Record, path string) error {
	host, err := netdev.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	ns, err := d.openSandbox(a, path)
	if err != nil {
		return err
	}
	if ns != nil {
		defer ns.Close()
	}
	plan, release, err := d.planOf(a)
	if err != nil {
		return err
	}
	defer release()
	homes, err := netdev.Detach(ctx, host, ns, []netdev.Plan{plan})
	if err != nil {
		return err
	}
	home, logger := homes[0], klog.FromContext(ctx).WithValues("link", a.Original.Name, "claim", klog.KRef(a.Claim.Namespace, a.Claim.Name))
	var final *v1alpha1.Statistics
	if home.Final != nil && a.Attached != nil {
		counted := home.Final.Since(a.Base)
		final = &counted
	}
	switch {
	case home.HostNameTaken:
		return fmt.Errorf("the name %s %w: the link is home as %s", a.Original.Name, errNameTaken, home.Name)
	case home.Missing && a.ID.Parent != "":
		// Hardware is not destroyed: the kernel brings it back when the
		// namespace ends into which the pod moved it.
		return errHardwareAway
	case home.Missing && ns != nil && missing(a) < d.missingFor:
		return errMissing
	case home.Missing:
		a = d.lose(a)
		logger.Error(nil, "Link is lost: it is neither in the pod nor on the host")
		d.tell(a, v1alpha1.ReasonMissing, errMissing.Error(), final)
	default:
		a = a.Found()
		logger.Info("Detached link", "unset", home.Unset)
		reason, message := v1alpha1.ReasonDetached, "the link is home as it was"
		if len(home.Unset) > 0 {
			reason, message = v1alpha1.ReasonRestoredWithDifferences, "the link is home, but this of it could not be as it was: "+strings.Join(home.Unset, "; ")
		}
		d.tell(a, reason, message, final)
	}
	return d.store.Put(a.Restored())
}

// missing returns for how long the link has been missing.
func missing(a allocation.Record) time.Duration {
	if !a.Missing {
		return 0
	}
	return time.Since(a.MissingSince)
}

// planOf returns the attachment with the place of the link's other end, if
// another pod has that, and a function that lets go of it.
func (d *Driver) planOf(a allocation.Record) (plan netdev.Plan, release func(), err error) {
	plan, release = a.Plan(), func() {}
	ends := d.store.Find(a.OtherEnd)
	if len(ends) != 1 {
		return plan, release, nil
	}
	ns, err := d.openSandbox(ends[0], "")
	if ns == nil || err != nil {
		return plan, release, err
	}
	plan.PeerNS, plan.PeerIndex = ns, ends[0].ID.PodIndex
	return plan, func() { ns.Close() }, nil
}

// deleteUppers deletes what pods have made on links that are about to be
// detached. What it leaves, detach deletes.
func (d *Driver) deleteUppers(ctx context.Context, all []allocation.Record) {
	for _, a := range all {
		if a.Original == nil {
			continue
		}
		ns, err := d.openSandbox(a, "")
		if ns != nil {
			err = ns.DeleteUppers(ctx, a.ID)
			ns.Close()
		}
		if err != nil {
			klog.FromContext(ctx).Error(err, "Failed to delete what a pod made on its interface", "interface", a.Device.Link.Name)
		}
	}
}

// tell writes to the claim, if it is still there, that its link is not in the
// pod, and an event if that is bad news.
func (d *Driver) tell(a allocation.Record, reason, message string, final *v1alpha1.Statistics) {
	d.events.announce(a, reason, message)
	if !a.Released {
		d.status.detached(a, reason, message, final)
	}
}

// openSandbox returns the namespace that the link was attached to, or nil when
// it is gone. An error says that it is not known whether it is gone.
func (d *Driver) openSandbox(a allocation.Record, path string) (*netdev.NetNS, error) {
	for _, p := range []string{d.pin(a.Sandbox), path, a.NetNS} {
		if ns, err := openNetNS(p, a.NetNSCookie); ns != nil || err != nil {
			return ns, err
		}
	}
	return nil, nil
}

// openNetNS returns the namespace with this cookie if it is at the path, and
// nil if it is not. A path alone proves nothing.
func openNetNS(path string, cookie uint64) (*netdev.NetNS, error) {
	if path == "" {
		return nil, nil
	}
	ns, err := netdev.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, netdev.ErrNotNetNS):
		return nil, nil
	case err != nil:
		return nil, err
	case ns.Cookie() != cookie:
		ns.Close()
		return nil, nil
	}
	return ns, nil
}

// recover brings home, at start, the links of an attach that was cut off, and
// tells the claims of the others. Links in pods stay: the kubelet unprepares
// the claims of pods that ended meanwhile.
func (d *Driver) recover(ctx context.Context) {
	for _, a := range d.store.Find(allocation.Record.NotRestored) {
		d.retry(ctx, a)
	}
	d.dropPins(ctx)
	d.reportRefusals(ctx)
	for _, a := range d.attachedNow() {
		d.sampleOne(ctx, a)
	}
}

// tidy reports what the runtime hook has refused, and tries again what could
// not be done: links that are not home as they were though no pod needs them,
// as those in a sandbox that was already seen to have ended.
func (d *Driver) tidy(ctx context.Context) {
	d.reportRefusals(ctx)
	for _, a := range d.store.Find(func(a allocation.Record) bool { return a.NotRestored() || a.Released || a.SandboxEnded }) {
		if a.HostNameTaken && nameTaken(a) {
			continue // all else is as before, and what was set since is left alone as long
		}
		d.retry(ctx, a)
	}
}

// nameTaken reports whether another link of the host has the link's name, as
// its name or as an altname.
func nameTaken(a allocation.Record) bool {
	host, err := netdev.Open("")
	if err != nil {
		return false // retry reports it
	}
	defer host.Close()
	l, err := host.LinkByName(a.Original.Name)
	return err == nil && !slices.Contains(l.AltNames, a.ID.Tag)
}

// retry brings one link home, if that is still to be done, and releases its
// record if the claim has ended. It holds the book for this link alone.
func (d *Driver) retry(ctx context.Context, a allocation.Record) {
	unlock, err := d.lockToDetach(ctx, []allocation.Record{a})
	if err != nil {
		return
	}
	defer unlock()
	a, ok := d.find(a.Claim.UID, a.Device.Name)
	if !ok || !a.NotRestored() && !a.Released && !(a.SandboxEnded && d.ended(a)) || d.detach(ctx, []allocation.Record{a}, "") != nil {
		return
	}
	if a = d.reload(a); a.Released && a.Original == nil {
		if err := d.store.Release(a); err != nil {
			klog.FromContext(ctx).Error(err, "Release device")
		}
		d.events.forget(a.Claim.UID)
	}
	d.republishSoon(ctx)
}

// unpin lets go of a sandbox in which no link is left. While there may be
// records that are not in use here, the pin may be all that keeps another link
// alive, and stays.
func (d *Driver) unpin(sandbox string) error {
	if len(d.store.InSandbox(sandbox)) > 0 || d.store.HasUnreadable() {
		return nil
	}
	return netdev.Unpin(d.pin(sandbox))
}

// dropPins removes the pins of sandboxes that no record speaks of.
func (d *Driver) dropPins(ctx context.Context) {
	unlock, err := d.store.Lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	pins, _ := os.ReadDir(filepath.Dir(d.pin("any")))
	for _, p := range pins {
		if err := d.unpin(p.Name()); err != nil {
			klog.FromContext(ctx).Error(err, "Remove stale pin")
		}
	}
}
