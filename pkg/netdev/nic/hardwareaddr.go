package nic

import (
	"fmt"
	"net"
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
	out := make([]byte, (len(text)+1)/3)
	for i := range out {
		last := i == len(out)-1
		if last && len(text) != 3*i+2 || !last && text[3*i+2] != ':' {
			return fmt.Errorf("not a hardware address")
		}
		if _, err := fmt.Sscanf(string(text[3*i:3*i+2]), "%02x", &out[i]); err != nil {
			return fmt.Errorf("not a hardware address: %w", err)
		}
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
