package v1alpha1

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/uptodate"
	"github.com/google/jsonschema-go/jsonschema"
	"sigs.k8s.io/yaml"
)

const schemaFile = "../../../docs/netdeviceconfig.schema.json"

// formatPatterns are patterns that each text of a format matches, for an editor and
// for the admission policy. The decoder is more precise.
var formatPatterns = map[format]string{
	formatAddress:      `[0-9A-Fa-f.:]+`,
	formatPrefix:       `[0-9A-Fa-f.:]+/[0-9]{1,3}`,
	formatHardwareAddr: `[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2})*|[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4})*`,
}

// schema returns the JSON schema of a node.
func (n node) schema() *jsonschema.Schema {
	s := &jsonschema.Schema{Description: n.row.doc}
	switch n.kind {
	case "object", "either":
		s.Type, s.AdditionalProperties, s.Properties = "object", &jsonschema.Schema{Not: &jsonschema.Schema{}}, map[string]*jsonschema.Schema{}
		for _, c := range n.children {
			name := c.path[strings.LastIndex(c.path, ".")+1:]
			s.Properties[name] = c.schema()
			s.PropertyOrder = append(s.PropertyOrder, name)
			if c.row.required {
				s.Required = append(s.Required, name)
			}
		}
		if n.kind == "either" {
			s.Type, s.Types, s.Pattern = "", []string{"string", "object"}, anchored(formatPatterns[n.row.format])
		}
	case "map":
		s.Type, s.AdditionalProperties = "object", n.children[0].schema()
		if n.row.pattern != "" {
			s.PropertyNames = &jsonschema.Schema{Pattern: anchored(n.row.pattern)}
		}
		if n.row.items > 0 {
			s.MaxProperties = &n.row.items
		}
	case "list":
		s.Type, s.Items = "array", n.children[0].schema()
		if n.row.items > 0 {
			s.MaxItems = &n.row.items
		}
	case "any":
	default:
		s.Type = n.kind
		s.Pattern = anchored(n.row.pattern)
		if p := formatPatterns[n.row.format]; p != "" {
			s.Pattern = anchored(p)
		}
		n.limit(s)
	}
	if example := n.sample(); example != "" && n.row.example != "" {
		s.Examples = []any{json.RawMessage(n.row.example)}
	}
	return s
}

// limit adds the limits of a number and the values that a node may have.
func (n node) limit(s *jsonschema.Schema) {
	if n.max != 0 {
		least, most := float64(n.min), float64(n.max)
		s.Minimum, s.Maximum = &least, &most
	}
	for _, value := range n.row.enum {
		if n.kind != "string" {
			if i, err := strconv.ParseInt(value, 10, 64); err == nil {
				s.Enum = append(s.Enum, i)
				continue
			}
		}
		s.Enum = append(s.Enum, value)
	}
}

func anchored(pattern string) string {
	if pattern == "" {
		return ""
	}
	return "^(?:" + pattern + ")$"
}

// documentSchema is of YAML documents: of a NetDeviceConfig, and of the objects of
// Kubernetes that one can be in.
func documentSchema() *jsonschema.Schema {
	object := func(properties map[string]*jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Properties: properties}
	}
	at := func(path string, s *jsonschema.Schema) *jsonschema.Schema {
		names := strings.Split(path, ".")
		for i := len(names) - 1; i >= 0; i-- {
			s = object(map[string]*jsonschema.Schema{names[i]: s})
		}
		return s
	}
	one := func(value string) *jsonschema.Schema { var v any = value; return &jsonschema.Schema{Const: &v} }
	config := func() *jsonschema.Schema { return &jsonschema.Schema{Ref: "#/definitions/NetDeviceConfig"} }
	list := func() *jsonschema.Schema {
		ours := at("opaque.driver", one(driverName))
		ours.Required = []string{"opaque"}
		ours.Properties["opaque"].Required = []string{"driver"}
		return &jsonschema.Schema{Items: &jsonschema.Schema{If: ours, Then: at("opaque.parameters", config())}}
	}
	kind := func(name string) *jsonschema.Schema {
		return &jsonschema.Schema{Required: []string{"kind"}, Properties: map[string]*jsonschema.Schema{"kind": one(name)}}
	}
	return &jsonschema.Schema{
		Schema:      "http://json-schema.org/draft-07/schema#", // which editors know best
		Title:       "NetDeviceConfig of " + driverName + ", also in a ResourceClaim, ResourceClaimTemplate or DeviceClass",
		Definitions: map[string]*jsonschema.Schema{ConfigKind: tree().schema()},
		AllOf: []*jsonschema.Schema{
			{If: kind("ResourceClaim"), Then: at("spec.devices.config", list())},
			{If: kind("ResourceClaimTemplate"), Then: at("spec.spec.devices.config", list())},
			{If: kind("DeviceClass"), Then: at("spec.config", list())},
			{If: kind(ConfigKind), Then: config()},
			{If: &jsonschema.Schema{Not: &jsonschema.Schema{Required: []string{"kind"}}}, Then: config()},
		},
	}
}

// TestJSONSchema checks that the JSON schema is that of the table, that it accepts
// each row's example and all of examples/, and that it refuses what the decoder
// refuses of it.
func TestJSONSchema(t *testing.T) {
	text, err := json.Marshal(documentSchema())
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteString("\n")
	uptodate.File(t, schemaFile, indented.String(), *update)
	resolved, err := documentSchema().Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	validate := func(document []byte) error {
		var value any
		if err := yaml.Unmarshal(document, &value); err != nil {
			t.Fatal(err)
		}
		return resolved.Validate(value)
	}
	files, err := filepath.Glob("../../../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %q in examples/: %v", files, err)
	}
	good := "" // a claim with all fields' examples would not decode: some exclude others
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(text), "\n---\n") {
			if err := validate([]byte(document)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if strings.Contains(document, "mtu: 1400") && strings.Contains(document, "kind: ResourceClaim\n") {
				good = document
			}
		}
	}
	for _, bad := range [][2]string{{"mtu: 1400", "mtu: 14"}, {"mtu: 1400", "Mtu: 1400"}, {"mtu: 1400", "mtu: a"}, {"mtu: 1400", "claimMaySet: []"}, {"addresses: [", "addresses: [x, "}} {
		if document := strings.Replace(good, bad[0], bad[1], 1); document == good || validate([]byte(document)) == nil {
			t.Errorf("with %s the schema accepts\n%s", bad[1], document)
		}
	}
}
