package v1alpha1

import (
	"os"
	"strings"
	"testing"
)

// dranetOnly are the fields of dranet's NetworkConfig that NetDeviceConfig does
// not have, each with a value that dranet accepts. docs/configuration.md lists
// these fields.
var dranetOnly = map[string]string{
	"profile":                       `{"profile":"gold"}`,
	"ethtool":                       `{"ethtool":{"features":{"tcp-segmentation-offload":false}}}`,
	"interface.disableEbpfPrograms": `{"interface":{"disableEbpfPrograms":true}}`,
}

// TestDranetConfigs checks that the fields which NetDeviceConfig shares with
// dranet are accepted, and that each other field of dranet's is refused by its
// name and listed in docs/configuration.md.
func TestDranetConfigs(t *testing.T) {
	const shared = `{"interface":{"name":"net1","addresses":["192.0.2.10/24"],"mtu":1400,"hardwareAddr":"02:00:00:00:00:aa",
			"forwarding":true,"arpIgnore":8,"arpAnnounce":2,
			"gsoMaxSize":150000,"groMaxSize":150000,"gsoIPv4MaxSize":65536,"groIPv4MaxSize":65536,"vrf":{"name":"vrf0","table":100}},
		"routes":[{"destination":"198.51.100.0/24","gateway":"192.0.2.1","source":"192.0.2.10","scope":0,"table":100}],
		"rules":[{"priority":100,"source":"192.0.2.0/24","destination":"198.51.100.0/24","table":100}],
		"neighbors":[{"destination":"192.0.2.1","hardwareAddr":"02:00:00:00:00:01"}]}`
	for _, config := range []string{shared, `{"interface":{"name":"net1","dhcp":true}}`} {
		if _, err := Decode(ofClaim(config)); err != nil {
			t.Errorf("the fields that both have: %v", err)
		}
	}
	page, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for field, config := range dranetOnly {
		if _, err := Decode(ofClaim(config)); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got error %v, want one that names %s; if it is accepted now, remove it from the list in docs/configuration.md", config, err, field)
		}
		name := field[strings.LastIndex(field, ".")+1:]
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/configuration.md does not list %s", field)
		}
	}
}
