package netdev

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func serial(attrs ...*nl.RtAttr) []byte {
	var b []byte
	for _, a := range attrs {
		b = append(b, a.Serialize()...)
	}
	return b
}

func dcb(mode byte, ets, pfcEnabled, counter byte, apps ...uint32) []byte {
	list := nested(dcbAppList)
	for _, a := range apps {
		list.AddRtAttr(dcbApp, nl.Uint32Attr(a))
	}
	pfc := make([]byte, 136)
	pfc[1], pfc[8] = pfcEnabled, counter
	return serial(attr(dcbIfName, nl.ZeroTerminated("h0")),
		nested(dcbIEEE, attr(1, append(make([]byte, 58), ets)), attr(2, pfc), list), attr(dcbMode, []byte{mode}))
}

func dcbSamples() map[string][]sample {
	return map[string][]sample{
		"data center bridging": {
			{"all", dcb(1, 1, 1, 0, 5, 6), dcb(2, 2, 2, 0, 6, 7), []string{"set DCB mode", "set DCB ETS", "set DCB PFC",
				"delete DCB application priority 05000000", "add DCB application priority 07000000"}, ""},
			{"counters", dcb(1, 1, 1, 5), dcb(1, 1, 1, 6), nil, ""},
			{"broken", []byte{1, 0, 0, 0}, nil, nil, "attribute of 1 bytes in 4"},
		},
	}
}

// TestDCBAnswer checks that the error of the kernel's answer is read, which is
// one byte.
func TestDCBAnswer(t *testing.T) {
	for code, want := range map[byte]error{0: nil, 0xea: unix.EINVAL, 0xa1: unix.EOPNOTSUPP, 1: unix.EIO} {
		err := dcbError(append(make([]byte, 4), serial(attr(dcbIEEE, []byte{code}))...))
		if !errors.Is(err, want) {
			t.Errorf("%#x: got %v, want %v", code, err, want)
		}
	}
}
