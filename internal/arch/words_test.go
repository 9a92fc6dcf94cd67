package arch

import (
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// banned are words that the project has one other word for; see CONTRIBUTING.md.
var banned = []struct {
	word *regexp.Regexp
	use  string
}{
	{regexp.MustCompile(`(?i)\bsays? whether\b|\btells? whether\b`), "reports whether"},
	{regexp.MustCompile(`(?i)\bholds that\b`), "checks that"},
	{regexp.MustCompile(`(?i)\b(bring|brings|bringing|brought|come|comes|came|coming|is|are|be|get|gets|way) (it |them |links? |the links? |everything |all )?home\b`), "restore, on the host"},
	{regexp.MustCompile(`(?i)\bthe book\b|\bBook\b`), "allocation store, record"},
	{regexp.MustCompile(`(?i)\bmisnamed\b`), "host name taken"},
	{regexp.MustCompile(`(?i)\bdisplaced\b`), "not restored"},
	{regexp.MustCompile(`(?i)left ?out\b`), "omitted"},
	{regexp.MustCompile(`(?i)\bneighbours?\b`), "neighbor"},
	{regexp.MustCompile(`(?i)\b(thief|spare name|last words)\b`), "conflicting link, fallback name, flush"},
	{regexp.MustCompile(`(?i)\bpromised?\b`), "must have, environment entry"},
	{regexp.MustCompile(`(?i)\b(the )?kernel (tells|says|speaks)\b`), "reports, returns"},
	{regexp.MustCompile(`(?i)\bpatience\b`), "timeout"},
}

// foreign are names that others have given to their own.
var foreign = regexp.MustCompile(`ip (-[a-z]+ )?neighbour|ip -n \S+ neighbour|neighbour show|linux/neighbour\.h`)

// TestWords checks that comments, strings and documents use one word for one
// thing.
func TestWords(t *testing.T) {
	check := func(path, text string) {
		text = foreign.ReplaceAllString(text, "")
		for _, b := range banned {
			if found := b.word.FindString(text); found != "" {
				line, _, _ := strings.Cut(text[strings.Index(text, found):], "\n")
				t.Errorf("%s: %q: write %q (%.60s)", path, found, b.use, line)
			}
		}
	}
	for _, f := range files(t) {
		if f.dir == "internal/arch" {
			continue
		}
		for _, group := range f.ast.Comments {
			check(f.path, group.Text())
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				check(f.path, lit.Value)
			}
			return true
		})
	}
	out, err := exec.Command("git", "-C", root, "ls-files", "*.md", "*.yaml", "*.tpl", "*.txt", "Makefile", "test/e2e/*", "test/cluster/*").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if strings.HasSuffix(path, ".go") || filepath.Base(path) == "CONTRIBUTING.md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		check(path, string(text))
	}
}
