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

	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

var errNameTaken = errors.New("is taken on the host")

var errHardwareAway = errors.New("the device is neither in the pod nor on the host: it was unplugged, or moved on by the pod; it is brought home when it appears")

// lockToDetach takes the book to bring these links home, whose pods have ended
// or let go of them. What a pod can make slow and what needs no book is to be
// done here, before the book is taken: the node's other pods wait for it.
func (d *Driver) lockToDetach(ctx context.Context, _ []allocation.Allocation) (unlock func(), err error) {
	return d.book.Lock(ctx)
}

// detach brings the links home that are out, each as far as it can be. path is
// the pod's namespace as an event told it, if one did. What could not be done
// stays in the book, and is tried again by tidy. The caller holds the book.
func (d *Driver) detach(ctx context.Context, all []allocation.Allocation, path string) error {
	var errs []error
	sandboxes := map[string]bool{}
	for _, a := range all {
		if a.Before == nil {
			continue
		}
		sandboxes[a.Sandbox] = true
		err := d.detachOne(ctx, a, path)
		d.meters.moved("detach", err)
		if err != nil {
			errs = append(errs, err)
			klog.FromContext(ctx).Error(err, "Link is not home as it was, trying again later", "link", a.Device.Link.Name)
			d.tell(a, reasonDetachFailed, err.Error(), nil)
			// Its pod has let go of it: from here on it is tidy's.
			a.Attached = nil
			a.Misnamed = errors.Is(err, errNameTaken)
			if errors.Is(err, errHardwareAway) {
				a = d.lose(a)
			}
			errs = append(errs, d.book.Put(a))
		}
	}
	for sandbox := range sandboxes {
		errs = append(errs, d.unpin(sandbox))
	}
	return errors.Join(errs...)
}

func (d *Driver) detachOne(ctx context.Context, a allocation.Allocation, path string) error {
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
	homes, err := netdev.Detach(ctx, host, ns, []netdev.Plan{a.Plan()})
	if err != nil {
		return err
	}
	home, logger := homes[0], klog.FromContext(ctx).WithValues("link", a.Before.Name, "claim", klog.KRef(a.Claim.Namespace, a.Claim.Name))
	var final *v1alpha1.Statistics
	if home.Final != nil && a.Attached != nil {
		counted := home.Final.Since(a.Base)
		final = &counted
	}
	switch {
	case home.Misnamed:
		return fmt.Errorf("the name %s %w: the link is home as %s", a.Before.Name, errNameTaken, home.Name)
	case home.Lost && a.ID.Parent != "":
		// Hardware is not destroyed: the kernel brings it back when the
		// namespace ends into which the pod moved it.
		return errHardwareAway
	case home.Lost:
		a = d.lose(a)
		logger.Error(nil, "Link is lost: it is neither in the pod nor on the host")
		d.tell(a, reasonLost, "the link is neither in the pod nor on the host: it was destroyed, or moved on by the pod", final)
	default:
		a.Lost = false
		logger.Info("Detached link", "unset", home.Unset)
		message := "the link is home as it was"
		if len(home.Unset) > 0 {
			message = "the link is home, but this of it could not be as it was: " + strings.Join(home.Unset, "; ")
		}
		d.tell(a, reasonDetached, message, final)
	}
	return d.book.Put(a.Home())
}

// tell writes to the claim, if it is still there, that its link is not in the
// pod, and an event if that is bad news.
func (d *Driver) tell(a allocation.Allocation, reason, message string, final *v1alpha1.Statistics) {
	d.events.announce(a, reason, message)
	if !a.Released {
		d.status.detached(a, reason, message, final)
	}
}

// openSandbox returns the namespace that the link was attached to, or nil when
// it is gone. An error says that it is not known whether it is gone.
func (d *Driver) openSandbox(a allocation.Allocation, path string) (*netdev.NetNS, error) {
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
	for _, a := range d.book.Find(allocation.Allocation.Displaced) {
		d.retry(ctx, a)
	}
	d.dropPins(ctx)
	d.reportRefusals(ctx)
	for _, a := range d.attachedNow() {
		d.sampleOne(ctx, a)
	}
}

// tidy reports what the runtime hook has refused, and tries again what could
// not be done: links that are not home as they were though no pod needs them.
func (d *Driver) tidy(ctx context.Context) {
	d.reportRefusals(ctx)
	for _, a := range d.book.Find(func(a allocation.Allocation) bool { return a.Displaced() || a.Released }) {
		if a.Misnamed && nameTaken(a) {
			continue // all else is as before, and what was set since is left alone as long
		}
		d.retry(ctx, a)
	}
}

// nameTaken reports whether another link of the host has the link's name, as
// its name or as an altname.
func nameTaken(a allocation.Allocation) bool {
	host, err := netdev.Open("")
	if err != nil {
		return false // retry reports it
	}
	defer host.Close()
	l, err := host.LinkByName(a.Before.Name)
	return err == nil && !slices.Contains(l.AltNames, a.ID.Tag)
}

// retry brings one link home, if that is still to be done, and releases its
// record if the claim has ended. It holds the book for this link alone.
func (d *Driver) retry(ctx context.Context, a allocation.Allocation) {
	unlock, err := d.lockToDetach(ctx, []allocation.Allocation{a})
	if err != nil {
		return
	}
	defer unlock()
	a, ok := d.find(a.Claim.UID, a.Device.Name)
	if !ok || !a.Displaced() && !a.Released || d.detach(ctx, []allocation.Allocation{a}, "") != nil {
		return
	}
	if a = d.reload(a); a.Released && a.Before == nil {
		if err := d.book.Release(a); err != nil {
			klog.FromContext(ctx).Error(err, "Release device")
		}
	}
	d.republishSoon(ctx)
}

// unpin lets go of a sandbox in which no link is left. While there may be
// records that are not in use here, the pin may be all that keeps another link
// alive, and stays.
func (d *Driver) unpin(sandbox string) error {
	if len(d.book.InSandbox(sandbox)) > 0 || d.book.Doubtful() {
		return nil
	}
	return netdev.Unpin(d.pin(sandbox))
}

// dropPins removes the pins of sandboxes that no record speaks of.
func (d *Driver) dropPins(ctx context.Context) {
	unlock, err := d.book.Lock(ctx)
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
