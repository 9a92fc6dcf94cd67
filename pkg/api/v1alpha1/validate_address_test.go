package v1alpha1

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestAddresses checks that an address is a text or an object, and that the fields
// which say where addresses come from fit together.
func TestAddresses(t *testing.T) {
	const one = `"addresses":["192.0.2.1/24"]`
	for _, tt := range []struct{ raw, want string }{
		{`{"interface":{"addresses":[{"address":"192.0.2.1"}]}}`, `interface.addresses[0].address: "192.0.2.1"`},
		{`{"interface":{"addresses":["192.0.2.1/24",{"label":"a"}]}}`, `interface.addresses[1].address: "": required`},
		{`{"interface":{"addresses":[{"address":"127.0.0.1/8"}]}}`, `interface.addresses[0]: "127.0.0.1/8": must be a unicast address`},
		{`{"interface":{"addresses":["192.0.2.1/24",{"address":"192.0.2.1/25"}]}}`, `interface.addresses[1]: "192.0.2.1/25": duplicate`},
		{`{"interface":{"addresses":[{"address":"192.0.2.1/24","labels":"x"}]}}`, `unknown field "labels"`},
		{`{"interface":{"addresses":[{"Address":"192.0.2.1/24"}]}}`, `unknown field "Address"`},
		{`{"interface":{"addresses":[{"address":"192.0.2.1/24","address":"192.0.2.2/24"}]}}`, `duplicate field "address"`},
		{`{"interface":{"addresses":[{"address":"192.0.2.1/24","metric":-1}]}}`, `interface.addresses[0].metric: -1`},
		{`{"interface":{"addresses":[{"address":"192.0.2.1/24","metric":1,"noprefixroute":true}]}}`, `interface.addresses[0].metric: "1": must be absent`},
		{`{"interface":{"addresses":[{"address":"192.0.2.1/24","label":"a b"}]}}`, `interface.addresses[0].label: "a b": must match`},
		{`{"interface":{"addresses":[{"address":"2001:db8::1/64","label":"a"}]}}`, `interface.addresses[0].label: "a": must be absent: IPv6 addresses have no label`},
		{`{"interface":{"addresses":[{"address":"192.0.2.1/24","nodad":false}]}}`, `interface.addresses[0].nodad: "false": must be absent: only IPv6`},
		{`{"interface":{"addressing":"SLAAC","acceptRA":false}}`, `interface.acceptRA: "false": must be true or absent with interface.addressing SLAAC`},
		{`{"interface":{"addressing":"SLAAC","dhcp6":true}}`, `interface.addressing: "SLAAC": must be absent with interface.dhcp6`},
		{`{"interface":{"addressing":"SLAAC","disableIPv6":true}}`, `interface.addressing: "SLAAC": must be absent with interface.disableIPv6`},
		{`{"interface":{"acceptRA":true,"sysctls":{"net.ipv6.conf.IFNAME.accept_ra":"0"}}}`, `interface.acceptRA sets net.ipv6.conf.IFNAME.accept_ra to 1`},
		{`{"interface":{"waitForDAD":true,"sysctls":{"net.ipv6.conf.IFNAME.accept_dad":"0"}}}`, `interface.waitForDAD sets net.ipv6.conf.IFNAME.accept_dad to 1`},
		{`{"interface":{"addresses":[7]}}`, `interface.addresses[0]: 7`},
		{`{"interface":{"addressPolicy":"keep"}}`, `interface.addressPolicy: "keep": must be one of Keep, Replace, Add, None`},
		{`{"interface":{"addressPolicy":"Replace"}}`, `interface.addressPolicy: "Replace": needs interface.addresses or addressPool`},
		{`{"interface":{"addressPolicy":"Add","addresses":[]}}`, `interface.addressPolicy: "Add": needs interface.addresses or addressPool`},
		{`{"interface":{"addressPolicy":"Keep",` + one + `}}`, `interface.addressPolicy: "Keep": must be Replace or Add with interface.addresses or addressPool, or absent`},
		{`{"interface":{"addressPolicy":"None",` + one + `}}`, `interface.addressPolicy: "None": must be Replace or Add with interface.addresses or addressPool, or absent`},
		{`{"interface":{"addressing":"static"}}`, `interface.addressing: "static": must be one of `},
		{`{"interface":{"addressing":"Static"}}`, `interface.addressing: "Static": needs interface.addresses or addressPool`},
		{`{"interface":{"addressing":"Static","dhcp":true,` + one + `}}`, `interface.addressing: "Static": must be absent with interface.dhcp`},
		{`{"interface":{"addressing":"Unnumbered",` + one + `}}`, `interface.addressing: "Unnumbered": must be absent or Static with interface.addresses or addressPool`},
		{`{"interface":{"addressing":"Unnumbered","addressPolicy":"Keep"}}`, `interface.addressing: "Unnumbered": is the same as interface.addressPolicy None, which is "Keep"`},
		{`{"interface":{"addressing":"Unnumbered","dhcp":true}}`, `interface.addressing: "Unnumbered": must be absent with interface.dhcp`},
	} {
		if _, err := Decode(ofClaim(tt.raw)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %s", tt.raw, err, tt.want)
		}
	}
	for raw, policy := range map[string]string{
		`{}`:                          nic.PolicyKeep,
		`{"interface":{` + one + `}}`: nic.PolicyReplace,
		`{"interface":{"addressPolicy":"Replace",` + one + `}}`: nic.PolicyReplace,
		`{"interface":{"addressing":"Static",` + one + `}}`:     nic.PolicyReplace,
		`{"interface":{"addressPolicy":"Add",` + one + `}}`:     nic.PolicyAdd,
		`{"interface":{"addressPolicy":"None"}}`:                nic.PolicyNone,
		`{"interface":{"addressPolicy":"None","dhcp":true}}`:    nic.PolicyNone,
		`{"interface":{"addressing":"Unnumbered"}}`:             nic.PolicyNone,
		`{"interface":{"addressing":"SLAAC"}}`:                  nic.PolicyKeep,
	} {
		if c, err := Decode(ofClaim(raw)); err != nil || c.Interface.Policy() != policy {
			t.Errorf("%s: got policy %q, %v, want %s", raw, c.Interface.Policy(), err, policy)
		}
	}
	// What is decoded encodes back, a plain address as a text.
	const addresses = `["192.0.2.1/24",{"address":"192.0.2.2/24","noprefixroute":true,"label":"net1:a"},{"address":"192.0.2.3/24","metric":5}]`
	c, err := Decode(ofClaim(`{"interface":{"addresses":` + addresses + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c.Interface.Addresses)
	if d := cmp.Diff(addresses, string(text)); err != nil || d != "" {
		t.Errorf("err %v (-want +got):\n%s", err, d)
	}
}
