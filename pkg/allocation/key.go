package allocation

import (
	"fmt"
	"strings"
)

// Key names one device of one claim. It is the only spelling of that: files,
// interface tags, CDI devices, environment entries and queues derive from it.
// The zero value names nothing.
type Key struct {
	ClaimUID string // 36 bytes
	Device   string // 63 bytes at most
	Share    string // tells the claims apart that share a device; empty for a device that one claim holds alone
}

// parts returns the fields that are set.
func (k Key) parts() []string {
	if k.Share == "" {
		return []string{k.ClaimUID, k.Device}
	}
	return []string{k.ClaimUID, k.Device, k.Share}
}

// String returns CLAIMUID/DEVICE, which ParseKey reads.
func (k Key) String() string { return strings.Join(k.parts(), "/") }

// File is the name of the record's file.
func (k Key) File() string { return strings.Join(k.parts(), "_") + suffix }

// Tag is the altname that a link has while the driver has moved or is about to
// move it; see `ip link show TAG`. It fits the 127 bytes of an altname.
func (k Key) Tag() string { return "dra-netdev-" + strings.Join(k.parts(), "-") }

// CDIName is the name of the device in the claim's CDI spec.
func (k Key) CDIName() string { return strings.Join(k.parts(), "-") }

// ParseKey reads what Key.String returns.
func ParseKey(s string) (Key, error) {
	f := strings.Split(s, "/")
	if len(f) < 2 || len(f) > 3 {
		return Key{}, fmt.Errorf("%q does not name a claim and a device: want CLAIMUID/DEVICE", s)
	}
	k := Key{ClaimUID: f[0], Device: f[1]}
	if len(f) == 3 {
		k.Share = f[2]
	}
	return k, nil
}
