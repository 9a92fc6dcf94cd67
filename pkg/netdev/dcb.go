package netdev

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Data center bridging, as dcb(8) sets it: which traffic class a priority has, and
// how classes share the link. See linux/dcbnl.h.
const (
	dcbIfName  = 1 // DCB_ATTR_IFNAME
	dcbIEEE    = 13
	dcbMode    = 14 // DCB_ATTR_DCBX
	dcbIEEESet = 20 // DCB_CMD_IEEE_SET
	dcbIEEEGet = 21
	dcbModeSet = 23 // DCB_CMD_SDCBX
	dcbIEEEDel = 27
	dcbAppList = 3 // DCB_ATTR_IEEE_APP_TABLE
	dcbApp     = 1 // DCB_ATTR_IEEE_APP
	dcbSetting = 0xdc00
)

// dcbStructs are the attributes of DCB_ATTR_IEEE that can be set, and how many
// of their bytes; counters may follow those.
var dcbStructs = []struct {
	typ  uint16
	name string
	size int
}{
	{1, "ETS", 59},
	{2, "PFC", 6},
	{7, "maximum rates", 64},
	{10, "buffers", 40},
}

// dcbHeader is struct dcbmsg.
type dcbHeader [4]byte

func (h dcbHeader) Len() int          { return len(h) }
func (h dcbHeader) Serialize() []byte { return h[:] }

// dcbMessage is a request about a link, which the kernel accepts by name only.
func dcbMessage(typ int, command byte, l Link, attrs ...*nl.RtAttr) message {
	m := message{what: "get DCB", typ: typ, body: []nl.NetlinkRequestData{dcbHeader{1: command}, attr(dcbIfName, nl.ZeroTerminated(l.Name))}}
	for _, a := range attrs {
		m.body = append(m.body, a)
	}
	return m
}

// readDCB returns the attributes of the kernel's answer.
func readDCB(c *conn, l Link) ([]byte, error) {
	b, err := c.get(dcbMessage(unix.RTM_GETDCB, dcbIEEEGet, l))
	if err != nil {
		return nil, err
	}
	if len(b) < len(dcbHeader{}) {
		return nil, unix.EBADMSG
	}
	return b[len(dcbHeader{}):], nil
}

// setDCB makes a request and returns the error of its answer.
func (c *conn) setDCB(m message) error {
	b, err := c.get(m)
	if err != nil {
		return err
	}
	return dcbError(b)
}

// dcbError reads the answer to a request: one byte, which is the low one of an
// error, or 1 where a mode is refused.
func dcbError(b []byte) error {
	if len(b) < len(dcbHeader{}) {
		return unix.EBADMSG
	}
	var code byte
	err := each(b[len(dcbHeader{}):], func(typ uint16, v []byte) {
		if typ == dcbIEEE || typ == dcbMode {
			code = u8(v)
		}
	})
	if err != nil || code == 0 {
		return err
	}
	if n := -int8(code); n > 0 {
		return unix.Errno(n)
	}
	return unix.EIO
}

// dcbState is what is set: the structs by attribute, the application
// priorities, and the mode (DCB_CAP_DCBX_…), nil where there is none.
type dcbState struct {
	structs map[uint16][]byte
	apps    [][]byte
	mode    []byte
}

func decodeDCB(b []byte) (s dcbState, err error) {
	s.structs = map[uint16][]byte{}
	var broken error
	err = each(b, func(typ uint16, v []byte) {
		switch typ {
		case dcbMode:
			s.mode = v
		case dcbIEEE:
			broken = each(v, func(typ uint16, v []byte) {
				if typ != dcbAppList {
					s.structs[typ] = v
					return
				}
				_ = each(v, func(typ uint16, v []byte) {
					if typ == dcbApp {
						s.apps = append(s.apps, v)
					}
				})
			})
		}
	})
	if err == nil {
		err = broken
	}
	return s, err
}

// diffDCB sets the mode first: it determines who may set the rest.
func diffDCB(have, want []byte) ([]change, error) {
	h, err := decodeDCB(have)
	if err != nil {
		return nil, err
	}
	w, err := decodeDCB(want)
	if err != nil {
		return nil, err
	}
	var changes []change
	request := func(what string, command byte, a *nl.RtAttr) {
		changes = append(changes, change{what: what, message: func(l Link) message { return dcbMessage(unix.RTM_SETDCB, command, l, a) }})
	}
	if len(w.mode) > 0 && !bytes.Equal(h.mode, w.mode) {
		request("set DCB mode", dcbModeSet, attr(dcbMode, w.mode))
	}
	for _, s := range dcbStructs {
		x, y := h.structs[s.typ], w.structs[s.typ]
		if len(x) >= s.size && len(x) == len(y) && !bytes.Equal(x[:s.size], y[:s.size]) {
			request("set DCB "+s.name, dcbIEEESet, nested(dcbIEEE, attr(int(s.typ), y)))
		}
	}
	app := func(what string, command byte, apps, except [][]byte) {
		for _, a := range apps {
			if !slices.ContainsFunc(except, func(b []byte) bool { return bytes.Equal(a, b) }) {
				request(fmt.Sprintf("%s DCB application priority %x", what, a), command, nested(dcbIEEE, nested(dcbAppList, attr(dcbApp, a))))
			}
		}
	}
	app("delete", dcbIEEEDel, h.apps, w.apps)
	app("add", dcbIEEESet, w.apps, h.apps)
	return changes, nil
}
