package nic

import (
	"encoding/hex"
	"errors"
	"net"
	"strings"
)

// HardwareAddr is a link-layer address of any length. As text it has the
// colon form, "00:11:22:33:44:55"; the zero value is the empty text.
type HardwareAddr []byte

// String returns the colon form.
func (a HardwareAddr) String() string { return net.HardwareAddr(a).String() }

// MarshalText implements encoding.TextMarshaler.
func (a HardwareAddr) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It reads what
// net.ParseMAC reads, and the bytes of any other length in the colon form.
func (a *HardwareAddr) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = nil
		return nil
	}
	if mac, err := net.ParseMAC(string(text)); err == nil {
		*a = HardwareAddr(mac)
		return nil
	}
	var out []byte
	for part := range strings.SplitSeq(string(text), ":") {
		b, err := hex.DecodeString(part)
		if err != nil || len(b) != 1 {
			return errors.New("not a hardware address")
		}
		out = append(out, b[0])
	}
	*a = out
	return nil
}

// Unicast reports whether the address can be given to an Ethernet link.
func (a HardwareAddr) Unicast() bool {
	zero := true
	for _, b := range a {
		zero = zero && b == 0
	}
	return len(a) > 0 && !zero && a[0]&1 == 0
}
