package netdev

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/uptodate"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

var update = flag.Bool("update", false, "write the table of docs/configuration.md")

const (
	referencePage  = "../../docs/configuration.md"
	referenceBegin = "<!-- begin: made from the tables in pkg/netdev by `go test ./pkg/netdev -run '^TestReference$' -update` -->\n"
)

// TestReference checks that the table of docs/configuration.md is that of the
// properties.
func TestReference(t *testing.T) {
	uptodate.Part(t, referencePage, referenceBegin, reference(), *update)
}

// reference is a table with one row for all properties with the same values in the
// pod and after the detach, and lists of what some of them consist of.
func reference() string {
	var order []string
	names := map[string][]string{}
	for _, p := range properties {
		if p.name == "" {
			panic("a property has no name")
		}
		like := fmt.Sprintf("| %s | %s |", or(p.inPod, "as on the host"), or(p.after, "restored"))
		if slices.ContainsFunc(order, func(o string) bool { return slices.Contains(names[o], p.name) }) {
			continue // it has several rows
		}
		if names[like] == nil {
			order = append(order, like)
		}
		names[like] = append(names[like], p.name)
	}
	var b strings.Builder
	b.WriteString("| what | in the pod | on the host after the detach |\n|---|---|---|\n")
	for _, like := range order {
		fmt.Fprintf(&b, "| %s %s\n", strings.Join(names[like], ", "), like)
	}
	for _, l := range []struct {
		what  string
		names []string
	}{
		{"preserved attributes", preservedNames()},
		{"hardware settings", hardwareNames(false)},
		{"hardware settings of interfaces with a parent device", hardwareNames(true)},
		{"settings of a physical function's virtual functions", vfNames()},
		{"losses that `interface.allowLoss` accepts", lossNames()},
	} {
		fmt.Fprintf(&b, "\n- %s: %s", l.what, strings.Join(l.names, ", "))
	}
	b.WriteString("\n")
	return b.String()
}

func or(text, usual string) string {
	if text == "" {
		return usual
	}
	return text
}

func preservedNames() (names []string) {
	for _, name := range preservedLinkAttrs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func hardwareNames(device bool) (names []string) {
	for _, s := range hardwareSettings {
		if s.device == device {
			names = append(names, s.name)
		}
	}
	return names
}

func lossNames() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(nic.Losses)) {
		names = append(names, fmt.Sprintf("`%s` (%s)", name, nic.Losses[name]))
	}
	return names
}

func vfNames() (names []string) {
	for _, s := range vfSettings {
		names = append(names, s.name)
	}
	return names
}
