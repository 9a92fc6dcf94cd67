package v1alpha1

import (
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestClaimMaySet checks which fields a device class lets its claims set. An entry
// of configs that starts with "class " is of a class, any other of a claim.
func TestClaimMaySet(t *testing.T) {
	const every = `{"apiVersion":"dra-netdev.github.io/v1alpha1","kind":"NetDeviceConfig","interface":{"name":"a","addresses":["192.0.2.1/24"],"mtu":1400,"hardwareAddr":"02:00:00:00:00:01"},
		"routes":[{"destination":"198.51.100.0/24"}],"neighbors":[{"destination":"192.0.2.9","hardwareAddr":"02:00:00:00:00:09"}]}`
	tests := []struct {
		name    string
		configs []string
		want    string // the error; empty: none
	}{
		{"absent: every field", []string{`class {"interface":{"mtu":9000}}`, every}, ""},
		{"no class: every field", []string{every}, ""},
		{"empty: none", []string{`class {"claimMaySet":[]}`, every},
			`interface.name, interface.addresses, interface.mtu, interface.hardwareAddr, routes, neighbors: cannot be set by a claim: device class fixed lets it set only []`},
		{"empty, and a claim that sets nothing", []string{`class {"claimMaySet":[]}`, `{"kind":"NetDeviceConfig"}`}, ""},
		{"what is named", []string{`class {"claimMaySet":["interface.name","routes"]}`, `{"interface":{"name":"a"},"routes":[{"destination":"198.51.100.0/24"}]}`}, ""},
		{"what is not", []string{`class {"claimMaySet":["interface.name","routes"]}`, `{"interface":{"name":"a","mtu":1400}}`},
			`interface.mtu: cannot be set by a claim: device class fixed lets it set only ["interface.name" "routes"]`},
		{"an empty list is a value", []string{`class {"claimMaySet":["interface.name"],"routes":[{"destination":"198.51.100.0/24"}]}`, `{"routes":[]}`}, `routes: cannot be set`},
		{"and one below", []string{`class {"claimMaySet":[]}`, `{"interface":{"addresses":[]}}`}, `interface.addresses: cannot be set`},
		{"a name covers what is below it", []string{`class {"claimMaySet":["interface"]}`, `{"interface":{"name":"a","mtu":1400,"addresses":["192.0.2.1/24"]}}`}, ""},
		{"and no more", []string{`class {"claimMaySet":["interface"]}`, every}, `routes, neighbors: cannot be set by a claim`},
		{"the strictest of several", []string{`class {"claimMaySet":["interface","routes"]}`, `class {"claimMaySet":["interface.name","neighbors"]}`, `{"interface":{"name":"a"}}`}, ""},
		{"only one of them allows", []string{`class {"claimMaySet":["interface","routes"]}`, `class {"claimMaySet":["interface.name","neighbors"]}`, `{"neighbors":[]}`}, `neighbors: cannot be set`},
		{"only the other one allows", []string{`class {"claimMaySet":["interface","routes"]}`, `class {"claimMaySet":["interface.name","neighbors"]}`, `{"interface":{"mtu":1400}}`}, `interface.mtu: cannot be set`},
		{"one of them is silent", []string{`class {"claimMaySet":[]}`, `class {"interface":{"mtu":1400}}`, `{"interface":{"name":"a"}}`}, `interface.name: cannot be set`},
		{"the order does not matter", []string{`{"interface":{"name":"a"}}`, `class {"claimMaySet":[]}`}, `interface.name: cannot be set`},
		{"each config of a claim", []string{`class {"claimMaySet":["interface.name"]}`, `{"interface":{"name":"a"}}`, `{"interface":{"mtu":1400}}`}, `interface.mtu: cannot be set`},
		{"a claim's own", []string{`{"claimMaySet":["interface"]}`}, `claimMaySet: ["interface"]: a claim cannot set it, only a device class`},
		{"a claim's own, empty", []string{`class {"claimMaySet":["interface.name"]}`, `{"claimMaySet":[]}`}, `claimMaySet: []: a claim cannot set it`},
		{"unknown", []string{`class {"claimMaySet":["interface.name","interface.nmae"]}`}, `device class fixed: claimMaySet[1]: "interface.nmae": no such field`},
		{"unknown, below a list", []string{`class {"claimMaySet":["routes.gateway"]}`}, `claimMaySet[0]: "routes.gateway": no such field`},
		{"part of a name", []string{`class {"claimMaySet":["inter"]}`}, `claimMaySet[0]: "inter": no such field`},
		{"no name", []string{`class {"claimMaySet":[""]}`}, `claimMaySet[0]: "": no such field`},
		{"itself", []string{`class {"claimMaySet":["claimMaySet"]}`}, `claimMaySet[0]: "claimMaySet": no such field`},
		{"null", []string{`class {"claimMaySet":null}`, every}, `claimMaySet: null: must be a list of field names`},
		{"not a list", []string{`class {"claimMaySet":"interface"}`}, `claimMaySet: "interface"`},
		{"not a name", []string{`class {"claimMaySet":["interface",5]}`}, `claimMaySet[1]: 5`},
		{"a fault of the class's", []string{`class {"interface":{"nmae":"x"}}`, `{}`}, `device class fixed: decode NetDeviceConfig: unknown field "interface.nmae"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var all []Parameters
			for _, c := range tt.configs {
				raw, isClass := strings.CutPrefix(c, "class ")
				p := ofClaim(raw)
				if isClass {
					p.Class = "fixed"
				}
				all = append(all, p)
			}
			_, err := Decode(all...)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestFields checks that claimMaySet can name each field of NetDeviceConfig, also
// one that is added later: each row of the table that is not of an element of a list.
func TestFields(t *testing.T) {
	all, _ := settable(nic.Config{})
	for _, f := range fields {
		if strings.Contains(f.path, "[]") || slices.Contains([]string{"apiVersion", "kind", "claimMaySet"}, f.path) {
			continue
		}
		if !slices.ContainsFunc(all, func(name string) bool { return covers(f.path, name) }) {
			t.Errorf("claimMaySet cannot name %s, only %q", f.path, all)
		}
	}
}
