package inventory

import (
	"unicode/utf8"

	"net/netip"
	"strings"

	resourceapi "k8s.io/api/resource/v1"
)

// attribute is one row of a table of attributes.
type attribute struct {
	name resourceapi.QualifiedName
	on   place
	doc  string // its description in docs/attributes.md
	reader
}

// place is which devices have an attribute.
type place struct {
	doc string
	has func(*probe) bool
}

var (
	everywhere = place{"every device", func(*probe) bool { return true }}
	onHardware = place{"hardware", func(p *probe) bool { return p.parent != "" }}
	onVirtual  = place{"virtual interfaces", func(p *probe) bool { return p.parent == "" }}
	onPCI      = place{"PCI devices", func(p *probe) bool { return p.function != "" }}
	onPF       = place{"physical functions", isPF}
	onVF       = place{"virtual functions", isVF}
	notOnVF    = place{"hardware but virtual functions", func(p *probe) bool { return p.parent != "" && !isVF(p) }}
	onRDMA     = place{"RDMA devices", func(p *probe) bool { return rdmaDevice(p) != "" }}
)

// reader reads an attribute. Its type is that of all values.
type reader struct {
	typ  string                                           // as the API names it
	read func(*probe) (resourceapi.DeviceAttribute, bool) // false: this device has no such attribute
}

func text(read func(*probe) string) reader {
	return reader{"string", func(p *probe) (resourceapi.DeviceAttribute, bool) {
		if s := read(p); s != "" {
			return resourceapi.DeviceAttribute{StringValue: new(cut(s))}, true
		}
		return noText, true
	}}
}

func number(read func(*probe) int) reader {
	return reader{"int", func(p *probe) (resourceapi.DeviceAttribute, bool) {
		return resourceapi.DeviceAttribute{IntValue: new(int64(read(p)))}, true
	}}
}

func boolean(read func(*probe) bool) reader {
	return reader{"bool", func(p *probe) (resourceapi.DeviceAttribute, bool) {
		if read(p) {
			return isTrue, true
		}
		return isFalse, true
	}}
}

// Values that most devices have. They are shared: 1,000 links have some 6,000.
var (
	noText  = resourceapi.DeviceAttribute{StringValue: new("")}
	isTrue  = resourceapi.DeviceAttribute{BoolValue: new(true)}
	isFalse = resourceapi.DeviceAttribute{BoolValue: new(false)}
)

// known is for attributes that only devices have whose value is not the empty
// text, 0 or false.
func known(r reader) reader {
	return reader{r.typ, func(p *probe) (resourceapi.DeviceAttribute, bool) {
		a, ok := r.read(p)
		empty := a.StringValue != nil && *a.StringValue == "" || a.IntValue != nil && *a.IntValue == 0 || a.BoolValue != nil && !*a.BoolValue
		return a, ok && !empty
	}}
}

// maxOwn is how many attributes and capacities the driver itself gives a device
// at most. The API allows 32: the rest is for those of Multus and for an
// administrator's own.
const maxOwn = 28

// attributesOf returns the device's attributes. Those of the table spare come last
// and only as far as there is room, so that the others are always there. A place is
// kept for the capacity, which comes and goes with what is known of the speed.
func attributesOf(p *probe) map[resourceapi.QualifiedName]resourceapi.DeviceAttribute {
	out := make(map[resourceapi.QualifiedName]resourceapi.DeviceAttribute, maxOwn)
	for _, a := range attributes {
		a.add(p, out)
	}
	for _, a := range spare {
		if len(out)+len(capacities) >= maxOwn {
			break
		}
		a.add(p, out)
	}
	return out
}

func (a attribute) add(p *probe, to map[resourceapi.QualifiedName]resourceapi.DeviceAttribute) {
	if !a.on.has(p) {
		return
	}
	if value, ok := a.read(p); ok {
		to[a.name] = value
	}
}

// prefixes lists the addresses of one family.
func prefixes(all []netip.Prefix, v4 bool) string {
	var list []string
	for _, prefix := range all {
		if prefix.Addr().Is4() == v4 {
			list = append(list, prefix.String())
		}
	}
	return joined(list)
}

// joined lists texts: as many as fit into an attribute, none of them shortened.
func joined(all []string) string {
	var list strings.Builder
	for _, entry := range all {
		if list.Len()+1+len(entry) > resourceapi.DeviceAttributeMaxValueLength {
			continue
		}
		if list.Len() > 0 {
			list.WriteByte(',')
		}
		list.WriteString(entry)
	}
	return list.String()
}

// cut makes a text fit into an attribute: valid UTF-8, at most 64 bytes, not cut
// inside a rune. An alias may have 255 arbitrary bytes; with such a value the
// API server would refuse the node's whole slice.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= resourceapi.DeviceAttributeMaxValueLength {
		return s
	}
	end := resourceapi.DeviceAttributeMaxValueLength
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
