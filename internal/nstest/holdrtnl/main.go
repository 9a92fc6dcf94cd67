// Command holdrtnl holds the kernel's RTNL lock for a given time, like a busy or
// broken node: meanwhile every request that changes a link waits, in all network
// namespaces. It is for tests only and needs root.
//
// With -pause it holds the lock again and again, until its standard input ends:
// a kernel that answers, but slowly.
//
// It reads a link's statistics with an ioctl (SIOCETHTOOL). The kernel holds the
// lock while it copies them to the caller's memory, here a missing page, and a
// userfaultfd (ioctl_userfaultfd(2)) delays the page.
package main

import (
	"flag"
	"fmt"
	"io"
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
	pause := flag.Duration("pause", 0, "how long to let go of it before holding it again; 0 holds it once")
	link := flag.String("link", "", "a veth in a namespace that only the caller uses; empty makes both")
	flag.Parse()
	var err error
	if *link == "" {
		err = inOwnNamespace(*d, *pause)
	} else {
		err = hold(*link, *d, *pause)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "holdrtnl: %v\n", err)
		os.Exit(1)
	}
}

// inOwnNamespace runs this program again in a new namespace with a veth, without
// the Go runtime's preemption signals, which would end the kernel's wait early.
func inOwnNamespace(d, pause time.Duration) error {
	c := exec.Command("unshare", "--net", "sh", "-c", `ip link add v0 type veth peer name v1 && exec "$0" -link v0 -for "$1" -pause "$2"`, "/proc/self/exe", d.String(), pause.String())
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	c.Args[5] = exe
	c.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c.Run()
}

// hold holds the lock for d, and again after each pause unless that is 0. It
// prints "held" just before it takes it for the first time.
func hold(link string, d, pause time.Duration) error {
	page, fd, err := missingPage()
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { // ends with the standard input
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	fmt.Println("held")
	for {
		if err := holdOnce(socket, link, page, fd, d); err != nil || pause == 0 {
			return err
		}
		select {
		case <-ended:
			return nil
		case <-time.After(pause):
		}
		if err := unix.Madvise(page[len(page)/2:], unix.MADV_DONTNEED); err != nil { // missing again
			return fmt.Errorf("madvise: %w", err)
		}
	}
}

// missingPage returns two pages of memory, and a userfaultfd for the second,
// which is missing.
func missingPage() (pages []byte, fd uintptr, err error) {
	dev, err := unix.Open("/dev/userfaultfd", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open /dev/userfaultfd: %w", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(dev), uffdIoNew, unix.O_CLOEXEC)
	if errno != 0 {
		return nil, 0, fmt.Errorf("make userfaultfd: %w", errno)
	}
	api := struct{ api, features, ioctls uint64 }{api: uffdAPI}
	if err := control(fd, uffdioAPI, unsafe.Pointer(&api)); err != nil {
		return nil, 0, fmt.Errorf("UFFDIO_API: %w", err)
	}
	page := os.Getpagesize()
	pages, err = unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, 0, fmt.Errorf("mmap: %w", err)
	}
	register := struct{ start, length, mode, ioctls uint64 }{second(pages), uint64(page), missing, 0}
	if err := control(fd, uffdioRegister, unsafe.Pointer(&register)); err != nil {
		return nil, 0, fmt.Errorf("UFFDIO_REGISTER: %w", err)
	}
	return pages, fd, nil
}

// second is the address of the second of two pages.
func second(pages []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&pages[len(pages)/2]))) }

func holdOnce(socket int, link string, pages []byte, fd uintptr, d time.Duration) error {
	page := len(pages) / 2
	time.AfterFunc(d, func() {
		zero := struct {
			start, length, mode uint64
			zeroed              int64
		}{second(pages), uint64(page), 0, 0}
		if err := control(fd, uffdioZeroPage, unsafe.Pointer(&zero)); err != nil {
			fmt.Fprintf(os.Stderr, "holdrtnl: UFFDIO_ZEROPAGE: %v\n", err)
		}
	})
	// struct ethtool_stats: cmd and n_stats on the first page, the data on the
	// second.
	stats := pages[page-8:]
	*(*uint32)(unsafe.Pointer(&stats[0])) = getStats
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], link)
	request.data = unsafe.Pointer(&stats[0])
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
