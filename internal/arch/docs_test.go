package arch

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestReliabilityNamesTests holds that docs/reliability.md names tests that
// exist.
func TestReliabilityNamesTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, f := range files(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test {
				there[fn.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w*`).FindAllString(string(text), -1)
	if len(named) < 30 {
		t.Fatalf("docs/reliability.md names %d tests: the check looks for the wrong thing", len(named))
	}
	for _, name := range named {
		if !there[name] {
			t.Errorf("docs/reliability.md names %s, which does not exist", name)
		}
	}
}
