package netdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// watchGroups are the rtnetlink groups of what Links returns, as bits.
const watchGroups = 1<<(unix.RTNLGRP_LINK-1) |
	1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1) |
	1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1) | 1<<(unix.RTNLGRP_NEXTHOP-1)

// Watch returns a channel that is closed after the first change of a link, an
// address, a route or a next hop object of the calling thread's namespace from
// now on, after the first of deviceEvents, or when ctx ends. It is a hint only:
// read Links to learn what is there.
//
// A watch reports one change, so that a storm of them costs what one costs: a
// reader that must miss nothing opens the next watch and then calls Links.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	links, err := openWatch()
	if err != nil {
		return nil, fmt.Errorf("watch links: %w", err)
	}
	devices, err := openDeviceWatch()
	if err != nil {
		links.Close()
		return nil, fmt.Errorf("watch devices: %w", err)
	}
	ctx, end := context.WithCancel(ctx)
	var readers sync.WaitGroup
	readers.Go(func() { awaitReport(ctx, links, reportsChange); end() })
	readers.Go(func() { awaitReport(ctx, devices, reportsDevice); end() })
	changed := make(chan struct{})
	go func() { // ends with the first change or with ctx
		readers.Wait()
		close(changed)
	}()
	return changed, nil
}

// awaitReport waits until a socket reports something or ctx ends, and closes it. A
// socket that is no good has reported something: then the next one is opened.
func awaitReport(ctx context.Context, socket *os.File, reports func(fd uintptr) bool) {
	defer socket.Close()
	stop := context.AfterFunc(ctx, func() { socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if raw, err := socket.SyscallConn(); err == nil {
		raw.Read(reports) // an error means that ctx has ended
	}
}

// openWatch returns a socket that is subscribed to watchGroups. It receives the
// kernel's multicasts and no other process's messages: it is connected to the
// kernel, and reportsChange checks the sender. Its buffer is the smallest there is:
// the kernel drops what follows the first message instead of copying it.
func openWatch() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, netlinkType)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set receive buffer: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: watchGroups}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if err := unix.Connect(fd, kernel()); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to the kernel: %w", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// reportsChange reports whether the kernel has sent a message to a socket of
// openWatch, also one that did not fit (ENOBUFS). It copies none.
func reportsChange(fd uintptr) bool {
	for {
		_, from, err := unix.Recvfrom(int(fd), nil, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		sender, ok := from.(*unix.SockaddrNetlink)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil || ok && sender.Pid == kernelPort:
			return true
		}
	}
}
