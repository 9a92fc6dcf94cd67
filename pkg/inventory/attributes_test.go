package inventory

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// onEvery are the attributes that every device has, so that selectors need not
// test for them.
var onEvery = []resourceapi.QualifiedName{"ifName", "mac", "mtu", "maxMTU", "state", "carrier", "speedMbps", "type", "virtual", "encapsulation", "driver",
	"alias", "ipv4", "ipv6", "rdma"}

// odd has a link without known properties and one whose values are too long.
func odd() *machine {
	m := newMachine(netdev.Link{Index: 2, Name: "odd", LowerNetNSID: -1})
	m.add(with(hardware(3, "odd\xff.\u00e9", "10000:01:00.0"), func(l *netdev.Link) {
		l.Alias = strings.Repeat("x", 63) + strings.Repeat("\u20ac", 50) + "\xff"
		l.Kind, l.State = strings.Repeat("k", 300), strings.Repeat("s", 300)
		l.MAC = make(nic.HardwareAddr, 32)
		for i := range 20 {
			addresses(fmt.Sprintf("203.0.113.%d/24", 100+i), fmt.Sprintf("2001:db8:1234:5678:9abc:def0:1234:%d/128", 1000+i))(l)
		}
	}), "pci10000:00/10000:01:00.0", nil)
	m.device("pci", "pci10000:00/10000:01:00.0", map[string]string{"vendor": strings.Repeat("0x", 99), "numa_node": "many", "sriov_totalvfs": "-"})
	return m
}

func TestAPILimits(t *testing.T) {
	for name, m := range map[string]*machine{"server": server(), "vm": vm(), "node": node(), "odd": odd(), "no sysfs": {links: server().links, sys: fstest.MapFS{}}} {
		withinLimits(t, name, m.scan())
	}
}

var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,31}$`)
	domain     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$`)
)

// withinLimits checks that the API server accepts the devices of a machine.
func withinLimits(t *testing.T, machine string, devs []Device) {
	t.Helper()
	for _, d := range devs {
		where := machine + "/" + d.Name
		if !dnsLabel.MatchString(d.Name) {
			t.Errorf("%s: name is not a DNS label", where)
		}
		if len(d.Attributes)+len(d.capacity()) > resourceapi.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
			t.Errorf("%s: %d attributes", where, len(d.Attributes))
		}
		for _, always := range onEvery {
			if _, ok := d.Attributes[always]; !ok {
				t.Errorf("%s: has no %s", where, always)
			}
		}
		for name, a := range d.Attributes {
			id := string(name)
			if prefix, rest, qualified := strings.Cut(id, "/"); qualified {
				id = rest
				if !domain.MatchString(prefix) {
					t.Errorf("%s: attribute %s has no domain", where, name)
				}
			}
			if !identifier.MatchString(id) {
				t.Errorf("%s: attribute %s is not an identifier", where, name)
			}
			for _, s := range []*string{a.StringValue, a.VersionValue} {
				if s != nil && (len(*s) > resourceapi.DeviceAttributeMaxValueLength || !utf8.ValidString(*s)) {
					t.Errorf("%s: attribute %s has %d bytes, or is not UTF-8: %q", where, name, len(*s), *s)
				}
			}
			if valueType(a) == "" {
				t.Errorf("%s: attribute %s does not have exactly one value", where, name)
			}
		}
	}
}

func valueType(a resourceapi.DeviceAttribute) string {
	var types []string
	for name, has := range map[string]bool{"string": a.StringValue != nil, "int": a.IntValue != nil, "bool": a.BoolValue != nil, "version": a.VersionValue != nil} {
		if has {
			types = append(types, name)
		}
	}
	if len(types) == 1 {
		return types[0]
	}
	return ""
}

func TestCut(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"eth0":                    "eth0",
		strings.Repeat("x", 64):   strings.Repeat("x", 64),
		strings.Repeat("x", 65):   strings.Repeat("x", 64),
		strings.Repeat("€", 22):   strings.Repeat("€", 21),
		"a\xffb":                  "a\uFFFDb",
		strings.Repeat("\xff", 1): "\uFFFD",
	} {
		if got := cut(in); got != want {
			t.Errorf("cut(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	l := with(link(2, "eth0"), addresses("192.0.2.1/24", "2001:db8::1/64", "192.0.2.2/32", "2001:db8:1111:2222:3333:4444:5555:6666/128", "fd00::1/8"))
	if got, want := prefixes(l.Addresses, true), "192.0.2.1/24,192.0.2.2/32"; got != want {
		t.Errorf("IPv4: got %q, want %q", got, want)
	}
	if got, want := prefixes(l.Addresses, false), "2001:db8::1/64,2001:db8:1111:2222:3333:4444:5555:6666/128"; got != want {
		t.Errorf("IPv6: got %q, want %q", got, want)
	}
}

// TestForeignSysfs checks that a scan ignores a sysfs directory of a link of the
// same name but another index: sysfs may have been mounted in another network
// namespace.
func TestForeignSysfs(t *testing.T) {
	for index, want := range map[string]string{"3": "pci-0000-00-04-0-port-1", "33": "pci-0000-00-04-0"} {
		m := vm()
		m.file("devices/pci0000:00/0000:00:04.0/virtio1/net/eth1/dev_port", "1\n")
		m.file("devices/pci0000:00/0000:00:04.0/virtio1/net/eth1/ifindex", index+"\n")
		for _, d := range m.scan() {
			if d.Link.Name == "eth1" && d.Name != want {
				t.Errorf("ifindex %s in sysfs: got name %q, want %q", index, d.Name, want)
			}
		}
	}
}

func TestMergeAndDevices(t *testing.T) {
	text := func(s string) map[resourceapi.QualifiedName]resourceapi.DeviceAttribute {
		return map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{"ifName": {StringValue: &s}}
	}
	live := []Device{{Name: "a", Attributes: text("live")}, {Name: "b", Attributes: text("live")}, {Name: "lo", Skipped: "it is a loopback"}}
	held := []Device{{Name: "z", Attributes: text("held")}, {Name: "b", Attributes: text("held"), Skipped: "then"}, {Name: "b", Attributes: text("twice")}}
	merged := Merge(live, held)
	want := []Device{{Name: "a", Attributes: text("live")}, {Name: "b", Attributes: text("held")}, {Name: "lo", Skipped: "it is a loopback"}, {Name: "z", Attributes: text("held")}}
	if diff := cmp.Diff(want, merged, cmp.Comparer(func(a, b netdev.Link) bool { return a.Name == b.Name })); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	wantAPI := []resourceapi.Device{{Name: "a", Attributes: text("live")}, {Name: "b", Attributes: text("held")}, {Name: "z", Attributes: text("held")}}
	if diff := cmp.Diff(wantAPI, Devices(merged)); diff != "" {
		t.Errorf("for the API (-want +got):\n%s", diff)
	}
}

func BenchmarkScan(b *testing.B) {
	m := server()
	for i := range 1000 {
		m.links = append(m.links, with(virtual(100+i, fmt.Sprintf("veth%d", i), "veth", 2), far))
	}
	for b.Loop() {
		m.scan()
	}
}
