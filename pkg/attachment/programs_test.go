package attachment

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestProgramsOfNoRecord checks that BPF programs which are kept for a link are let
// go of when no record mentions it, and not before.
func TestProgramsOfNoRecord(t *testing.T) {
	w := newResumeWorld(t, 1)
	must(t, w.engine.Attach(t.Context(), allocation.Sandbox{ID: resumeSandbox, PodUID: "uid-web", NetNS: w.pod.Path}))
	w.attached()
	used := w.engine.sandboxes.programs(w.store.All()[0].Attachment.ID)
	unused := w.engine.sandboxes.programs(netdev.Ident{Tag: "dra-netdev-other"})
	for _, dir := range []string{used, unused} {
		must(t, os.MkdirAll(dir, 0o700))
		must(t, unix.Mount("bpf", dir, "bpf", 0, ""))
		t.Cleanup(func() { netdev.Unpin(dir) })
	}
	w.engine.Reconcile(context.Background())
	var st unix.Statfs_t
	if err := unix.Statfs(used, &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
		t.Errorf("the programs of an attached link are gone: %#x, %v", st.Type, err)
	}
	if _, err := os.Stat(unused); err == nil {
		t.Errorf("%s is still there", unused)
	}
	w.engine.Detach(t.Context(), allocation.Sandbox{ID: resumeSandbox})
	w.eventually("the link is restored", func() bool { return len(w.store.InSandbox(resumeSandbox)) == 0 })
	if left, _ := os.ReadDir(filepath.Dir(used)); len(left) > 0 {
		t.Errorf("left after the detach: %v", left)
	}
}
