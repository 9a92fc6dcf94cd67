package nic

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// FirstField returns the path and the value of a field that is set and is about an
// interface; empty if none is. What a device class allows is no such field.
func (c Config) FirstField() (path, value string) {
	c.Interface.AllowLoss = nil
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
