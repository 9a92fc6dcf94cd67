package nic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
)

// What interface.addressPolicy and interface.addressing can be.
const (
	PolicyKeep    = "Keep"    // the host's addresses, none of the config's
	PolicyReplace = "Replace" // the config's
	PolicyAdd     = "Add"     // the host's, then the config's
	PolicyNone    = "None"    // none

	AddressingStatic     = "Static"     // the config's
	AddressingSLAAC      = "SLAAC"      // IPv6: from routers
	AddressingUnnumbered = "Unnumbered" // none
	AddressingDHCP       = "DHCP"       // as DHCP being true
)

// Address is an address of the interface in the pod. As JSON it is the text of the
// prefix, if nothing else is set.
type Address struct {
	Prefix netip.Prefix `json:"address"`
	// NoDAD skips duplicate address detection of an IPv6 address; unset: unless
	// the interface waits for it.
	NoDAD         *bool  `json:"nodad,omitempty"`
	NoPrefixRoute bool   `json:"noprefixroute,omitempty"` // no route to the prefix is added
	Label         string `json:"label,omitempty"`         // what ip(8) shows behind it; IPv4
	Metric        uint32 `json:"metric,omitempty"`        // of the route to the prefix; 0: the kernel's
}

// plainAddress is an Address without its methods.
type plainAddress Address

// MarshalJSON returns the text of an address with nothing but its prefix.
func (a Address) MarshalJSON() ([]byte, error) {
	if a == (Address{Prefix: a.Prefix}) {
		return json.Marshal(a.Prefix)
	}
	return json.Marshal(plainAddress(a))
}

// UnmarshalJSON reads a text or an object. It refuses unknown, repeated and wrongly
// cased members, as the decoder of the whole does.
func (a *Address) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		*a = Address{}
		return json.Unmarshal(b, &a.Prefix)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return err
	}
	var seen []string
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if !slices.Contains([]string{"address", "nodad", "noprefixroute", "label", "metric"}, name) {
			return fmt.Errorf("unknown field %q", name)
		}
		if slices.Contains(seen, name) {
			return fmt.Errorf("duplicate field %q", name)
		}
		seen = append(seen, name)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
	}
	return json.Unmarshal(b, (*plainAddress)(a))
}

// String returns the prefix.
func (a Address) String() string { return a.Prefix.String() }

// Policy returns which addresses the interface has in the pod: what the config
// says, or what its other fields mean.
func (i Interface) Policy() string {
	switch {
	case i.AddressPolicy != "":
		return i.AddressPolicy
	case i.Addressing == AddressingUnnumbered:
		return PolicyNone
	case len(i.Addresses) > 0:
		return PolicyReplace
	}
	return PolicyKeep
}

// KeepsAddresses reports whether the host's addresses go into the pod.
func (i Interface) KeepsAddresses() bool {
	return i.Policy() == PolicyKeep || i.Policy() == PolicyAdd
}

// WaitsForDAD reports whether IPv6 addresses go through duplicate address detection.
func (i Interface) WaitsForDAD() bool { return i.WaitForDAD != nil && *i.WaitForDAD }

// Detects reports whether an address of the config goes through duplicate address
// detection.
func (i Interface) Detects(a Address) bool {
	if a.NoDAD != nil {
		return !*a.NoDAD
	}
	return i.WaitsForDAD()
}
