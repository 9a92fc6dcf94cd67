package nic

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Modes of a device in a pod.
const (
	ModeNetdev = "Netdev" // its interface is moved into the pod
	ModeVFIO   = "VFIO"   // containers get the character devices of its IOMMU group
)

// FirstField returns the path and the value of a field that is set and is about an
// interface; empty if none is. The mode, what a device class allows, and what a
// physical function sets for a virtual one are not.
func (c Config) FirstField() (path, value string) {
	c.Mode, c.Interface.AllowLoss, c.VF = "", nil, VF{}
	raw, err := json.Marshal(c) // plain data: it always can
	if err != nil {
		return "", ""
	}
	return firstField("", raw)
}

func firstField(path string, raw json.RawMessage) (string, string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil { // no object
		return path, strings.Trim(string(raw), `"`)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if at, value := firstField(strings.TrimPrefix(path+"."+name, "."), members[name]); at != "" {
			return at, value
		}
	}
	return "", ""
}
