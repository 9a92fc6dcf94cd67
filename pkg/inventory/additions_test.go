package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
)

func mustAdditions(t testing.TB, text string) *Additions {
	t.Helper()
	a, err := ParseAdditions([]byte(text), "gpu-7")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// addedTo maps each link to its added attributes, as texts.
func addedTo(devs []Device) map[string][]string {
	out := map[string][]string{}
	for _, d := range devs {
		for _, name := range d.Added {
			a := d.Attributes[name]
			value := ""
			switch {
			case a.StringValue != nil:
				value = fmt.Sprintf("%q", *a.StringValue)
			case a.IntValue != nil:
				value = fmt.Sprint(*a.IntValue)
			case a.BoolValue != nil:
				value = fmt.Sprint(*a.BoolValue)
			case a.VersionValue != nil:
				value = "v" + *a.VersionValue
			}
			out[d.Link.Name] = append(out[d.Link.Name], string(name)+"="+value)
		}
	}
	return out
}

func first(devs []Device, _ []string) []Device { return devs }

func TestAdditions(t *testing.T) {
	const all = `- {match: "true", attributes: `
	tests := []struct {
		name, text string
		m          *machine
		want       map[string][]string
		notes      []string
	}{
		{name: "none", text: "", m: server()},
		{name: "an empty list", text: "[]", m: server()},
		{
			name: "each type",
			text: `
- match: device.attributes["dra-netdev.github.io"].ifName == "enp175s0f1"
  attributes: {example.com/rack: r7, a.b-c.example.com/Rail_2: -3, example.com/isolated: true}
- match: device.attributes["dra-netdev.github.io"].ifName == "enp175s0f1v0"
  attributes: {example.com/optics: {version: 1.2.3-rc.1+b}, example.com/empty: "", example.com/text: "7"}
`,
			m: server(),
			want: map[string][]string{
				"enp175s0f1":   {`a.b-c.example.com/Rail_2=-3`, `example.com/isolated=true`, `example.com/rack="r7"`},
				"enp175s0f1v0": {`example.com/empty=""`, `example.com/optics=v1.2.3-rc.1+b`, `example.com/text="7"`},
			},
		},
		{
			name: "the last entry wins, also over another type",
			text: all + `{example.com/rail: 1, example.com/rack: a}}` + "\n" + `- {match: 'device.attributes["dra-netdev.github.io"].isSriovVf', attributes: {example.com/rail: two}}`,
			m:    server(),
			want: map[string][]string{"enp175s0f1": {`example.com/rack="a"`, `example.com/rail=1`}, "enp175s0f1v0": {`example.com/rack="a"`, `example.com/rail="two"`}},
		},
		{
			name:  "true without quotes, and no other entry's attributes to match",
			text:  `- {match: true, attributes: {example.com/rail: 1}}` + "\n" + `- {match: 'device.attributes["example.com"].rail == 1', attributes: {example.com/x: 1}}`,
			m:     vm(),
			want:  map[string][]string{"eth1": {`example.com/rail=1`}},
			notes: []string{`[1].match: matches no device: no such key: rail`},
		},
		{
			name: "nodes",
			text: `
- {nodes: [gpu-8], match: "true", attributes: {example.com/a: 1}}
- {nodes: [gpu-8, "gpu-?"], match: "true", attributes: {example.com/b: 1}}
- {nodes: [gpu-7], match: "true", attributes: {example.com/c: 1}}
- {nodes: ["gpu-77*"], match: "true", attributes: {example.com/d: 1}}
`,
			m:    vm(),
			want: map[string][]string{"eth1": {`example.com/b=1`, `example.com/c=1`}},
		},
		{
			name:  "what the driver has read stays",
			text:  all + `{resource.kubernetes.io/pcieRoot: pci0000:00, resource.kubernetes.io/numaNode: 1}}`,
			m:     vm(),
			want:  map[string][]string{"eth1": {`resource.kubernetes.io/numaNode=1`}},
			notes: []string{`device pci-0000-00-04-0: resource.kubernetes.io/pcieRoot: the driver has read it, its value is not replaced`},
		},
		{
			name:  "a virtual link gets a PCIe root",
			text:  `- {match: 'device.attributes["dra-netdev.github.io"].ifName == "v0"', attributes: {resource.kubernetes.io/pcieRoot: pci0000:3a}}` + "\n" + `- {match: "false", attributes: {example.com/a: 1}}`,
			m:     node(),
			want:  map[string][]string{"v0": {`resource.kubernetes.io/pcieRoot="pci0000:3a"`}},
			notes: []string{`[1].match: matches no device`},
		},
		{
			name:  "devices that are not offered",
			text:  `- {match: 'device.attributes["dra-netdev.github.io"].ifName in ["lo", "eno1"]', attributes: {example.com/a: 1}}`,
			m:     server(),
			notes: []string{`[0].match: matches no device`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.m.scan()
			got, notes := mustAdditions(t, tt.text).Apply(before)
			if tt.want == nil {
				tt.want = map[string][]string{}
			}
			if diff := cmp.Diff(tt.want, addedTo(got)); diff != "" {
				t.Errorf("added (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.notes, notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
			if !same(before, tt.m.scan()) {
				t.Error("Apply has changed its argument")
			}
			again, _ := mustAdditions(t, tt.text).Apply(first(mustAdditions(t, `- {match: "true", attributes: {example.com/other: 1, resource.kubernetes.io/numaNode: 9}}`).Apply(before)))
			if !same(got, again) {
				t.Errorf("got %v after other additions", addedTo(again))
			}
			if none, _ := (*Additions)(nil).Apply(got); !same(before, none) {
				t.Errorf("without additions, %v remain", addedTo(none))
			}
			for i := range got { // nothing else may have changed
				for _, name := range got[i].Added {
					delete(got[i].Attributes, name)
				}
				got[i].Added = nil
			}
			if !same(before, got) {
				t.Error("Apply has changed other attributes")
			}
		})
	}
}

// TestAdditionsFill checks that no device gets more attributes than the API
// allows.
func TestAdditionsFill(t *testing.T) {
	var list []string
	for i := range 32 {
		list = append(list, fmt.Sprintf("example.com/a%02d: %d", i, i))
	}
	fill := mustAdditions(t, `- {match: "true", attributes: {`+strings.Join(list, ", ")+`}}`)
	most := fattest().scan()
	for i := range most {
		most[i].Skipped = "" // ports of a bond are not offered, but others are like them
	}
	for _, d := range first(fill.Apply(most)) {
		if len(d.Added) < 4 {
			t.Errorf("%s has room for %d attributes, docs/configuration.md says 4", d.Name, len(d.Added))
		}
	}
	before := vm().scan()
	devs, notes := fill.Apply(before)
	for i, d := range devs {
		if d.Skipped != "" {
			continue
		}
		room := resourceapi.ResourceSliceMaxAttributesAndCapacitiesPerDevice - len(capacities) - len(before[i].Attributes)
		if len(d.Added) != room || len(d.Attributes)+len(capacities) != resourceapi.ResourceSliceMaxAttributesAndCapacitiesPerDevice || len(notes) != 32-room {
			t.Errorf("%s: %d of 32 were added where there was room for %d, and %d notes: %q", d.Name, len(d.Added), room, len(notes), notes)
		}
		if want := fmt.Sprintf("device %s: example.com/a31: not added, the device has 32 attributes and capacities and the API allows no more", d.Name); notes[len(notes)-1] != want {
			t.Errorf("got note %q, want %q", notes[len(notes)-1], want)
		}
	}
}

func TestAdditionsErrors(t *testing.T) {
	with := func(attributes string) string { return `- {match: "true", attributes: {` + attributes + `}}` }
	long := strings.Repeat("x", 65)
	for text, want := range map[string]string{
		"{":             "yaml: ",
		"example.com/a": "want a list of entries with the fields nodes, match and attributes: ",
		"{match: a}":    "want a list of entries with the fields nodes, match and attributes: ",
		`- {match: "true", match: "true", attributes: {example.com/a: 1}}`:    "already set",
		`- {match: "true", atributes: {example.com/a: 1}}`:                    `unknown field "[0].atributes"`,
		`- {Match: "true", attributes: {example.com/a: 1}}`:                   `unknown field "[0].Match"`,
		`- {attributes: {example.com/a: 1}}`:                                  `[0].match: "<nil>": must be a CEL expression`,
		`- {match: "", attributes: {example.com/a: 1}}`:                       `[0].match: "": must be a CEL expression`,
		`- {match: 7, attributes: {example.com/a: 1}}`:                        `[0].match: "7": must be a CEL expression`,
		`- {match: "device.", attributes: {example.com/a: 1}}`:                `[0].match: expression "device.": `,
		`- {match: "true", attributes: {}}`:                                   `[0].attributes: has 0: must be 1 to 32`,
		`- {match: "true"}`:                                                   `[0].attributes: has 0: must be 1 to 32`,
		`- {nodes: [], match: "true", attributes: {example.com/a: 1}}`:        `[0].nodes: is empty: must have a name or a pattern, or be absent`,
		`- {nodes: [a, "[b"], match: "true", attributes: {example.com/a: 1}}`: `[0].nodes[1]: "[b": must be a name or a pattern such as gpu-*`,
		with("example.com/a: 1") + "\n" + with("rack: 7"):                     `[1].attributes[rack]: the name must have a domain, as example.com/rack: names without one are the driver's own`,
		with("mtu: 7"):                                               `[0].attributes[mtu]: the name must have a domain`,
		with("dra-netdev.github.io/rack: 7"):                         `[0].attributes[dra-netdev.github.io/rack]: names of the domain dra-netdev.github.io are the driver's own`,
		with("Example.com/rack: 7"):                                  `[0].attributes[Example.com/rack]: "Example.com": must be a domain in lower case`,
		with("/rack: 7"):                                             `[0].attributes[/rack]: "": must be a domain`,
		with("example.com/a/b: 7"):                                   `[0].attributes[example.com/a/b]: "a/b": must consist of letters, digits and _`,
		with("example.com/a-b: 7"):                                   `"a-b": must consist of letters, digits and _`,
		with("example.com/7: 7"):                                     `"7": must consist of letters`,
		with("example.com/: 7"):                                      `"": must consist of letters`,
		with("example.com/" + long[:33] + ": 7"):                     `has 33 bytes, the API allows 32`,
		with(strings.Repeat("a", 60) + ".com/a: 7"):                  `the domain has 64 bytes, the API allows 63`,
		with("example.com/a: " + long):                               `[0].attributes[example.com/a]: "` + long + `": has 65 bytes, the API allows 64`,
		with("example.com/a: ' " + strings.Repeat("€", 21) + "x'"):   `has 65 bytes, the API allows 64`,
		with("example.com/a: 1.5"):                                   `[0].attributes[example.com/a]: "1.5": must be a whole number; write a text in quotes`,
		with("example.com/a: 9223372036854775808"):                   `must be a number of 64 bits`,
		with("example.com/a: null"):                                  `"<nil>": must be a text, a number, true, false, or {version: "1.2.3"}`,
		with("example.com/a: [1]"):                                   `"[1]": must be a text`,
		with("example.com/a: {version: 1.2}"):                        `must be a text, a number`,
		with("example.com/a: {version: 1.2.3, string: x}"):           `must be a text, a number`,
		with(`example.com/a: {version: "1.2"}`):                      `[0].attributes[example.com/a]: version: "1.2": must be a version as of semver.org, such as 1.2.3`,
		with(`example.com/a: {version: "01.2.3"}`):                   `version: "01.2.3": must be a version`,
		with(`example.com/a: {version: "1.2.3-` + long[:59] + `"}`):  `has 65 bytes, the API allows 64`,
		with("resource.kubernetes.io/numaNode: a"):                   `[0].attributes[resource.kubernetes.io/numaNode]: the value has another type than Kubernetes defines for this name`,
		with("resource.kubernetes.io/pcieRoot: 1"):                   `[0].attributes[resource.kubernetes.io/pcieRoot]: the value has another type`,
		`- {nodes: [other], match: "true", attributes: {rack: 7}}`:   `[0].attributes[rack]: the name must have a domain`,
		`- {nodes: [other], match: "x", attributes: {a.b/rack: 7}}`:  `[0].match: expression "x": `,
		"- match: 'true'\n  attributes: {a.b/c: 1}\n- nonsense: [\n": "yaml: ",
	} {
		a, err := ParseAdditions([]byte(text), "gpu-7")
		if err == nil || a != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// FuzzAdditions checks that what ParseAdditions accepts stays within the API's
// limits.
func FuzzAdditions(f *testing.F) {
	for _, seed := range []string{"", "[]", `- {match: "true", attributes: {example.com/rail: 1, example.com/rack: a, example.com/b: false, example.com/v: {version: 1.2.3}}}`,
		`- {nodes: ["*"], match: true, attributes: {resource.kubernetes.io/pcieRoot: pci0000:00}}`} {
		f.Add(seed)
	}
	m := server()
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAdditions([]byte(text), "gpu-7")
		if err != nil {
			return
		}
		devs, _ := a.Apply(m.scan())
		withinLimits(t, "fuzz", devs)
	})
}

// TestAdditionsFollow checks that the attributes of a device that changes are those
// for what it is now, and that more devices than maxKnown are served.
func TestAdditionsFollow(t *testing.T) {
	a := mustAdditions(t, `
- {match: 'device.attributes["dra-netdev.github.io"].mtu > 1500', attributes: {example.com/jumbo: true}}
- {match: 'device.capacity["dra-netdev.github.io"].bandwidth.compareTo(quantity("10G")) >= 0', attributes: {example.com/fast: true}}
`)
	m := newMachine(link(2, "eth0"))
	for _, c := range []struct {
		mtu, speed int
		want       []string
	}{{1500, 1000, nil}, {9000, 1000, []string{"example.com/jumbo=true"}}, {9000, 25000, []string{"example.com/fast=true", "example.com/jumbo=true"}}, {1500, 0, nil}} {
		m.links[0].MTU, m.links[0].Speed = c.mtu, c.speed
		for range 2 {
			devs, _ := a.Apply(m.scan())
			if diff := cmp.Diff(c.want, addedTo(devs)["eth0"]); diff != "" {
				t.Errorf("MTU %d, speed %d (-want +got):\n%s", c.mtu, c.speed, diff)
			}
		}
	}
	many := make([]Device, 0, 3*maxKnown/2)
	for i := range cap(many) {
		many = append(many, Device{Name: fmt.Sprintf("d%d", i), Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{"mtu": {IntValue: new(int64(1500 + i%2))}}})
	}
	for range 2 {
		devs, _ := a.Apply(many)
		for i, d := range devs {
			if len(d.Added) != i%2 {
				t.Fatalf("%s has the added attributes %v", d.Name, d.Added)
			}
		}
	}
	if len(a.known) > maxKnown {
		t.Errorf("%d verdicts are kept, want %d at most", len(a.known), maxKnown)
	}
}

func BenchmarkAdditions(b *testing.B) {
	m := newMachine()
	for i := range 64 {
		m.links = append(m.links, link(2+i, fmt.Sprintf("eth%d", i)))
	}
	var list strings.Builder
	for i := range 16 {
		fmt.Fprintf(&list, "- {match: 'device.attributes[\"dra-netdev.github.io\"].ifName == \"eth%d\"', attributes: {example.com/rail: %d}}\n", i, i)
	}
	a, devs := mustAdditions(b, list.String()), m.scan()
	for b.Loop() {
		a.Apply(devs)
	}
}
