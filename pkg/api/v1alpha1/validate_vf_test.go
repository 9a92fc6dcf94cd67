package v1alpha1

import (
	"strings"
	"testing"
)

// TestVF checks the settings of virtual functions: their limits, and that a claim can
// set only those that a device class names. An entry of configs that starts with
// "class " is of a class, any other of a claim.
func TestVF(t *testing.T) {
	const all = `{"vf":{"vlan":100,"qos":3,"proto":"802.1ad","spoofCheck":true,"trust":false,"minTxRate":10,"maxTxRate":100,"linkState":"auto","mac":"02:00:00:00:00:01"}}`
	tests := []struct {
		name    string
		configs []string
		want    string // the error; empty: none
	}{
		{"a class", []string{"class " + all}, ""},
		{"values that are zero", []string{`class {"vf":{"vlan":0,"qos":0,"spoofCheck":false,"trust":false,"minTxRate":0,"maxTxRate":0}}`}, ""},
		{"least above most", []string{`class {"vf":{"minTxRate":101,"maxTxRate":100}}`}, `vf.minTxRate: "101": must be at most vf.maxTxRate, 100`},
		{"least without most", []string{`class {"vf":{"minTxRate":101,"maxTxRate":0}}`}, ""},
		{"VLAN", []string{`class {"vf":{"vlan":4095}}`}, `vf.vlan: "4095": must be 0 to 4094`},
		{"negative", []string{`class {"vf":{"maxTxRate":-1}}`}, `vf.maxTxRate: "-1": must be 0 to 2147483647`},
		{"priority", []string{`class {"vf":{"vlan":1,"qos":8}}`}, `vf.qos: "8": must be 0 to 7`},
		{"priority without a VLAN", []string{`class {"vf":{"qos":3}}`}, `vf.qos: "3": needs vf.vlan from 1 to 4094`},
		{"protocol without a VLAN", []string{`class {"vf":{"vlan":0,"proto":"802.1ad"}}`}, `vf.proto: "802.1ad": needs vf.vlan from 1 to 4094`},
		{"protocol", []string{`class {"vf":{"vlan":1,"proto":"802.1x"}}`}, `vf.proto: "802.1x": must be one of 802.1ad, 802.1q`},
		{"link state", []string{`class {"vf":{"linkState":"up"}}`}, `vf.linkState: "up": must be one of auto, enable, disable`},
		{"multicast address", []string{`class {"vf":{"mac":"01:00:00:00:00:01"}}`}, `vf.mac: "01:00:00:00:00:01": must be a unicast`},
		{"no address", []string{`class {"vf":{"mac":"00:00:00:00:00:00"}}`}, `vf.mac: "00:00:00:00:00:00": must be a unicast`},
		{"two addresses", []string{`class {"vf":{"mac":"02:00:00:00:00:01"}}`, `{"interface":{"hardwareAddr":"02:00:00:00:00:02"}}`}, `interface.hardwareAddr: "02:00:00:00:00:02": must be vf.mac, 02:00:00:00:00:01`},
		{"one address twice", []string{`class {"vf":{"mac":"02:00:00:00:00:01"}}`, `{"interface":{"hardwareAddr":"02:00:00:00:00:01"}}`}, ""},
		{"unknown", []string{`class {"vf":{"vlanQoS":3}}`}, `unknown field "vf.vlanQoS"`},

		{"a claim without a class", []string{all}, `vf.vlan, vf.qos, vf.proto, vf.spoofCheck, vf.trust, vf.minTxRate, vf.maxTxRate, vf.linkState, vf.mac: a claim can set it only if claimMaySet of its device class names it`},
		{"a claim of a silent class", []string{`class {"vf":{"vlan":5}}`, `{"vf":{"trust":true}}`}, `vf.trust: a claim can set it only if`},
		{"a claim of a class that names it", []string{`class {"claimMaySet":["vf"]}`, all}, ""},
		{"that names one", []string{`class {"claimMaySet":["vf.vlan"],"vf":{"trust":false}}`, `{"vf":{"vlan":7}}`}, ""},
		{"and no other", []string{`class {"claimMaySet":["interface","vf.vlan"]}`, `{"vf":{"vlan":7,"trust":true}}`}, `vf.trust: cannot be set by a claim: device class fixed lets it set only ["interface" "vf.vlan"]`},
		{"a claim that grants it to itself", []string{`{"claimMaySet":["vf"],"vf":{"vlan":7}}`}, `claimMaySet: ["vf"]: a claim cannot set it`},
		{"the zero value of a flag", []string{`{"vf":{"spoofCheck":false}}`}, `vf.spoofCheck: a claim can set it only if`},
		{"an empty one", []string{`{"vf":{}}`}, ""},
		{"the claim's value wins", []string{`class {"claimMaySet":["vf.vlan"],"vf":{"vlan":0,"trust":false}}`, `{"vf":{"vlan":7,"qos":1}}`}, `vf.qos: cannot be set by a claim`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var params []Parameters
			for _, c := range tt.configs {
				raw, isClass := strings.CutPrefix(c, "class ")
				p := ofClaim(raw)
				if isClass {
					p.Class = "fixed"
				}
				params = append(params, p)
			}
			_, err := Decode(params...)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}
