package v1alpha1

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// fieldNames are names of fields of NetDeviceConfig, such as "interface.name".
type fieldNames []string

// UnmarshalJSON implements json.Unmarshaler. It refuses null, which is what YAML
// makes of a key without a value: like an absent list, it would allow every
// field.
func (n *fieldNames) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return errors.New("claimMaySet: null: must be a list of field names")
	}
	return json.Unmarshal(raw, (*[]string)(n))
}

// check returns an error if the list is not allowed, as in a claim (class is
// empty), or has the name of a field that does not exist.
func (n fieldNames) check(class string) error {
	if n == nil {
		return nil
	}
	if class == "" {
		return fmt.Errorf("claimMaySet: %q: a claim cannot set it, only a device class", []string(n))
	}
	known, _ := settable(nic.Config{})
	for i, name := range n {
		if !slices.ContainsFunc(known, func(field string) bool { return covers(name, field) }) {
			return fmt.Errorf("claimMaySet[%d]: %q: no such field, want some of %q", i, name, known)
		}
	}
	return nil
}

// allowedBy returns an error that names the fields that c, the config of a claim,
// sets and one of the classes does not let it set. configs are the decoded
// parameters in all.
func (c NetDeviceConfig) allowedBy(all []Parameters, configs []NetDeviceConfig) error {
	_, set := settable(c.Config)
	for i, class := range configs {
		if class.ClaimMaySet == nil {
			continue
		}
		var refused []string
		for _, field := range set {
			if !slices.ContainsFunc(class.ClaimMaySet, func(name string) bool { return covers(name, field) }) {
				refused = append(refused, field)
			}
		}
		if len(refused) > 0 {
			return fmt.Errorf("%s: cannot be set by a claim: device class %s lets it set only %q", strings.Join(refused, ", "), all[i].Class, []string(class.ClaimMaySet))
		}
	}
	return nil
}

// covers reports whether name is the name of the field or of a field above it.
func covers(name, field string) bool {
	return name == field || strings.HasPrefix(field, name+".")
}

// settable returns the names of all fields that overlay can copy, and of those that
// are set in c. A list that is empty but not absent is set.
func settable(c nic.Config) (all, set []string) {
	var visit func(prefix string, v reflect.Value)
	visit = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			switch field := v.Field(i); {
			case composite(field.Type()):
				visit(prefix+name+".", field)
			default:
				all = append(all, prefix+name)
				if !field.IsZero() {
					set = append(set, prefix+name)
				}
			}
		}
	}
	visit("", reflect.ValueOf(c))
	return all, set
}
