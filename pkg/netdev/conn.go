package netdev

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	dumpTries = 5  // attempts at a dump that the kernel reports as interrupted
	maxBatch  = 64 // messages in one sendmsg; their ACKs must fit the receive buffer
)

// message is one request. what describes it in errors.
type message struct {
	what     string
	typ      int
	flags    int // beside NLM_F_REQUEST
	body     []nl.NetlinkRequestData
	optional bool  // a failure is reported, but is no error
	already  error // the kernel's answer if there is nothing to do
}

func (m message) request() *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(m.typ, m.flags)
	r.Data = m.body
	return r
}

// batch sends the messages in as few calls as possible and returns one error
// or nil for each. A failed message does not stop the ones after it.
func (c *conn) batch(ms []message) []error {
	errs := make([]error, 0, len(ms))
	for len(ms) > 0 {
		n := min(len(ms), maxBatch)
		errs = append(errs, c.send(ms[:n])...)
		ms = ms[n:]
	}
	return errs
}

// allowed runs the failpoint.
func (c *conn) allowed(what string) error {
	if c.failpoint == nil {
		return nil
	}
	return c.failpoint(what)
}

// do is batch for messages that must all succeed, except the optional ones, whose
// errors it returns separately.
func (c *conn) do(ms ...message) (optional []failure, err error) {
	var errs []error
	for i, e := range c.batch(ms) {
		switch {
		case e == nil || errors.Is(e, ms[i].already):
		case ms[i].optional:
			optional = append(optional, failure{ms[i].what, e})
		default:
			errs = append(errs, fmt.Errorf("%s: %w", ms[i].what, e))
		}
	}
	return optional, join(errs...)
}

// failure is an optional message that the kernel refused.
type failure struct {
	what string
	err  error
}

func (c *conn) send(ms []message) []error {
	var out []byte
	errs := make([]error, len(ms))
	at := map[uint32]int{} // sequence number → message
	for i, m := range ms {
		if errs[i] = c.allowed(m.what); errs[i] != nil {
			continue
		}
		r := m.request()
		r.Flags |= unix.NLM_F_ACK
		b := r.Serialize()
		out = append(out, b...)
		out = append(out, make([]byte, nlAlign(len(b))-len(b))...)
		at[r.Seq] = i
	}
	if len(at) == 0 {
		return errs
	}
	if err := unix.Sendto(c.fd, out, 0, kernel()); err != nil {
		return fill(errs, at, err)
	}
	for len(at) > 0 {
		answers, err := c.receive()
		if err != nil {
			// Whether these messages took effect is unknown: the caller looks.
			return fill(errs, at, fmt.Errorf("wait for acknowledgement: %w", err))
		}
		for _, a := range answers {
			if i, ok := at[a.Header.Seq]; ok && a.Header.Type == unix.NLMSG_ERROR {
				errs[i] = ackError(a)
				delete(at, a.Header.Seq)
			}
		}
	}
	return errs
}

// fill sets err for the messages in at.
func fill(errs []error, at map[uint32]int, err error) []error {
	for _, i := range at {
		errs[i] = err
	}
	return errs
}

// ackError reads the error of an NLMSG_ERROR message, with the kernel's message if
// there is one. It is nil for an acknowledgement.
func ackError(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return fmt.Errorf("acknowledgement of %d bytes: %w", len(m.Data), unix.EBADMSG)
	}
	code := int32(binary.NativeEndian.Uint32(m.Data))
	if code == 0 {
		return nil
	}
	errno := unix.Errno(-code)
	const header = 4 + unix.SizeofNlMsghdr // with NETLINK_CAP_ACK the request is not repeated
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 || len(m.Data) < header {
		return errno
	}
	err := error(errno)
	each(m.Data[header:], func(typ uint16, value []byte) {
		if typ == unix.NLMSGERR_ATTR_MSG {
			err = fmt.Errorf("%w (%s)", errno, text(value))
		}
	})
	return err
}

// dump returns the payloads of all answers to a dump request. It repeats the dump
// if the kernel reports that what was dumped changed meanwhile.
func (c *conn) dump(typ int, body ...nl.NetlinkRequestData) ([][]byte, error) {
	for range dumpTries {
		payloads, interrupted, err := c.dumpOnce(typ, body)
		if err != nil {
			return nil, err
		}
		if !interrupted {
			return payloads, nil
		}
	}
	return nil, nl.ErrDumpInterrupted
}

func (c *conn) dumpOnce(typ int, body []nl.NetlinkRequestData) (payloads [][]byte, interrupted bool, err error) {
	r := message{typ: typ, flags: unix.NLM_F_DUMP, body: body}.request()
	if err := c.allowed(fmt.Sprintf("dump %d", typ)); err != nil {
		return nil, false, err
	}
	if err := unix.Sendto(c.fd, r.Serialize(), 0, kernel()); err != nil {
		return nil, false, err
	}
	for {
		answers, err := c.receive()
		if err != nil {
			return nil, false, err
		}
		for _, a := range answers {
			if a.Header.Seq != r.Seq {
				continue
			}
			interrupted = interrupted || a.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch a.Header.Type {
			case unix.NLMSG_DONE:
				return payloads, interrupted, doneError(a)
			case unix.NLMSG_ERROR:
				return nil, false, ackError(a)
			default:
				payloads = append(payloads, bytes.Clone(a.Data))
			}
		}
	}
}

// doneError reads the status that ends a dump.
func doneError(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}

// get sends one request that has one answer and returns its payload.
func (c *conn) get(m message) ([]byte, error) {
	r := m.request()
	if err := c.allowed(cmp.Or(m.what, "get link")); err != nil {
		return nil, err
	}
	if err := unix.Sendto(c.fd, r.Serialize(), 0, kernel()); err != nil {
		return nil, err
	}
	for {
		answers, err := c.receive()
		if err != nil {
			return nil, err
		}
		for _, a := range answers {
			switch {
			case a.Header.Seq != r.Seq:
			case a.Header.Type == unix.NLMSG_ERROR:
				return nil, ackError(a)
			default:
				return bytes.Clone(a.Data), nil
			}
		}
	}
}

func nlAlign(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// ifi is the header of a message about the link with this index, or 0 for a link
// that the attributes name.
func ifi(index int) *nl.IfInfomsg {
	h := nl.NewIfInfomsg(unix.AF_UNSPEC)
	h.Index = int32(index)
	return h
}

func attr(typ int, data []byte) *nl.RtAttr { return nl.NewRtAttr(typ, data) }

func nested(typ int, children ...*nl.RtAttr) *nl.RtAttr {
	a := nl.NewRtAttr(typ|unix.NLA_F_NESTED, nil)
	for _, c := range children {
		a.AddChild(c)
	}
	return a
}
