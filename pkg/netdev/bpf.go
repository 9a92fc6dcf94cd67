package netdev

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The requests of bpf(2) are made here: the package cilium/ebpf v0.22.0 would add
// 1.1 MB to the driver and 1.4 MB to its runtime hook.

// program is a BPF program on a link.
type program struct {
	Point string `json:"hook"` // a key of attachPoints
	ID    uint32 `json:"id"`
	Link  uint32 `json:"-"` // id of the bpf_link that attaches it, 0 if none does or it is not known
}

func (p program) same(o program) bool { return p.Point == o.Point && p.ID == o.ID }

// attachPoint is a place for programs: of XDP, with the attribute that reports it
// and the flag that selects it, or of tcx.
type attachPoint struct {
	shown uint16 // IFLA_XDP_
	flag  uint32 // XDP_FLAGS_
	tcx   uint32 // BPF_TCX_, 0 for XDP
}

var attachPoints = map[string]attachPoint{
	"xdpdrv":      {shown: unix.IFLA_XDP_DRV_PROG_ID, flag: unix.XDP_FLAGS_DRV_MODE},
	"xdpgeneric":  {shown: unix.IFLA_XDP_SKB_PROG_ID, flag: unix.XDP_FLAGS_SKB_MODE},
	"xdpoffload":  {shown: unix.IFLA_XDP_HW_PROG_ID, flag: unix.XDP_FLAGS_HW_MODE},
	"tcx/ingress": {tcx: unix.BPF_TCX_INGRESS},
	"tcx/egress":  {tcx: unix.BPF_TCX_EGRESS},
}

const (
	maxPrograms = 64 // of one tcx attach point, the kernel's limit
	linkTypeXDP = 6  // BPF_LINK_TYPE_XDP

	mprogBefore, mprogAfter, mprogByID = 1 << 3, 1 << 4, 1 << 5 // BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID
)

// decodeXDP reads IFLA_XDP.
func decodeXDP(b []byte) (all []program) {
	each(b, func(typ uint16, v []byte) {
		for name, h := range attachPoints {
			if h.tcx == 0 && h.shown == typ {
				all = append(all, program{Point: name, ID: u32(v)})
			}
		}
	})
	return all
}

// tcx returns the programs of a tcx attach point, in the thread's namespace. A
// kernel before 6.6 has no such attach points and answers EINVAL.
func tcx(name string, point uint32, index int) (all []program, err error) {
	var ids, links [maxPrograms]uint32
	q := struct { // BPF_PROG_QUERY
		index, point, flags, attachFlags uint32
		ids                              unsafe.Pointer
		count, _                         uint32
		attached                         uint64
		links                            unsafe.Pointer
		linkFlags, revision              uint64
	}{index: uint32(index), point: point, ids: unsafe.Pointer(&ids), links: unsafe.Pointer(&links), count: maxPrograms}
	switch _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&q), unsafe.Sizeof(q)); {
	case errors.Is(err, unix.EINVAL):
		return nil, nil
	case err != nil:
		return nil, err
	}
	for i := range min(q.count, maxPrograms) {
		all = append(all, program{name, ids[i], links[i]})
	}
	return all, nil
}

func (n *NetNS) detachProgram(l Link, p program) error {
	h := attachPoints[p.Point]
	switch {
	case p.Link != 0:
		return detachLink(p.Link)
	case h.tcx != 0:
		return n.tcxProgram(unix.BPF_PROG_DETACH, l, h, p, [2]uint32{})
	}
	err := n.setXDP(l, h, -1)
	if err == nil {
		return nil
	}
	holder, search := xdpLink(l.Index, p.ID)
	if search != nil {
		return join(err, search)
	}
	return detachLink(holder)
}

// attachProgram attaches a program, of tcx after another one, or as the first if
// that is 0.
func (n *NetNS) attachProgram(l Link, p program, after uint32) error {
	h := attachPoints[p.Point]
	if h.tcx != 0 {
		order := [2]uint32{mprogBefore}
		if after != 0 {
			order = [2]uint32{mprogAfter | mprogByID, after}
		}
		err := n.tcxProgram(unix.BPF_PROG_ATTACH, l, h, p, order)
		if err != nil && after != 0 { // that one is not there
			err = n.tcxProgram(unix.BPF_PROG_ATTACH, l, h, p, [2]uint32{})
		}
		return err
	}
	fd, err := byID(unix.BPF_PROG_GET_FD_BY_ID, p.ID)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return n.setXDP(l, h, fd)
}

// setXDP attaches the program, or detaches what is there if fd is -1.
func (n *NetNS) setXDP(l Link, h attachPoint, fd int) error {
	xdp := nested(unix.IFLA_XDP, attr(unix.IFLA_XDP_FD, nl.Uint32Attr(uint32(fd))), attr(unix.IFLA_XDP_FLAGS, nl.Uint32Attr(h.flag)))
	_, err := n.conn.do(set(true, l.Index, "set XDP program", xdp)...)
	return err
}

// tcxProgram attaches or detaches a program; order is the flags and the id of the
// program to which they refer.
func (n *NetNS) tcxProgram(command int, l Link, h attachPoint, p program, order [2]uint32) error {
	fd, err := byID(unix.BPF_PROG_GET_FD_BY_ID, p.ID)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var done error
	err = n.Within(func() {
		a := [8]uint32{uint32(l.Index), uint32(fd), h.tcx, order[0], 0, order[1]}
		_, done = bpf(command, unsafe.Pointer(&a), unsafe.Sizeof(a))
	})
	return join(err, done)
}

var errNoLink = errors.New("no bpf_link attaches it")

// xdpLink returns the id of the bpf_link that attaches the XDP program to a link
// with this index. The kernel does not report that link's namespace, so if several
// fit, none is returned.
func xdpLink(index int, programID uint32) (found uint32, err error) {
	for id := uint32(0); ; {
		a := [3]uint32{id}
		if _, err := bpf(unix.BPF_LINK_GET_NEXT_ID, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil {
			break // there is no further one
		}
		id = a[1]
		fd, err := byID(unix.BPF_LINK_GET_FD_BY_ID, id)
		if err != nil {
			continue // deleted meanwhile
		}
		var info [64]byte // struct bpf_link_info: type, id, program's id, ifindex from byte 16 on
		q := struct {
			fd, size uint32
			info     unsafe.Pointer
		}{uint32(fd), uint32(len(info)), unsafe.Pointer(&info)}
		_, err = bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&q), unsafe.Sizeof(q))
		unix.Close(fd)
		at := func(i int) uint32 { return binary.NativeEndian.Uint32(info[i:]) }
		if err != nil || at(0) != linkTypeXDP || at(8) != programID || at(16) != uint32(index) {
			continue
		}
		if found != 0 {
			return 0, errors.New("several bpf_links may attach it")
		}
		found = id
	}
	if found == 0 {
		return 0, errNoLink
	}
	return found, nil
}

// detachLink detaches a bpf_link's program, also if others have the bpf_link open.
func detachLink(id uint32) error {
	fd, err := byID(unix.BPF_LINK_GET_FD_BY_ID, id)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	a := [1]uint32{uint32(fd)}
	_, err = bpf(unix.BPF_LINK_DETACH, unsafe.Pointer(&a), unsafe.Sizeof(a))
	return err
}

func byID(command int, id uint32) (fd int, err error) {
	a := [3]uint32{id}
	return bpf(command, unsafe.Pointer(&a), unsafe.Sizeof(a))
}

func bpf(command int, a unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(a), size)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}
