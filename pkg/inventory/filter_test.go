package inventory

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func mustFilter(t testing.TB, expr string) *Filter {
	t.Helper()
	f, err := NewFilter(expr)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFilter(t *testing.T) {
	const out = "the filter excludes it"
	tests := map[string]map[string]string{
		``:     {"lo": "it is a loopback", "eno1": defaultRoute, "enp175s0f1": "", "enp175s0f1v0": ""},
		`true`: {"lo": "it is a loopback", "eno1": defaultRoute, "enp175s0f1": "", "enp175s0f1v0": ""},
		`device.driver == "dra-netdev.github.io" && device.attributes["dra-netdev.github.io"].?isSriovVf.orValue(false)`: {
			"lo": "it is a loopback", "eno1": defaultRoute, "enp175s0f1": out, "enp175s0f1v0": ""},
		`device.attributes["dra-netdev.github.io"].ipv4.startsWith("192.0.2.")`: {
			"lo": "it is a loopback", "eno1": defaultRoute, "enp175s0f1": "", "enp175s0f1v0": out},
		`device.attributes["resource.kubernetes.io"].numaNode == 1`: {
			"lo": "it is a loopback", "eno1": defaultRoute, "enp175s0f1": "", "enp175s0f1v0": ""},
		`device.capacity["dra-netdev.github.io"].?bandwidth.hasValue()`: {
			"lo": "it is a loopback", "eno1": defaultRoute, "enp175s0f1": out, "enp175s0f1v0": out},
		`device.attributes["dra-netdev.github.io"].ifNmae == "eth0"`: {
			"lo": "it is a loopback", "eno1": defaultRoute,
			"enp175s0f1":   "the filter cannot be evaluated: no such key: ifNmae",
			"enp175s0f1v0": "the filter cannot be evaluated: no such key: ifNmae"},
	}
	for expr, want := range tests {
		t.Run(expr, func(t *testing.T) {
			m := server()
			m.opts.Filter = mustFilter(t, expr)
			if diff := cmp.Diff(want, skipped(m.scan())); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

// TestChartFilter checks that the chart's default filter selects hardware and
// nothing else.
func TestChartFilter(t *testing.T) {
	text, err := os.ReadFile("../../deployments/helm/dra-netdev/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct{ Filter, Include string }
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	const out = "the filter excludes it"
	machines := map[string]struct {
		m    *machine
		want map[string]string
	}{
		"server": {server(), map[string]string{"lo": "it is a loopback", "eno1": defaultRoute, "enp175s0f1": "", "enp175s0f1v0": ""}},
		"vm":     {vm(), map[string]string{"lo": "it is a loopback", "eth0": defaultRoute, "eth1": ""}},
		"virtual": {newMachine(virtual(2, "v0", "veth", 3), virtual(3, "v1", "veth", 2), virtual(4, "ifb0", "ifb", 0), virtual(5, "d", "dummy", 0),
			virtual(6, "vx", "vxlan", 0), virtual(7, "gre1", "gre", 0), virtual(8, "m", "macvlan", 9), link(10, "odd")),
			map[string]string{"v0": out, "v1": out, "ifb0": out, "d": out, "vx": out, "gre1": out, "m": out, "odd": out}},
	}
	for name, tt := range machines {
		tt.m.opts.Filter, tt.m.opts.Include = mustFilter(t, values.Filter), mustFilter(t, values.Include)
		if diff := cmp.Diff(tt.want, skipped(tt.m.scan())); diff != "" {
			t.Errorf("%s: reasons (-want +got):\n%s", name, diff)
		}
	}
}

func TestFilterErrors(t *testing.T) {
	for expr, fault := range map[string]string{
		`device.attributes[`:      "Syntax error",
		`"veth"`:                  "must evaluate to bool",
		`device.color == "red"`:   "undefined field 'color'",
		`attributes.type == "va"`: "undeclared reference to 'attributes'",
	} {
		f, err := NewFilter(expr)
		if err == nil || f != nil {
			t.Errorf("NewFilter(%q): got %v, want an error", expr, f)
			continue
		}
		t.Log(err)
		if got := err.Error(); !strings.HasPrefix(got, `expression "`) || !strings.Contains(got, fault) {
			t.Errorf("NewFilter(%q): got %q, want the expression and %q", expr, got, fault)
		}
	}
}

// FuzzFilter checks that no expression makes NewFilter or a scan panic.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{``, ` `, `true`, `1`, `device`, `device.attributes`, `device.attributes["dra-netdev.github.io"].mtu > 9000`,
		`device.attributes["x"].y`, `device.driver.matches("(")`, `device.attributes["dra-netdev.github.io"].mtu / 0 == 1`,
		`device.attributes.all(d, device.attributes[d].all(a, a != ""))`, `"a".repeat(9)`, `[1,2,3].map(x, x*2).size() == 3`, `optional.of(1).value() == 1`} {
		f.Add(seed)
	}
	m := server()
	f.Fuzz(func(t *testing.T, expr string) {
		filter, err := NewFilter(expr)
		if err != nil {
			return
		}
		m.opts.Filter = filter
		if got, want := len(m.scan()), len(m.links); got != want {
			t.Errorf("got %d devices, want %d", got, want)
		}
	})
}
