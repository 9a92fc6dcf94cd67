package v1alpha1

import (
	"maps"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const sysctlValue = `-?[0-9]{1,19}`

// validateSysctls checks the values, and that no two fields give one setting
// different values.
func validateSysctls(c nic.Config, fault faultFunc) {
	for _, name := range slices.Sorted(maps.Keys(c.Interface.Sysctls)) {
		field, value := "interface.sysctls."+name, c.Interface.Sysctls[name]
		if !matches(sysctlValue, value) {
			fault(field, value, "must be a number")
		}
	}
	all := c.Interface.SysctlList()
	for i, s := range all {
		if i > 0 && all[i-1].Name == s.Name && all[i-1].Value != s.Value {
			fault(s.Field, s.Value, "%s sets %s to %s", all[i-1].Field, s.Name, all[i-1].Value)
		}
	}
}
