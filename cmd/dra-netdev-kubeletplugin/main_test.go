package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	logsapi "k8s.io/component-base/logs/api/v1"
)

// TestDocumentedFlags checks that docs/configuration.md has a row for each flag of
// the driver except those for logging, with the flag's default.
func TestDocumentedFlags(t *testing.T) {
	t.Setenv("NODE_NAME", "$NODE_NAME")
	t.Setenv("POD_UID", "$POD_UID")
	t.Setenv("HEALTH_SOCKET", "$HEALTH_SOCKET")
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{} // defaults, by flag
	for _, m := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		documented[m[1]] = strings.Trim(m[2], "` ")
	}
	logging := (&cobra.Command{}).Flags()
	logsapi.AddFlags(logsapi.NewLoggingConfiguration(), logging)
	flags := command().Flags()
	flags.AddFlagSet(command().PersistentFlags())
	names := regexp.MustCompile("(?m)^ +(?:-[a-z], )?--([a-z-]+)").FindAllStringSubmatch(flags.FlagUsages(), -1)
	if len(names) < 10 {
		t.Fatalf("found only %d flags in:\n%s", len(names), flags.FlagUsages())
	}
	for _, m := range names {
		name := m[1]
		if logging.Lookup(name) != nil {
			continue
		}
		got, found := documented[name]
		want := flags.Lookup(name).DefValue
		if name == "hook" || name == "kubeconfig" { // described in words
			want = got
		}
		if d, err := time.ParseDuration(got); err == nil {
			got = d.String()
		}
		if !found || got != want {
			t.Errorf("--%s: docs/configuration.md has the default %q (found: %v), want %q", name, got, found, want)
		}
	}
}

// TestSRIOVVFsFlag checks that the flag can be repeated, with commas and = in a
// selector, and that an error names it with its value.
func TestSRIOVVFsFlag(t *testing.T) {
	c := command()
	selector := `[1, 2].exists(n, n == 1) && device.attributes["dra-netdev.github.io"].ifName == "eth1"`
	if err := c.ParseFlags([]string{"--sriov-vfs=" + selector + "=4", "--sriov-vfs", "true=0"}); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Flag("sriov-vfs").Value.String(), selector+"=4, true=0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for value, want := range map[string]string{"true": "must be SELECTOR=COUNT", "true=many": `the count "many" must be a number`, "nonsense(=1": "nonsense("} {
		err := command().ParseFlags([]string{"--sriov-vfs=" + value})
		if err == nil || !strings.Contains(err.Error(), "--sriov-vfs") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error of the flag with %q", value, err, want)
		}
	}
}
