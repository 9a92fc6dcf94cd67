package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestTableIsPrintable checks that the table has no control characters, though a
// link's name may have nearly any byte.
func TestTableIsPrintable(t *testing.T) {
	const name = "a\x1b[31m\r\xff\tz"
	text := name
	var out bytes.Buffer
	err := printTable(&out, []inventory.Device{
		{Name: "odd", Link: netdev.Link{Name: name}, Skipped: "it is a port of bridge b\x07", Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{"ifName": {StringValue: &text}}},
		{Name: "büro", Skipped: `the filter "x" \ y`},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`a\x1b[31m\r\xff\tz`, `bridge b\a`, "büro", `the filter "x" \ y`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %s:\n%q", want, out.String())
		}
	}
	for _, r := range out.String() {
		if r != '\n' && (r < ' ' || r == 0x7f || r == '\uFFFD') {
			t.Errorf("the table has the byte %q", r)
		}
	}
}

// TestTableOfAddedAttributes checks that the table has a column for the attributes
// that an administrator has added, if there are any.
func TestTableOfAddedAttributes(t *testing.T) {
	added, err := inventory.ParseAdditions([]byte(`- {match: "true", attributes: {example.com/rail: -7, example.com/rack: a b, example.com/on: true, example.com/v: {version: 1.2.3}}}`), "n1")
	if err != nil {
		t.Fatal(err)
	}
	devices := []inventory.Device{{Name: "a", Link: netdev.Link{Name: "a"}}, {Name: "b", Skipped: "no"}}
	for _, c := range []struct {
		with *inventory.Additions
		want string
	}{{nil, ""}, {added, "example.com/on=true,example.com/rack=a b,example.com/rail=-7,example.com/v=1.2.3"}} {
		var out bytes.Buffer
		devices, _ := c.with.Apply(devices)
		if err := printTable(&out, devices); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 || strings.HasSuffix(lines[0], "ADDED ATTRIBUTES") != (c.want != "") || !strings.HasSuffix(lines[1], c.want) {
			t.Errorf("want %q in the last column of a:\n%s", c.want, out.String())
		}
	}
}

// TestInventoryFlags checks that invalid flags are errors, and that the command
// does not scan by itself when the driver does not answer.
func TestInventoryFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"inventory -o xml", `--output: "xml": must be table, json or yaml`},
		{"inventory --health-socket= --node-address=x", `--node-address: ParseAddr("x")`},
		{"inventory --health-socket= --filter=(", "--filter: "},
		{"inventory --health-socket= --include=(", "--include: "},
		{"inventory --health-socket= --multus-resource-name=a/b/c", `--multus-resource-name: "a/b/c": must be a resource name, as example.com/nics`},
		{"inventory --health-socket= --multus-resource-name=example.com/" + strings.Repeat("x", 60), "has 72 bytes, the API allows 64"},
		{"inventory --health-socket= --attributes=/nonexistent", "--attributes: open /nonexistent"},
		{"inventory --health-socket= --attributes=testdata/faulty.yaml", `--attributes: testdata/faulty.yaml: [0].attributes[rack]: the name must have a domain`},
		{"inventory --health-socket=/nonexistent/health.sock", "get the list from the driver at --health-socket /nonexistent/health.sock: "},
	} {
		var out, stderr bytes.Buffer
		cmd := command()
		cmd.SetArgs(strings.Fields(c.args))
		cmd.SetOut(&out)
		cmd.SetErr(&stderr)
		cmd.SilenceErrors = true
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
		if out.Len() > 0 {
			t.Errorf("%s printed %q", c.args, out.String())
		}
	}
}

// TestInventoryWithoutDriver checks that a scan without the driver prints what it
// does not know on standard error, and nothing but the list on standard output.
func TestInventoryWithoutDriver(t *testing.T) {
	t.Setenv("HEALTH_SOCKET", "")
	var out, stderr bytes.Buffer
	cmd := command()
	cmd.SetArgs([]string{"inventory", "--all", "--output=json", "--node-address=192.0.2.1"})
	cmd.SetOut(&out)
	cmd.SetErr(&stderr)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	var devices []inventory.Device
	if err := json.Unmarshal(out.Bytes(), &devices); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(devices, func(d inventory.Device) bool { return d.Link.Name == "lo" }); i < 0 || devices[i].Skipped != "it is a loopback" {
		t.Errorf("want lo among the interfaces that are not offered, got %+v", devices)
	}
	if !strings.Contains(stderr.String(), "scanned without the driver") {
		t.Errorf("standard error is %q, want what the scan does not know", stderr.String())
	}
}
