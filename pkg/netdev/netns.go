package netdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrNotNetNS means that a path is not a network namespace, such as the plain file
// that is left when a namespace is unmounted.
var ErrNotNetNS = errors.New("not a network namespace")

// NetNS is an open network namespace. It keeps the namespace alive until
// Close. It is not safe for use by several goroutines at once.
type NetNS struct {
	name   string
	handle netns.NsHandle
	conn   *conn
	cookie uint64
}

// Open opens the network namespace at path, such as /run/netns/x, or the
// calling thread's own when path is empty. For a path that is not a network
// namespace the error names what it is.
func Open(path string) (*NetNS, error) {
	name := path
	if path == "" {
		name, path = "host", "/proc/thread-self/ns/net"
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) {
		err = fmt.Errorf("is a socket: %w", ErrNotNetNS)
	}
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	n := &NetNS{name: name, handle: netns.NsHandle(fd)}
	if err := n.init(); err != nil {
		n.Close()
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return n, nil
}

func (n *NetNS) init() error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(n.handle), &st); err != nil {
		return err
	}
	if st.Type != unix.NSFS_MAGIC {
		return fmt.Errorf("is a plain file, the namespace is gone: %w", ErrNotNetNS)
	}
	kind, err := unix.IoctlRetInt(int(n.handle), unix.NS_GET_NSTYPE)
	if err != nil {
		return err
	}
	if kind != unix.CLONE_NEWNET {
		return fmt.Errorf("is a namespace of type %#x: %w", kind, ErrNotNetNS)
	}
	if n.conn, err = dial(n.handle); err != nil {
		return err
	}
	n.cookie, err = unix.GetsockoptUint64(n.conn.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return err
}

// Cookie identifies the namespace until the next boot; unlike the inode
// number it is never used again (SO_NETNS_COOKIE, socket(7)).
func (n *NetNS) Cookie() uint64 { return n.cookie }

// String returns the path that the namespace was opened by, or "host".
func (n *NetNS) String() string { return n.name }

// Close closes the namespace. A second call does nothing.
func (n *NetNS) Close() error {
	if n.conn != nil {
		n.conn.close()
		n.conn = nil
	}
	if !n.handle.IsOpen() {
		return nil
	}
	return n.handle.Close()
}

// Pin keeps the namespace alive by a bind mount at path when its processes and its
// other mounts are gone. An existing pin is kept if it is of this namespace and
// replaced if it is of another.
func (n *NetNS) Pin(path string) error {
	if old, err := Open(path); err == nil {
		defer old.Close()
		if old.cookie == n.cookie {
			return nil
		}
	}
	if err := Unpin(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("pin %s: %w", n, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return fmt.Errorf("pin %s: %w", n, err)
	}
	f.Close()
	source := fmt.Sprintf("/proc/self/fd/%d", int(n.handle))
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		return join(fmt.Errorf("pin %s at %s: %w", n, path, err), os.Remove(path))
	}
	return nil
}

// Unpin undoes Pin. It is no error if there is no pin.
func Unpin(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil &&
		!errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unpin %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin %s: %w", path, err)
	}
	return nil
}

// Within runs f on a thread in the namespace: a socket that f opens stays there.
func (n *NetNS) Within(f func()) error {
	if err := within(n.handle, f); err != nil {
		return fmt.Errorf("enter %s: %w", n, err)
	}
	return nil
}

func within(ns netns.NsHandle, f func()) error {
	done := make(chan error, 1)
	go func() { done <- visit(ns, f) }()
	return <-done
}

// visit runs f on the goroutine's thread in the namespace.
func visit(ns netns.NsHandle, f func()) error {
	return thread(func() error { return netns.Set(ns) }, func() error { f(); return nil })
}

// thread runs f on the goroutine's thread after enter has switched it to another
// namespace. A thread that cannot switch back ends with the goroutine. Ending it
// always is no solution: the process's first thread never ends, and would keep a
// pod's namespace alive.
func thread(enter, f func() error) error {
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	if err = enter(); err == nil {
		err = f()
	}
	if netns.Set(own) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// inScratch runs f on a thread in a new network namespace, which ends with it: to
// see what the kernel does, without a trace.
func inScratch(f func(*NetNS)) error {
	done := make(chan error, 1)
	go func() {
		done <- thread(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error {
			n, err := Open("")
			if err != nil {
				return err
			}
			defer n.Close()
			f(n)
			return nil
		})
	}()
	return <-done
}
