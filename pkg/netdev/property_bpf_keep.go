package netdev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// With interface.disableEbpfPrograms the host's BPF programs are not in the pod.
// Meanwhile each is pinned in a BPF file system of ours, because a program ends with
// its last user. One that a bpf_link attaches is replaced, in the link, by a program
// that does nothing: a bpf_link that was detached cannot be attached again, and its
// owner would hold a dead one. All others are detached, and attached again by the
// rows for programs.

// kept is a program that is pinned, as the name of its pin tells.
type kept struct {
	id    uint32
	link  uint32 // the bpf_link that attaches it, 0 if none does
	point string // attach point
}

// String is the name of the pin. In a BPF file system it has no dots and slashes.
func (k kept) String() string {
	return fmt.Sprintf("%d-%d-%s", k.id, k.link, strings.ReplaceAll(k.point, "/", "-"))
}

// keptIn returns what is pinned in a directory, nothing if that does not exist.
func keptIn(dir string) (all []kept) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		var k kept
		if _, err := fmt.Sscanf(f.Name(), "%d-%d-%s", &k.id, &k.link, &k.point); err == nil {
			k.point = strings.ReplaceAll(k.point, "-", "/")
			all = append(all, k)
		}
	}
	return all
}

// keepPrograms takes the host's programs off a link in the pod, whose state is
// wanted so. dir is for the file system, which stays mounted until releasePrograms.
func (n *NetNS) keepPrograms(l Link, dir string) error {
	have, err := n.programs(l)
	if err == nil && have == nil {
		err = errors.New("the kernel does not report attached programs")
	}
	if err != nil || len(have) == 0 {
		return err
	}
	if dir == "" {
		return errors.New("no directory for the programs")
	}
	if err := mountBPF(dir); err != nil {
		return err
	}
	for _, p := range have {
		if err := n.keepProgram(l, p, dir); err != nil {
			return fmt.Errorf("take %s program %d off: %w", p.Point, p.ID, err)
		}
	}
	return nil
}

// keepProgram does nothing more for a bpf_link that an attach which was cut off has
// silenced.
func (n *NetNS) keepProgram(l Link, p program, dir string) error {
	h := attachPoints[p.Point]
	if h.tcx == 0 {
		link, err := xdpLink(l.Index, p.ID)
		if err != nil && !errors.Is(err, errNoLink) {
			return err
		}
		p.Link = link
	}
	if p.Link != 0 && slices.ContainsFunc(keptIn(dir), func(k kept) bool { return k.link == p.Link && k.id != p.ID }) {
		return nil
	}
	if err := pinProgram(p.ID, filepath.Join(dir, kept{p.ID, p.Link, p.Point}.String())); err != nil {
		return err
	}
	if p.Link == 0 {
		return n.detachProgram(l, p)
	}
	return h.silence(p.Link)
}

// mountBPF mounts a BPF file system at a directory, unless it is there.
func mountBPF(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount a BPF file system at %s: %w", dir, err)
	}
	return nil
}

// unsilence gives bpf_links their programs back, before the programs of a link that
// is on the host are restored. One that its owner has closed stays so.
func unsilence(dir string) (refused []failure) {
	for _, k := range keptIn(dir) {
		if k.link == 0 {
			continue
		}
		if err := updateLinkTo(k.link, k.id); err != nil && !errors.Is(err, unix.ENOENT) {
			refused = append(refused, failure{fmt.Sprintf("attach %s program %d to its BPF link %d", k.point, k.id, k.link), err})
		}
	}
	return refused
}

// release lets go of the programs that are kept in a directory. None there is
// success.
func release(dir string) error {
	if dir == "" {
		return nil
	}
	return Unpin(dir)
}
