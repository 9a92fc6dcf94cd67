// Package uptodate checks that files which are made from tables in the code are as
// the tables are, and rewrites them.
package uptodate

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// end is the line after the part of a page that is made from a table.
const end = "<!-- end -->\n"

// File fails the test unless the file has the content; with update it writes it.
func File(t *testing.T, path, want string, update bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !(update && errors.Is(err, fs.ErrNotExist)) {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(text)); d != "" && !update {
		t.Errorf("%s is not up to date: run this test with -update (-want +got):\n%s", path, d)
	}
	if update {
		write(t, path, want)
	}
}

// Part is File for the part of a page between the line begin and the next line
// "<!-- end -->".
func Part(t *testing.T, path, begin, want string, update bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	got, tail, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s lacks the line %q or %q", path, begin, end)
	}
	if d := cmp.Diff(want, got); d != "" && !update {
		t.Errorf("%s is not up to date: run this test with -update (-want +got):\n%s", path, d)
	}
	if update {
		write(t, path, head+begin+want+end+tail)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
