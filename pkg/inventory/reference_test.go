package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/uptodate"
)

const (
	referencePage  = "../../docs/configuration.md"
	referenceBegin = "<!-- begin: made from the rules in pkg/inventory by `go test ./pkg/inventory -run '^TestRulesReference$' -update` -->\n"
)

// TestRulesReference checks that the table of docs/configuration.md is that of
// the rules.
func TestRulesReference(t *testing.T) {
	uptodate.Part(t, referencePage, referenceBegin, rulesReference(), *update)
}

func rulesReference() string {
	var b strings.Builder
	b.WriteString("| not offered because | meaning | `--include` offers it |\n|---|---|---|\n")
	for _, r := range rules {
		include := "yes"
		if r.always {
			include = "no"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.ReplaceAll(r.reason, "%s", "…"), r.doc, include)
	}
	return b.String()
}
