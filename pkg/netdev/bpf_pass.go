package netdev

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	progTypeTC  = 3      // BPF_PROG_TYPE_SCHED_CLS
	progTypeXDP = 6      // BPF_PROG_TYPE_XDP
	attachXDP   = 37     // BPF_XDP
	xdpHasFrags = 1 << 5 // BPF_F_XDP_HAS_FRAGS, Linux 5.18
)

// passName is the name of the program that does nothing, in `bpftool prog`.
const passName = "dra_netdev_pass"

// pass loads a program that does nothing, for the place of one of this attach
// point: XDP_PASS, or TCX_NEXT.
func (h attachPoint) pass(attachType, flags uint32) (fd int, err error) {
	kind, result := uint32(progTypeXDP), uint64(2)
	if h.tcx != 0 {
		kind, result = progTypeTC, 0xffffffff
	}
	code := [...]uint64{result<<32 | 0xb7, 0x95} // r0 = result; exit
	license := [...]byte{'G', 'P', 'L', 0}
	a := struct {
		kind, count         uint32
		code, license       unsafe.Pointer
		_                   [4]uint32
		_, flags            uint32
		name                [unix.BPF_OBJ_NAME_LEN]byte
		_, attachType, _, _ uint32
	}{kind: kind, count: uint32(len(code)), code: unsafe.Pointer(&code), license: unsafe.Pointer(&license), flags: flags, attachType: attachType}
	copy(a.name[:], passName)
	for range dumpTries { // EAGAIN: a signal was pending for the thread, as Go's scheduler sends them
		if fd, err = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&a), unsafe.Sizeof(a)); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return fd, err
}

// silence puts a program that does nothing in the place of the one that a bpf_link
// attaches. The kernel wants one loaded for the same attach type, which it does not
// report.
func (h attachPoint) silence(link uint32) error {
	tries := [][2]uint32{{attachXDP, xdpHasFrags}, {attachXDP, 0}, {0, xdpHasFrags}, {0, 0}}
	if h.tcx != 0 {
		tries = tries[3:]
	}
	var err error
	for _, as := range tries {
		var fd int
		if fd, err = h.pass(as[0], as[1]); err != nil {
			continue
		}
		err = updateLink(link, fd)
		unix.Close(fd)
		if err == nil {
			return nil
		}
	}
	return err
}

// updateLink makes a bpf_link attach another program.
func updateLink(link uint32, program int) error {
	fd, err := byID(unix.BPF_LINK_GET_FD_BY_ID, link)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	a := [4]uint32{uint32(fd), uint32(program)}
	_, err = bpf(unix.BPF_LINK_UPDATE, unsafe.Pointer(&a), unsafe.Sizeof(a))
	return err
}

func updateLinkTo(link, programID uint32) error {
	fd, err := byID(unix.BPF_PROG_GET_FD_BY_ID, programID)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return updateLink(link, fd)
}

// pinProgram pins a program in a BPF file system, so that it stays loaded.
func pinProgram(id uint32, path string) error {
	fd, err := byID(unix.BPF_PROG_GET_FD_BY_ID, id)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	name := append([]byte(path), 0)
	a := struct {
		path      unsafe.Pointer
		fd, flags uint32
	}{path: unsafe.Pointer(&name[0]), fd: uint32(fd)}
	if _, err = bpf(unix.BPF_OBJ_PIN, unsafe.Pointer(&a), unsafe.Sizeof(a)); errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
