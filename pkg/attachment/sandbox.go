package attachment

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// sandboxes are the network namespaces of pods, each kept by a pin while links of
// ours are in it.
type sandboxes struct {
	store *allocation.Store
	dir   string // for the pins
}

// pin is the file that keeps a sandbox's namespace alive while links of ours
// are in it.
func (b *sandboxes) pin(sandbox string) string { return filepath.Join(b.dir, "netns", sandbox) }

// programs is the directory for the BPF programs of a link that has none in its pod.
func (b *sandboxes) programs(id netdev.Ident) string { return filepath.Join(b.dir, "bpf", id.Tag) }

// unpin lets go of a sandbox in which no link is left. While there may be
// records that are not in use here, the pin may be all that keeps another link
// alive, and stays. The caller holds the store.
func (b *sandboxes) unpin(sandbox string) error {
	if len(b.store.InSandbox(sandbox)) > 0 || b.store.HasUnreadable() {
		return nil
	}
	return netdev.Unpin(b.pin(sandbox))
}

// unpinLocked is unpin for a caller that does not hold the store.
func (b *sandboxes) unpinLocked(ctx context.Context, sandbox string) error {
	unlock, err := b.store.Lock(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer unlock()
	return b.unpin(sandbox)
}

// dropPins removes the pins of sandboxes, and the BPF programs, that no record
// mentions.
func (b *sandboxes) dropPins(ctx context.Context) error {
	pins, _ := os.ReadDir(filepath.Dir(b.pin("any"))) // there is none before the first attach
	var errs []error
	for _, p := range pins {
		if len(b.store.InSandbox(p.Name())) == 0 {
			errs = append(errs, b.unpinLocked(ctx, p.Name()))
		}
	}
	return errors.Join(append(errs, b.dropPrograms(ctx))...)
}

func (b *sandboxes) dropPrograms(ctx context.Context) error {
	kept, _ := os.ReadDir(filepath.Dir(b.programs(netdev.Ident{Tag: "any"})))
	if len(kept) == 0 || b.store.HasUnreadable() {
		return nil
	}
	unlock, err := b.store.Lock(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, k := range kept {
		used := b.store.Find(func(r allocation.Record) bool { return r.Attachment != nil && r.Attachment.ID.Tag == k.Name() })
		if len(used) == 0 {
			errs = append(errs, netdev.Unpin(filepath.Join(b.dir, "bpf", k.Name())))
		}
	}
	return errors.Join(errs...)
}

// openSandbox returns the namespace that the link was or is to be attached to,
// or nil when it is gone. An error means that it is not known whether it is.
func (b *sandboxes) openSandbox(r allocation.Record, path string) (*netdev.NetNS, error) {
	s := r.Attachment.Sandbox
	for _, p := range []string{b.pin(s.ID), path, s.NetNS} {
		if ns, err := openNetNS(p, s.Cookie); ns != nil || err != nil {
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
