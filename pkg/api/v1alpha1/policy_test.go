package v1alpha1

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/uptodate"
)

const policyFile = "../../../deployments/helm/dra-netdev/templates/configpolicy.yaml"

// TestConfigPolicy checks that the chart's admission policy for configs is made
// from the table of fields. test/node applies it.
func TestConfigPolicy(t *testing.T) {
	uptodate.File(t, policyFile, policy(), *update)
}

// elementRules are conditions of a value that no class and no claim can change: a
// text, or an element of a list, which are replaced as a whole. ok is CEL over the
// value v, which is of its kind; what it does not expect it must let pass. Decode
// refuses all that they refuse.
var elementRules = []struct{ path, ok, message string }{
	{".interface.name", `!(v in ["lo", "eth0", "all", "default", ".", ".."])`, "cannot be used in a pod"},
	{".interface.type", `v != "IPVLAN"`, insteadOfIPVLAN},
	{".interface.addressPool", `variables.isClass || v.all(k, v[k] == null || v[k] == "" || v[k] == [])`, "a claim cannot set it, only a device class"},
	{".interface.allowLoss", `variables.isClass || size(v) == 0`, "a claim cannot set it, only a device class"},
	{".neighbors[]", `["destination", "ipAddress"].exists(f, !(v[?f].orValue("") in [dyn(null), dyn("")]))`, "destination required"},
	{".interface.addresses[]", `type(v) != string || !isCIDR(v) || cidr(v).prefixLength() != 0 && !cidr(v).ip().isLoopback() && !cidr(v).ip().isUnspecified()`,
		"must be a unicast address with its prefix length, such as 192.0.2.1/24"},
	{".interface.addresses[].address", `!isCIDR(v) || cidr(v).prefixLength() != 0 && !cidr(v).ip().isLoopback() && !cidr(v).ip().isUnspecified()`,
		"must be a unicast address with its prefix length, such as 192.0.2.1/24"},
	{".routes[].destination", `!isCIDR(v) || cidr(v) == cidr(v).masked()`, "has host bits set"},
	{".routes[].table", `v != 255`, "must not be the local table, which belongs to the kernel"},
	{".routes[]", `!["destination", "gateway"].all(f, type(v[?f].orValue(0)) == string) || !isCIDR(v.destination) || !isIP(v.gateway) || cidr(v.destination).ip().family() == ip(v.gateway).family()`,
		"gateway must be of the same family as the destination"},
}

// column is a column of the table as a map of CEL, from a node's path to text that
// is CEL too; empty: the node is not in it.
func column(comment, name string, value func(node) string) string {
	var b strings.Builder
	if comment != "" {
		fmt.Fprintf(&b, "  # %s\n", comment)
	}
	fmt.Fprintf(&b, "  - name: %s\n    expression: >-\n      {", name)
	walkNodes(tree(), func(n node) {
		if text := value(n); text != "" {
			fmt.Fprintf(&b, "\n      %s: %s,", celText(n.path), text)
		}
	})
	b.WriteString("\n      }\n")
	return b.String()
}

func celText(text string) string { return strconv.Quote(text) }

func celList(all []string) string {
	quoted := make([]string, len(all))
	for i, text := range all {
		quoted[i] = celText(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// columns are what the policy has of the table.
func columns() string {
	number := func(n node, value int64) string {
		if n.kind != "integer" || n.max == 0 {
			return ""
		}
		return strconv.FormatInt(value, 10)
	}
	return column("The kind of each value of a NetDeviceConfig, by its path.", "kinds", func(n node) string { return celText(n.kind) }) +
		column("The least and the most of a number.", "least", func(n node) string { return number(n, n.min) }) +
		column("", "most", func(n node) string { return number(n, n.max) }) +
		column("The values that a value may have.", "values", func(n node) string {
			if len(n.row.enum) == 0 {
				return ""
			}
			if n.path == ".claimMaySet[]" { // a line for each field
				return "[\n      " + strings.ReplaceAll(strings.Trim(celList(n.row.enum), "[]"), ", ", ",\n      ") + ",\n      ]"
			}
			return celList(n.row.enum)
		}) +
		column("What a text matches.", "patterns", func(n node) string {
			if n.row.pattern == "" || n.kind == "map" {
				return ""
			}
			return celText(anchored(n.row.pattern))
		}) +
		keyPatterns() +
		column("Texts that are addresses.", "formats", func(n node) string {
			if n.row.format == "" {
				return ""
			}
			return celText(string(n.row.format))
		}) +
		column("How many a list or a map may have.", "sizes", func(n node) string {
			if n.row.items == 0 {
				return ""
			}
			return strconv.Itoa(n.row.items)
		}) +
		column("The fields that an element of a list must have.", "required", func(n node) string {
			var names []string
			for _, c := range n.children {
				if c.row.required {
					names = append(names, c.path[strings.LastIndex(c.path, ".")+1:])
				}
			}
			if names == nil {
				return ""
			}
			return celList(names)
		}) +
		insteadColumn() +
		spellings() +
		column("The fields of which zero is a value; of the others it is like an absent field.", "zero", func(n node) string {
			if !n.zeroIsSet {
				return ""
			}
			return "true"
		})
}

// check is CEL that returns what is wrong with an entry e, or "".
func check() string {
	var b strings.Builder
	line := func(condition, message string) { fmt.Fprintf(&b, "\n        %s ? %s :", condition, message) }
	line(`e.v == null`, `""`)
	line(`kind == ""`, `"unknown field" + (e.row.lowerAscii() in variables.kinds ? ", want " + e.row.lowerAscii().substring(1) : variables.spellings[?e.row.lowerAscii()].orValue("")) + variables.instead[?e.row].orValue("")`)
	for _, k := range []struct{ kinds, types, name string }{
		{`in ["object", "map"]`, "map", "an object"}, {`== "list"`, "list", "a list"}, {`== "string"`, "string", "a string"},
		{`== "boolean"`, "bool", "true or false"}, {`== "integer"`, "int", "a whole number"},
	} {
		line(fmt.Sprintf("kind %s && type(e.v) != %s", k.kinds, k.types), celText("must be "+k.name))
	}
	line(`kind == "either" && type(e.v) != string && type(e.v) != map`, `"must be a string or an object"`)
	line(`kind == "number" && type(e.v) != int && type(e.v) != double`, `"must be a number"`)
	line(`e.row in variables.sizes && size(e.v) > variables.sizes[e.row]`, `"must be at most " + string(variables.sizes[e.row]) + ", has " + string(size(e.v))`)
	line(`!(e.row in variables.zero) && (e.v == 0 || e.v == "" || e.v == false)`, `""`)
	line(`"key" in e && e.row in variables.keys && !e.key.matches(variables.keys[e.row])`, `"its name must match " + variables.keys[e.row]`)
	for _, r := range elementRules {
		line(fmt.Sprintf("e.row == %s && [e.v].exists(v, !(%s))", celText(r.path), r.ok), celText(r.message))
	}
	line(`e.row in variables.least && (e.v < variables.least[e.row] || e.v > variables.most[e.row])`,
		`"must be " + string(variables.least[e.row]) + " to " + string(variables.most[e.row])`)
	line(`e.row in variables.values && !(string(e.v) in variables.values[e.row])`, `"must be one of " + variables.values[e.row].join(", ")`)
	line(`e.row in variables.patterns && kind == "string" && !e.v.matches(variables.patterns[e.row])`, `"must match " + variables.patterns[e.row]`)
	line(`variables.formats[?e.row].orValue("") == "hardware addr" && !e.v.matches(`+celText(anchored(formatPatterns[formatHardwareAddr]))+`)`, `"must be a hardware address, such as 02:00:00:00:00:01"`)
	line(`e.row in variables.required && type(e.v) == map && variables.required[e.row].exists(f, e.v[?f].orValue("") in [dyn(null), dyn("")])`,
		`variables.required[e.row].filter(f, e.v[?f].orValue("") in [dyn(null), dyn("")]).join(", ") + " required"`)
	line(`kind == "either" && type(e.v) == map`, `""`) // its members are checked by their own rows
	// The address libraries read less than Go: no zone, no IPv4-mapped address. The driver refuses those where they are wrong.
	line(`variables.formats[?e.row].orValue("") == "address" && !isIP(e.v) && !e.v.contains("%") && !e.v.lowerAscii().contains("::ffff:")`, `"must be an address, such as 192.0.2.1"`)
	line(`variables.formats[?e.row].orValue("") == "prefix" && !isCIDR(e.v) && !e.v.lowerAscii().contains("::ffff:")`, `"must be an address with its prefix length, such as 192.0.2.1/24"`)
	line(`e.row == ".claimMaySet" && !variables.isClass`, `"a claim cannot set it, only a device class"`)
	b.WriteString("\n        \"\"")
	return b.String()
}

// depth is how many steps below the whole the deepest value is.
func depth() (most int) {
	walkNodes(tree(), func(n node) { most = max(most, strings.Count(n.path, ".")+strings.Count(n.path, "[]")) })
	return most
}

// mostValues are how many values the policy checks: the time that the API server
// needs grows with their square (cel-go's tracking of costs), to 50 ms. What is
// below them is left to the driver.
const mostValues = 300

// levels are variables with the values at each depth: a map from the place in the
// object to the value and its path in the table.
func levels() string {
	var b strings.Builder
	names := []string{"variables.level0"}
	for i := range depth() {
		fmt.Fprintf(&b, `  - name: level%d
    expression: >-
      size(%s) + variables.level%[3]d.map(at, type(variables.level%[3]d[at].v) == map || type(variables.level%[3]d[at].v) == list ? size(variables.level%[3]d[at].v) : 0).sum() > %[4]d ? {} :
      variables.level%[3]d.transformMapEntry(at, e,
        type(e.v) == map && variables.kinds[?e.row].orValue("") in ["object", "either"] ? e.v.transformMapEntry(k, v, {at + "." + k: {"row": dyn(e.row + "." + k), "v": dyn(v)} }) :
        type(e.v) == map && variables.kinds[?e.row].orValue("") == "map" ? e.v.transformMapEntry(k, v, {at + "." + k: {"row": dyn(e.row + ".*"), "v": dyn(v), "key": dyn(k)} }) :
        type(e.v) == list && variables.kinds[?e.row].orValue("") == "list" ? e.v.transformMapEntry(i, v, {at + "[" + string(i) + "]": {"row": dyn(e.row + "[]"), "v": dyn(v)} }) :
        {})
`, i+1, strings.Join(names, ") + size("), i, mostValues)
		names = append(names, fmt.Sprintf("variables.level%d", i+1))
	}
	fmt.Fprintf(&b, "  - name: entries\n    expression: '[%s].transformMapEntry(i, level, level)'\n", strings.Join(names, ", "))
	return b.String()
}

// policy returns the template of the chart.
func policy() string {
	return strings.NewReplacer("COLUMNS", columns(), "LEVELS", levels(), "CHECK", check()).Replace(policyTemplate)
}

// The messages are sorted so that the same object gets the same answer: a map of CEL
// has no order.
const policyTemplate = `{{- /* Made from the table of fields by: go test ./pkg/api/v1alpha1 -run '^TestConfigPolicy$' -update */}}
{{- if .Values.configPolicy.enabled }}
# Refuses claims, claim templates and device classes whose parameters for the driver the driver would refuse, as far as CEL can
# say that: unknown fields, types, limits. An object that exists can be changed in everything else.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "dra-netdev.fullname" . }}-configs
  labels: {{- include "dra-netdev.labels" . | nindent 4 }}
spec:
  # The driver checks every config again, so an expression that fails or costs too much refuses nothing.
  failurePolicy: Ignore
  matchConstraints:
    resourceRules:
    - apiGroups: [resource.k8s.io]
      apiVersions: ["*"]
      operations: [CREATE] # their spec is immutable
      resources: [resourceclaims, resourceclaimtemplates]
    - apiGroups: [resource.k8s.io]
      apiVersions: ["*"]
      operations: [CREATE, UPDATE]
      resources: [deviceclasses]
  matchConditions:
  - name: has-config
    expression: >-
      [dyn(object).?spec.?devices.?config, dyn(object).?spec.?spec.?devices.?config, dyn(object).?spec.?config].exists(list,
        list.orValue([]).exists(c, c.?opaque.?driver.orValue("") == "{{ include "dra-netdev.driver" . }}"))
  - name: config-changed
    expression: oldObject == null || dyn(object).?spec.?config != dyn(oldObject).?spec.?config
  variables:
COLUMNS  - name: isClass
    expression: request.resource.resource == "deviceclasses"
  - name: at
    expression: >-
      variables.isClass ? "spec.config" : request.resource.resource == "resourceclaims" ? "spec.devices.config" : "spec.spec.devices.config"
  - name: configs
    expression: >-
      variables.isClass ? dyn(object).spec.config : request.resource.resource == "resourceclaims" ? dyn(object).spec.devices.config : dyn(object).spec.spec.devices.config
  # Level 0 is the driver's configs, each further one the members and elements of those before: the place in the object, with the
  # value v and its row in the table.
  - name: level0
    expression: >-
      variables.configs.transformMapEntry(i, c, c.?opaque.?driver.orValue("") == "{{ include "dra-netdev.driver" . }}",
        {variables.at + "[" + string(i) + "].opaque.parameters": {"row": dyn(""), "v": dyn(c.opaque.?parameters.orValue(null))} })
LEVELS  - name: checked
    expression: >-
      variables.entries.transformMap(at, e, [variables.kinds[?e.row].orValue("")].map(kind,CHECK)[0])
  - name: faults
    expression: >-
      variables.checked.map(at, variables.checked[at] != "", at + ": " + [variables.entries[at].v].map(v,
        type(v) == string ? strings.quote(size(v) > 60 ? v.substring(0, 60) + "..." : v) + ": " :
        type(v) == int || type(v) == bool ? "\"" + string(v) + "\": " : "")[0] + variables.checked[at])
  - name: first
    expression: 'size(variables.faults) == 0 ? "" : variables.faults.min()'
  - name: later
    expression: 'variables.faults.filter(f, f != variables.first)'
  validations:
  - expression: size(variables.faults) == 0
    message: a config of {{ include "dra-netdev.driver" . }} is not valid
    messageExpression: >-
      variables.first +
        (size(variables.later) == 0 ? "" : "; " + variables.later.min()) +
        (size(variables.later) < 2 ? "" : "; and " + string(size(variables.later) - 1) + " more")
---
{{ include "dra-netdev.policyBinding" (dict "root" . "of" "configs") }}
{{- end }}
`

// keyPatterns are what the names in a map match, by the path of its values.
func keyPatterns() string {
	text := "  - name: keys\n    expression: >-\n      {"
	walkNodes(tree(), func(n node) {
		if n.kind == "map" && n.row.pattern != "" {
			text += fmt.Sprintf("\n      %s: %s,", celText(n.path+".*"), celText(anchored(n.row.pattern)))
		}
	})
	return text + "\n      }\n"
}

// spellings are the fields with upper case letters, by their paths in lower case.
func spellings() string {
	text := "  - name: spellings\n    expression: >-\n      {"
	seen := map[string]bool{}
	walkNodes(tree(), func(n node) {
		if lower := strings.ToLower(n.path); lower != n.path && !seen[lower] {
			seen[lower] = true
			text += fmt.Sprintf("\n      %s: %s,", celText(lower), celText(", want "+n.path[1:]))
		}
	})
	return text + "\n      }\n"
}

// insteadColumn is what to use in the place of fields that do not exist.
func insteadColumn() string {
	text := "  - name: instead\n    expression: >-\n      {"
	for _, path := range slices.Sorted(maps.Keys(instead)) {
		text += fmt.Sprintf("\n      %s: %s,", celText("."+path), celText(": "+instead[path]))
	}
	return text + "\n      }\n"
}
