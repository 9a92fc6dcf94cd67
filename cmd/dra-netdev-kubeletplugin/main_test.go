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
