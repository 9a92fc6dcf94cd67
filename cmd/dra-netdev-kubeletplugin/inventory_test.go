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

// TestTableIsPrintable checks that no byte of a link's name, which may be any
// but a few, reaches the terminal.
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

// TestInventoryFlags checks what is refused before anything is read, and that
// a driver which does not answer is no reason to guess.
func TestInventoryFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"inventory -o xml", `--output: "xml": must be table, json or yaml`},
		{"inventory --health-socket= --node-address=x", `--node-address: ParseAddr("x")`},
		{"inventory --health-socket= --filter=(", "--filter: "},
		{"inventory --health-socket=/nonexistent/health.sock", "ask the driver at --health-socket /nonexistent/health.sock: "},
	} {
		var out, complaint bytes.Buffer
		cmd := command()
		cmd.SetArgs(strings.Fields(c.args))
		cmd.SetOut(&out)
		cmd.SetErr(&complaint)
		cmd.SilenceErrors = true
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
		if out.Len() > 0 {
			t.Errorf("%s printed %q", c.args, out.String())
		}
	}
}

// TestInventoryWithoutDriver checks that a scan without the driver says what
// it lacks, where it does no harm to what reads the output.
func TestInventoryWithoutDriver(t *testing.T) {
	t.Setenv("HEALTH_SOCKET", "")
	var out, complaint bytes.Buffer
	cmd := command()
	cmd.SetArgs([]string{"inventory", "--all", "--output=json", "--node-address=192.0.2.1"})
	cmd.SetOut(&out)
	cmd.SetErr(&complaint)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	var devices []inventory.Device
	if err := json.Unmarshal(out.Bytes(), &devices); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(devices, func(d inventory.Device) bool { return d.Link.Name == "lo" }); i < 0 || devices[i].Skipped != "it is a loopback" {
		t.Errorf("lo is not among the links that are not offered: %+v", devices)
	}
	if !strings.Contains(complaint.String(), "no driver was asked") {
		t.Errorf("it says %q of what it does not know", complaint.String())
	}
}
