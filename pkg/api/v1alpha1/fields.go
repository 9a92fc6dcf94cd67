package v1alpha1

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// field is what is known of a field of NetDeviceConfig beside its Go type. The
// decoder checks it, and the reference, the JSON schema and the admission policy
// are made from it. What a row cannot say is in validations.
type field struct {
	path    string // "interface.mtu"; "routes[].gateway" is a field of an element
	doc     string // what it does, in one sentence without a period, for docs/configuration.md
	example string // a value, as JSON

	min, max int64    // of a number; max 0: no limits beside those of its type
	enum     []string // the values that it, or each element of a list, may have, as text
	pattern  string   // that the whole text matches, RE2; for a map: each key
	format   format   // of a text, or of the elements of a list
	items    int      // how many a list or a map may have; 0: any number
	required bool     // in an element of a list
}

// format is the form of a text that Go's types parse.
type format string

const (
	formatAddress      format = "address"       // 192.0.2.1, 2001:db8::1
	formatPrefix       format = "prefix"        // 192.0.2.1/24
	formatHardwareAddr format = "hardware addr" // 02:00:00:00:00:01
)

// fields is every field of NetDeviceConfig, structs and lists too.
var fields = slices.Concat(objectFields, interfaceFields, addressFields, linkFields, routeFields, ruleFields, neighborFields, ethtoolFields, vfFields)

var objectFields = []field{
	{path: "apiVersion", doc: "may be absent", example: `"dra-netdev.github.io/v1alpha1"`, enum: []string{GroupVersion}},
	{path: "kind", doc: "may be absent", example: `"NetDeviceConfig"`, enum: []string{ConfigKind}},
	{
		path: "mode", example: `"VFIO"`, enum: []string{nic.ModeNetdev, nic.ModeVFIO},
		doc: "what the device must be: Netdev, one with an interface, or VFIO, a PCI function that is bound to vfio-pci on the host; without it the pod gets either as it is; see vfio.md",
	},
	{path: "claimMaySet", doc: "only in a DeviceClass: the fields that a claim of the class may set; a name includes all fields below it", example: `["interface.name"]`},
}

var interfaceFields = []field{
	{path: "interface", doc: "the interface itself", example: `{}`},
	{
		path: "interface.name", example: `"net1"`, pattern: `[A-Za-z0-9._-]{1,15}|[A-Za-z0-9._-]{0,12}%d[A-Za-z0-9._-]{0,12}`,
		doc: "name in the pod, not lo, eth0, all or default; or a template such as net%d: the first number whose name is free in the pod, in the order of the claims and their devices",
	},
	{path: "interface.type", doc: "may be absent; dranet's other type, IPVLAN, is refused", example: `"Passthrough"`, enum: []string{"Passthrough"}},
	{
		path: "interface.addressPool", example: `{}`,
		doc: "only in a DeviceClass: one address per family of these ranges, that no other interface in a pod of the node has; in place of `addresses`",
	},
	{
		path: "interface.addressPool.ranges", example: `["198.51.100.10-198.51.100.19/24"]`, items: 16,
		doc: "FIRST-LAST/BITS, or a prefix for all addresses of a network that a host can have; the first free address is taken",
	},
	{
		path: "interface.addressPool.gateway", example: `"198.51.100.1"`, format: formatAddress,
		doc: "no pod gets it; it is the gateway of `routes` of its family that have none and are not of scope link",
	},
	{
		path: "interface.mtu", example: `1400`, min: 68, max: 1<<31 - 1, // RFC 791
		doc: "bytes, within the device's limits (`ip -d link`: minmtu, maxmtu), at least 1280 with IPv6",
	},
	{
		path: "interface.hardwareAddr", example: `"02:00:00:00:00:aa"`, format: formatHardwareAddr,
		doc: "unicast, as long as the interface's own; Ethernet only",
	},
	{
		path: "interface.allowLoss", example: `["qdiscs"]`, enum: slices.Sorted(maps.Keys(nic.Losses)),
		doc: "only in a DeviceClass: what may be lost on the host because it cannot be restored after the pod; an interface that has such a thing is refused otherwise: " + lossDocs(),
	},
	{
		path: "interface.dhcp", example: `true`,
		doc: "lease an IPv4 address, routes and MTU from the network's DHCP server while the pod runs, in place of the host's IPv4 addresses; Ethernet only",
	},
	{
		path: "interface.dhcp6", example: `true`,
		doc: "lease an IPv6 address from the network's DHCPv6 server while the pod runs, in place of the host's IPv6 addresses except for link-local ones; Ethernet only",
	},
}

func lossDocs() string {
	var docs []string
	for _, name := range slices.Sorted(maps.Keys(nic.Losses)) {
		docs = append(docs, name+": "+nic.Losses[name])
	}
	return strings.Join(docs, "; ")
}

var neighborFields = []field{
	{path: "neighbors", doc: "permanent neighbor (ARP or NDP) entries", example: `[]`},
	{path: "neighbors[].destination", doc: "address of the neighbor, required, each one once", example: `"198.51.100.1"`, format: formatAddress},
	{path: "neighbors[].ipAddress", doc: "another name of destination, used in dranet's documentation", example: `"198.51.100.1"`, format: formatAddress},
	{
		path: "neighbors[].hardwareAddr", example: `"02:00:00:00:00:01"`, format: formatHardwareAddr, required: true,
		doc: "as long as the interface's own",
	},
}

// checkFields checks each set field against its row.
func checkFields(c nic.Config, fault faultFunc) {
	walk("", "", reflect.ValueOf(c), func(row, path string, v reflect.Value) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.path == row })
		if i >= 0 && !v.IsZero() { // TestFieldRows checks that each has one
			fields[i].check(path, v, fault)
		}
	})
}

// walk visits all fields below v with their row's path and their own, which has
// indices: "routes[].gateway" and "routes[1].gateway".
func walk(row, path string, v reflect.Value, visit func(row, path string, v reflect.Value)) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		row, path, f := strings.TrimPrefix(row+"."+name, "."), strings.TrimPrefix(path+"."+name, "."), v.Field(i)
		visit(row, path, f)
		switch {
		case composite(f.Type()):
			walk(row, path, f, visit)
		case f.Kind() == reflect.Slice && composite(f.Type().Elem()):
			for n := range f.Len() {
				walk(row+"[]", fmt.Sprintf("%s[%d]", path, n), f.Index(n), visit)
			}
		}
	}
}

// check reports what the row does not allow. v is set.
func (f field) check(path string, v reflect.Value, fault faultFunc) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case f.max != 0 && v.CanInt() && (v.Int() < f.min || v.Int() > f.max),
		f.max != 0 && v.CanUint() && (v.Uint() < uint64(f.min) || v.Uint() > uint64(f.max)):
		fault(path, v.Interface(), "must be %d to %d", f.min, f.max)
	case len(f.enum) > 0 && v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if e := v.Index(i).Interface(); !slices.Contains(f.enum, fmt.Sprint(e)) {
				fault(fmt.Sprintf("%s[%d]", path, i), e, "must be one of %s", strings.Join(f.enum, ", "))
			}
		}
	case len(f.enum) > 0 && !slices.Contains(f.enum, fmt.Sprint(v.Interface())):
		fault(path, v.Interface(), "must be one of %s", strings.Join(f.enum, ", "))
	case f.items > 0 && v.Len() > f.items:
		fault(path, v.Len(), "must be at most %d", f.items)
	}
	if f.pattern == "" || v.Kind() == reflect.String && matches(f.pattern, v.String()) {
		return
	}
	if v.Kind() != reflect.Map {
		fault(path, v.Interface(), "must match %s", f.pattern)
		return
	}
	for _, key := range v.MapKeys() {
		if !matches(f.pattern, key.String()) {
			fault(path+"."+key.String(), v.MapIndex(key), "must be a name that matches %s", f.pattern)
		}
	}
}

func matches(pattern, text string) bool {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(text)
}
