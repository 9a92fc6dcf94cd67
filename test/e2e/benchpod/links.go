package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const linkBuffer = 8 << 20 // bytes: no event may be lost

// linkNames are the names of a namespace's links, by index.
type linkNames map[int32]string

func (l linkNames) set() map[string]bool {
	all := make(map[string]bool, len(l))
	for _, name := range l {
		all[name] = true
	}
	return all
}

// inNetNS runs f in a network namespace. What f opens stays in there.
func inNetNS[T any](path string, f func() (T, error)) (value T, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		var ns *os.File
		if ns, err = os.Open(path); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter %s: %w", path, err)
			return
		}
		value, err = f()
	}()
	<-done
	return value, err
}

// watchLinks returns the names of the links in a network namespace, kept up to
// date for as long as the program runs.
func watchLinks(netns string) (*board[linkNames], error) {
	socket, err := inNetNS(netns, linkSocket)
	if err != nil {
		return nil, fmt.Errorf("watch links: %w", err)
	}
	links, listed := newBoard(linkNames{}), make(chan struct{})
	go func() {
		links.fail(readLinks(socket, links, listed))
		unix.Close(socket)
	}()
	select {
	case <-listed:
		return links, nil
	case <-time.After(5 * time.Second):
		return nil, fmt.Errorf("watch links: the kernel did not list them")
	}
}

// linkSocket returns a socket that receives all changes of links, and then the
// list of them, which it has asked for.
func linkSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, linkBuffer); err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return 0, err
	}
	request := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(request[0:], uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	return fd, unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// readLinks applies what the socket receives, and closes listed at the end of
// the list. It returns why it could not go on.
func readLinks(socket int, links *board[linkNames], listed chan struct{}) error {
	buffer := make([]byte, 1<<17)
	for {
		n, _, err := unix.Recvfrom(socket, buffer, 0)
		at := time.Now()
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("read changes of links: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("read changes of links: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type == unix.NLMSG_DONE {
				close(listed)
			} else if event := linkEvent(m); event != nil {
				links.change(at, event)
			}
		}
	}
}

// linkEvent returns what a message changes; nil if nothing.
func linkEvent(m syscall.NetlinkMessage) func(linkNames) {
	if m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK || len(m.Data) < unix.SizeofIfInfomsg {
		return nil
	}
	if m.Data[0] == unix.AF_BRIDGE {
		return nil // of a bridge's port, which goes on to be a link
	}
	index := int32(binary.NativeEndian.Uint32(m.Data[4:]))
	if m.Header.Type == unix.RTM_DELLINK {
		return func(l linkNames) { delete(l, index) }
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return nil
	}
	for _, a := range attributes {
		if a.Attr.Type == unix.IFLA_IFNAME {
			name := string(bytes.TrimRight(a.Value, "\x00"))
			return func(l linkNames) { l[index] = name }
		}
	}
	return nil
}
