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
	bpfFD  = 6
	bpfTag = 10
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

// programTag returns a hash of the program (struct bpf_prog_info: type, id, tag).
func programTag(fd int) ([]byte, error) {
	var info [64]byte
	q := struct {
		fd, size uint32
		info     unsafe.Pointer
	}{uint32(fd), uint32(len(info)), unsafe.Pointer(&info)}
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&q), unsafe.Sizeof(q))
	return info[8:16], err
}
