package inventory

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	referencePage  = "../../docs/configuration.md"
	referenceBegin = "<!-- begin: made from the rules in pkg/inventory by `go test ./pkg/inventory -run '^TestRulesReference$' -update` -->\n"
	referenceEnd   = "<!-- end -->\n"
)

// TestRulesReference checks that the table of docs/configuration.md is that of
// the rules.
func TestRulesReference(t *testing.T) {
	text, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), referenceBegin)
	got, tail, ended := strings.Cut(rest, referenceEnd)
	if !ok || !ended {
		t.Fatalf("%s lacks the line %q or %q", referencePage, referenceBegin, referenceEnd)
	}
	if *update {
		if err := os.WriteFile(referencePage, []byte(head+referenceBegin+rulesReference()+referenceEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(rulesReference(), got); d != "" {
		t.Errorf("%s is not up to date: run go test with -update (-want +got):\n%s", referencePage, d)
	}
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
