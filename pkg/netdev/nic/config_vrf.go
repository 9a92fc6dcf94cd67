package nic

import "hash/fnv"

// VRF is a device in the pod that gives its interfaces a routing table of their own
// (vrf.rst in the kernel's documentation). Several interfaces of a pod are in one
// if they name the same.
type VRF struct {
	Name string `json:"name,omitempty"`
	// Table is its routing table; 0 means one that follows from the name.
	Table uint32 `json:"table,omitempty"`
}

// TableNumber returns the routing table, 1000 to 1999 unless one is set.
func (v VRF) TableNumber() uint32 {
	if v.Table != 0 {
		return v.Table
	}
	h := fnv.New32a()
	h.Write([]byte(v.Name))
	return 1000 + h.Sum32()%1000
}
