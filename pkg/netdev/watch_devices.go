package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// deviceEvents are the kernel's events (`udevadm monitor --kernel`) after which
// there may be a device without a link more or less: a PCI function got another
// driver or is gone, or an RDMA device came or went. A link reports nothing of that.
var deviceEvents = []struct{ subsystem, actions string }{
	{"pci", "bind unbind remove"},
	{"infiniband", "add remove move"},
}

// openDeviceWatch returns a socket that receives the kernel's events of devices,
// which each network namespace gets that belongs to the first user namespace.
func openDeviceWatch() (*os.File, error) {
	const kernelEvents = 1 // the multicast group; 2 is udev's
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open socket of device events: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelEvents}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("subscribe to device events: %w", err)
	}
	return os.NewFile(uintptr(fd), "uevent"), nil
}

// reportsDevice reports whether the kernel has sent one of deviceEvents to a socket
// of openDeviceWatch, or an event that did not fit (ENOBUFS).
func reportsDevice(fd uintptr) bool {
	buffer := make([]byte, 8<<10) // the kernel's events have 4 KiB at most
	for {
		n, from, err := unix.Recvfrom(int(fd), buffer, unix.MSG_DONTWAIT)
		sender, ok := from.(*unix.SockaddrNetlink)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil || ok && sender.Pid == kernelPort && isDeviceEvent(buffer[:n]):
			return true
		}
	}
}

// isDeviceEvent reports whether an event, ACTION@PATH and then KEY=VALUE, each with
// a 0 at its end, is one of deviceEvents.
func isDeviceEvent(event []byte) bool {
	var action, subsystem string
	for field := range bytes.SplitSeq(event, []byte{0}) {
		switch key, value, _ := strings.Cut(string(field), "="); key {
		case "ACTION":
			action = value
		case "SUBSYSTEM":
			subsystem = value
		}
	}
	for _, e := range deviceEvents {
		if subsystem == e.subsystem && slices.Contains(strings.Fields(e.actions), action) {
			return true
		}
	}
	return false
}
