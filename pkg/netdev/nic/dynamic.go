package nic

import (
	"net/netip"
	"time"
)

// Dynamic is what an interface has for a limited time, as from DHCP. The zero
// value is nothing.
type Dynamic struct {
	Address          netip.Prefix
	Preferred, Valid time.Duration // that are left
	Routes           []Route
	MTU              int // bytes; 0: as it is
}
