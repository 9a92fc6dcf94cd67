package v1alpha1

import (
	"cmp"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/uptodate"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

var update = flag.Bool("update", false, "rewrite what is made from the table of fields")

// node is a value in a NetDeviceConfig as JSON: the whole, a field, or an element
// of a list or of a map. The JSON schema, the reference and the admission policy are
// made from the nodes.
type node struct {
	path string // "" is the whole; ".routes", ".routes[]", ".routes[].gateway"; ".interface.sysctls.*" is any value of the map
	kind string // object, map, list, string, integer, boolean, number; either: a string or an object; any: only the decoder knows
	row  field  // of the table; an element of a list has the limits of the list's row that are its elements'

	min, max  int64 // of an integer, from the row or from the Go type; both 0: none
	zeroIsSet bool  // else the value 0, "", false, [] or {} is like an absent field
	children  []node
}

// tree returns the node of the whole.
func tree() node {
	return newNode("", reflect.TypeFor[NetDeviceConfig](), field{doc: "A NetDeviceConfig, the parameters of a claim or a DeviceClass for the driver " + driverName})
}

// driverName is that of the driver whose parameters these are.
const driverName = "dra-netdev.github.io"

func newNode(path string, typ reflect.Type, row field) node {
	n := node{path: path, row: row, min: row.min, max: row.max, zeroIsSet: typ.Kind() == reflect.Pointer}
	n.kind = kindOf(typ)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch n.kind {
	case "object", "either":
		n.children = members(path, typ)
	case "map":
		n.children = []node{newNode(path+".*", typ.Elem(), field{})}
	case "list":
		element := field{format: row.format, enum: row.enum, pattern: row.pattern}
		if typ == reflect.TypeFor[fieldNames]() {
			element.enum = fieldNameValues()
		}
		n.row.format, n.row.enum, n.row.pattern = "", nil, ""
		n.children = []node{newNode(path+"[]", typ.Elem(), element)}
	case "integer":
		if n.max == 0 {
			n.min, n.max = limitsOf(typ)
		}
	}
	if !slices.Contains([]reflect.Type{reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix](), reflect.TypeFor[nic.HardwareAddr](), textOrObject}, typ) {
		n.row.format = "" // a type of its own may read more
	}
	return n
}

// members are the fields of a struct, in its order.
func members(path string, typ reflect.Type) (all []node) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			all = append(all, members(path, f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		at := path + "." + name
		var row field
		if i := slices.IndexFunc(fields, func(f field) bool { return "."+f.path == at }); i >= 0 {
			row = fields[i]
		}
		all = append(all, newNode(at, f.Type, row))
	}
	return all
}

// kindOf returns the kind of the JSON values that the decoder reads into a type.
func kindOf(typ reflect.Type) string {
	if typ == reflect.TypeFor[fieldNames]() {
		return "list"
	}
	if typ.Kind() == reflect.Pointer {
		if typ = typ.Elem(); typ.Kind() == reflect.Struct && composite(typ) {
			return "any" // the table has no rows for its fields
		}
	}
	switch p := reflect.PointerTo(typ); {
	case typ == textOrObject:
		return "either"
	case p.Implements(reflect.TypeFor[json.Unmarshaler]()):
		return "any"
	case p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "string"
	case typ.Kind() == reflect.Struct:
		return "object"
	case typ.Kind() == reflect.Map:
		return "map"
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() != reflect.Uint8:
		return "list"
	case typ.Kind() == reflect.String:
		return "string"
	case typ.Kind() == reflect.Bool:
		return "boolean"
	case typ.Kind() == reflect.Uint || typ.Kind() == reflect.Uint64:
		return "number" // CEL reads more than 63 bits as a float
	case typ.Kind() >= reflect.Int && typ.Kind() <= reflect.Uint64:
		return "integer"
	case typ.Kind() == reflect.Float32 || typ.Kind() == reflect.Float64:
		return "number"
	}
	return "any"
}

// limitsOf returns the limits of a Go type of integers, 0 and 0 for 64 bits with sign.
func limitsOf(typ reflect.Type) (least, most int64) {
	bits := typ.Bits()
	switch {
	case typ.Kind() >= reflect.Uint:
		return 0, int64(min(uint64(math.MaxInt64), math.MaxUint64>>(64-bits)))
	case bits == 64:
		return 0, 0
	}
	return -1 << (bits - 1), 1<<(bits-1) - 1
}

// fieldNameValues are the names that claimMaySet may have: of all fields that can be
// set, and of those above them.
func fieldNameValues() (all []string) {
	known, _ := settable(nic.Config{})
	for _, name := range known {
		for i, c := range name {
			if c == '.' {
				all = append(all, name[:i])
			}
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// walkNodes visits a node and all below it.
func walkNodes(n node, visit func(node)) {
	visit(n)
	for _, c := range n.children {
		walkNodes(c, visit)
	}
}

const (
	referencePage  = "../../../docs/configuration.md"
	referenceBegin = "<!-- begin: made from the table of fields by `go test ./pkg/api/v1alpha1 -run '^TestFieldReference$' -update` -->\n"
)

// TestFieldReference checks that the table of fields in docs/configuration.md is the
// table in this package.
func TestFieldReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("| field | type | limits | meaning | example |\n|---|---|---|---|---|\n")
	walkNodes(tree(), func(n node) {
		if n.row.path == "" || n.row.path == "interface" {
			return
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", n.row.path, n.typeName(), cell(n.limits()), cell(n.row.doc), n.sample())
	})
	uptodate.Part(t, referencePage, referenceBegin, b.String(), *update)
}

// typeName is the type of a node for readers.
func (n node) typeName() string {
	switch n.kind {
	case "list":
		return "list of " + plural(n.children[0])
	case "map":
		return "map of " + plural(n.children[0])
	case "any":
		return "see meaning"
	case "either":
		return cmp.Or(string(n.row.format), "string") + " or object"
	}
	return cmp.Or(string(n.row.format), n.kind)
}

func plural(element node) string {
	switch name := element.typeName(); name {
	case "see meaning":
		return "values"
	case "prefix or object":
		return "prefixes or objects"
	case "prefix", "address", "hardware addr":
		return map[string]string{"prefix": "prefixes", "address": "addresses", "hardware addr": "hardware addresses"}[name]
	default:
		return name + "s"
	}
}

// limits are the limits of a node for readers.
func (n node) limits() string {
	var all []string
	element := n
	if n.kind == "list" {
		element = n.children[0]
	}
	if n.row.required {
		all = append(all, "required")
	}
	if n.row.items > 0 {
		all = append(all, fmt.Sprintf("at most %d", n.row.items))
	}
	if n.row.max != 0 {
		all = append(all, fmt.Sprintf("%d to %d", n.min, n.max))
	}
	if len(element.row.enum) > 0 && !strings.HasPrefix(n.path, ".claimMaySet") {
		all = append(all, "`"+strings.Join(element.row.enum, "`, `")+"`")
	}
	if element.row.pattern != "" {
		all = append(all, "`"+element.row.pattern+"`")
	}
	return strings.Join(all, "; ")
}

// sample is the example of a node, none for the head of a list of objects.
func (n node) sample() string {
	if n.row.example == "[]" || n.row.example == "{}" {
		return ""
	}
	return "`" + cell(n.row.example) + "`"
}

// cell escapes what ends a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
