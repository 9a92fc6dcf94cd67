// Command holdrtnl holds the kernel's RTNL lock for a given time, like a busy or
// broken node: meanwhile every request that changes a link waits, in all network
// namespaces. It is for tests only and needs root.
//
// It reads a link's statistics with an ioctl (SIOCETHTOOL). The kernel holds the
// lock while it copies them to the caller's memory, here a missing page, and a
// userfaultfd (ioctl_userfaultfd(2)) delays the page.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From <linux/userfaultfd.h> and <linux/ethtool.h>.
const (
	uffdIoNew      = 0xaa00
	uffdioAPI      = 0xc018aa3f
	uffdioRegister = 0xc020aa00
	uffdioZeroPage = 0xc020aa04
	uffdAPI        = 0xaa
	missing        = 1
	getStats       = 0x1d
)

func main() {
	d := flag.Duration("for", 3*time.Second, "how long")
	link := flag.String("link", "", "a veth in a namespace that only the caller uses; empty makes both")
	flag.Parse()
	var err error
	if *link == "" {
		err = inOwnNamespace(*d)
	} else {
		err = hold(*link, *d)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "holdrtnl: %v\n", err)
		os.Exit(1)
	}
}

// inOwnNamespace runs this program again in a new namespace with a veth, without
// the Go runtime's preemption signals, which would end the kernel's wait early.
func inOwnNamespace(d time.Duration) error {
	c := exec.Command("unshare", "--net", "sh", "-c", `ip link add v0 type veth peer name v1 && exec "$0" -link v0 -for "$1"`, "/proc/self/exe", d.String())
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	c.Args[5] = exe
	c.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

// hold holds the lock for d. It prints "held" just before it takes it.
func hold(link string, d time.Duration) error {
	dev, err := unix.Open("/dev/userfaultfd", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/userfaultfd: %w", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(dev), uffdIoNew, unix.O_CLOEXEC)
	if errno != 0 {
		return fmt.Errorf("make userfaultfd: %w", errno)
	}
	api := struct{ api, features, ioctls uint64 }{api: uffdAPI}
	if err := control(fd, uffdioAPI, unsafe.Pointer(&api)); err != nil {
		return fmt.Errorf("UFFDIO_API: %w", err)
	}
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	second := uint64(uintptr(unsafe.Pointer(&memory[page])))
	register := struct{ start, length, mode, ioctls uint64 }{second, uint64(page), missing, 0}
	if err := control(fd, uffdioRegister, unsafe.Pointer(&register)); err != nil {
		return fmt.Errorf("UFFDIO_REGISTER: %w", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	time.AfterFunc(d, func() {
		zero := struct {
			start, length, mode uint64
			zeroed              int64
		}{second, uint64(page), 0, 0}
		if err := control(fd, uffdioZeroPage, unsafe.Pointer(&zero)); err != nil {
			fmt.Fprintf(os.Stderr, "holdrtnl: UFFDIO_ZEROPAGE: %v\n", err)
		}
	})
	// struct ethtool_stats: cmd and n_stats on the first page, the data on the
	// second.
	stats := memory[page-8:]
	*(*uint32)(unsafe.Pointer(&stats[0])) = getStats
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], link)
	request.data = unsafe.Pointer(&stats[0])
	fmt.Println("held")
	start := time.Now()
	if err := control(uintptr(socket), unix.SIOCETHTOOL, unsafe.Pointer(&request)); err != nil {
		return fmt.Errorf("ETHTOOL_GSTATS of %s after %v: %w", link, time.Since(start), err)
	}
	if took := time.Since(start); took < d/2 {
		return fmt.Errorf("held the lock for %v only", took)
	}
	return nil
}

// control is ioctl(2) with a pointer argument.
func control(fd uintptr, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
