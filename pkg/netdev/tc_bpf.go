package netdev

import (
	"bytes"
	"errors"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options of a filter of kind bpf (TCA_BPF_…), beside bpfID.
const (
	bpfFD   = 6
	bpfName = 7
	bpfTag  = 10
)

var errOtherProgram = errors.New("its program no longer exists")

// openProgram returns the object with its eBPF program's file descriptor, if it has
// one, in place of the id by which the kernel reports it. The caller calls done when
// the request is sent.
func (o tcObject) openProgram() (_ tcObject, done func(), err error) {
	options := o.options()
	id := find(options, bpfID)
	if o.Kind != kindBPF || id == nil {
		return o, func() {}, nil
	}
	fd, err := byID(unix.BPF_PROG_GET_FD_BY_ID, u32(id))
	if errors.Is(err, unix.ENOENT) {
		err = errOtherProgram
	}
	if err != nil {
		return o, nil, err
	}
	if tag, err := programTag(fd); err != nil || !bytes.Equal(tag, find(options, bpfTag)) {
		unix.Close(fd)
		return o, nil, join(err, errOtherProgram)
	}
	options = slices.DeleteFunc(options, func(a Attr) bool { return a.is(bpfID) || a.is(bpfTag) })
	return o.withOptions(append(options, Attr{bpfFD, u32Bytes(uint32(fd))})), func() { unix.Close(fd) }, nil
}

// programTag returns a hash of the program.
func programTag(fd int) ([]byte, error) {
	info, err := programInfo(fd)
	return info[8:16], err
}

// programName returns the name of a program, which has at most 15 bytes, or "".
func programName(id uint32) string {
	fd, err := byID(unix.BPF_PROG_GET_FD_BY_ID, id)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	info, _ := programInfo(fd)
	return text(info[64:80])
}

// programInfo returns the beginning of struct bpf_prog_info: type, id, tag, from
// byte 16 on what is not needed, and from byte 64 on the name.
func programInfo(fd int) (info [80]byte, err error) {
	q := struct {
		fd, size uint32
		info     unsafe.Pointer
	}{uint32(fd), uint32(len(info)), unsafe.Pointer(&info)}
	_, err = bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&q), unsafe.Sizeof(q))
	return info, err
}
