// Package arch keeps the shape of the project: which package may import which,
// which dependency belongs to whom, and what every file must look like. The
// architecture stays as docs/architecture.md has it because this test says so.
package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module       = "github.com/dra-netdev/dra-netdev/"
	root         = "../.."
	fileLines    = 300 // of a file that is not a test
	functionSize = 60  // lines of a function that is not a test's
	typeMethods  = 15  // of a type: more than that are two types
)

// layers are the packages from the outside in. Each may import those below it.
var layers = []string{
	"cmd/dra-netdev-kubeletplugin",
	"cmd/dra-netdev-hook",
	"cmd/dra-netdev-probe",
	"pkg/driver",
	"pkg/attachment",
	"pkg/allocation",
	"pkg/inventory",
	"pkg/netdev",
	"pkg/dhcp",
	"pkg/api/v1alpha1",
	"pkg/netdev/nic",
}

// leaves are packages that may import, of the project's own, only these. What
// imports none may import the standard library only.
var leaves = map[string][]string{
	"pkg/netdev":       {"pkg/netdev/nic"},
	"pkg/dhcp":         {"pkg/netdev/nic"},
	"pkg/api/v1alpha1": {"pkg/netdev/nic"},
	"pkg/netdev/nic":   {},
}

// owners are the only packages that may import what starts with the key;
// whoever stands above an owner may not.
var owners = map[string][]string{
	"github.com/vishvananda/netlink":               {"pkg/netdev"},
	"github.com/vishvananda/netns":                 {"pkg/netdev"},
	"github.com/insomniacslk/dhcp":                 {"pkg/dhcp", "internal/dhcptest"},
	"github.com/containerd/nri":                    {"pkg/driver", "test/node"},
	"k8s.io/client-go":                             {"pkg/driver", "cmd/dra-netdev-kubeletplugin", "test/e2e", "test/node"},
	"k8s.io/kubelet":                               {"pkg/driver", "test/node"},
	"k8s.io/klog":                                  {"pkg/driver", "cmd/dra-netdev-kubeletplugin", "test/node"},
	"k8s.io/dynamic-resource-allocation/cel":       {"pkg/inventory"},
	"k8s.io/dynamic-resource-allocation/kubeletpl": {"pkg/driver", "test/e2e", "test/node"},
	"github.com/google/renameio":                   {"pkg/allocation", "pkg/driver"},
	"github.com/spf13":                             {"cmd/dra-netdev-kubeletplugin"},
	"k8s.io/":                                      {"pkg/inventory", "pkg/driver", "cmd/dra-netdev-kubeletplugin", "test/e2e", "test/node", "test/chart"},
	"helm.sh/":                                     {"test/chart"},
	"os/exec":                                      {"internal/nstest", "internal/nstest/holdrtnl", "test/e2e"},
}

// exported are how many exported names a package may have.
var exported = map[string]int{
	"pkg/driver": 4, "pkg/attachment": 10, "pkg/allocation": 12, "pkg/inventory": 14, "pkg/netdev": 24, "pkg/dhcp": 13, "pkg/netdev/nic": 60, "pkg/api/v1alpha1": 80,
}

type file struct {
	path, dir string // below root
	test      bool
	lines     int
	set       *token.FileSet
	ast       *ast.File
}

func files(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, root+"/")
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || rel == "test/cluster" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, file{rel, filepath.Dir(rel), strings.HasSuffix(path, "_test.go"), strings.Count(string(text), "\n"), set, parsed})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d Go files below %s: the test looks in the wrong place", len(all), root)
	}
	return all
}

func TestImportsPointDown(t *testing.T) {
	for _, f := range files(t) {
		for _, spec := range f.ast.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			for prefix, may := range owners {
				if strings.HasPrefix(path, prefix) && !slices.Contains(may, f.dir) && (!f.test || path != "os/exec") {
					t.Errorf("%s imports %s, which belongs to %s", f.path, path, strings.Join(may, " and "))
				}
			}
			own, ok := strings.CutPrefix(path, module)
			if may, leaf := leaves[f.dir]; leaf && !f.test && (ok && !slices.Contains(may, own) || len(may) == 0 && strings.Contains(path, ".")) {
				t.Errorf("%s imports %s, want %q and the standard library", f.path, path, may)
			}
			from, to := slices.Index(layers, f.dir), slices.Index(layers, own)
			if !ok || from < 0 || f.test && strings.HasPrefix(own, "internal/") {
				continue
			}
			if to <= from {
				t.Errorf("%s imports %s: imports point down the line %s", f.path, own, strings.Join(layers, " → "))
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments, packages := map[string]int{}, map[string]bool{}
	for _, f := range files(t) {
		packages[f.dir] = true
		if f.ast.Doc != nil {
			comments[f.dir]++
		}
	}
	for dir := range packages {
		if comments[dir] != 1 {
			t.Errorf("%s has %d package comments, want 1", dir, comments[dir])
		}
	}
}

func TestSizes(t *testing.T) {
	for _, f := range files(t) {
		if f.test {
			continue
		}
		if f.lines > fileLines {
			t.Errorf("%s has %d lines, want at most %d: is there a second noun in it?", f.path, f.lines, fileLines)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1; n > functionSize {
				t.Errorf("%s: %s has %d lines, want at most %d", f.path, fn.Name.Name, n, functionSize)
			}
		}
	}
}

// TestMethods checks that no type of the product is everything at once.
func TestMethods(t *testing.T) {
	count := map[string]int{}
	for _, f := range files(t) {
		// netdev's handles of a namespace and its socket have a method for each
		// kind of request; nothing but requests.
		if f.test || f.dir == "pkg/netdev" || !strings.HasPrefix(f.dir, "pkg/") && !strings.HasPrefix(f.dir, "cmd/") {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				count[f.dir+"."+receiver(fn)]++
			}
		}
	}
	for name, n := range count {
		if n > typeMethods {
			t.Errorf("%s has %d methods, want at most %d: which two things is it?", name, n, typeMethods)
		}
	}
}

// adapters are the files of pkg/driver that know the engine and never each
// other, with what else each may use of the package.
var adapters = map[string][]string{
	"dra.go": {"cdi.go", "parameters.go"}, "handlers.go": {"cdi.go", "reservations.go", "seenhooks.go"}, "slices.go": {"placement.go"},
	"status.go": {"device_status.go", "lesser.go", "patch.go"}, "events.go": {"refusals.go", "device_status.go"}, "metrics.go": {}, "node.go": {},
	"nri.go": {"handlers.go"},
}

// TestAdaptersAreApart checks that an adapter of pkg/driver uses nothing that
// another one declares.
func TestAdaptersAreApart(t *testing.T) {
	declared := map[string]string{} // name → file
	var own []file
	for _, f := range files(t) {
		if f.dir != "pkg/driver" || f.test {
			continue
		}
		own = append(own, f)
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					declared[d.Name.Name] = filepath.Base(f.path)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						declared[s.Name.Name] = filepath.Base(f.path)
					}
				}
			}
		}
	}
	seen := 0
	for _, f := range own {
		name := filepath.Base(f.path)
		may, is := adapters[name]
		if !is {
			continue
		}
		seen++
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok { // a field's or another package's name is none of ours
				ast.Inspect(sel.X, func(ast.Node) bool { return true })
				return false
			}
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			from := declared[id.Name]
			if _, other := adapters[from]; other && from != name && !slices.Contains(may, from) {
				t.Errorf("%s uses %s of %s: adapters do not call each other, driver.go wires them", f.path, id.Name, from)
			}
			return true
		})
	}
	if seen != len(adapters) {
		t.Errorf("%d of %d adapters are there", seen, len(adapters))
	}
}

// TestExports holds that packages stay deep: few exported names, each with a
// comment.
func TestExports(t *testing.T) {
	count := map[string]int{}
	name := func(f file, id *ast.Ident, doc ...*ast.CommentGroup) {
		if !id.IsExported() {
			return
		}
		count[f.dir]++
		if !slices.ContainsFunc(doc, func(c *ast.CommentGroup) bool { return c != nil }) {
			t.Errorf("%s: %s has no comment", f.path, id.Name)
		}
	}
	for _, f := range files(t) {
		if f.test || !strings.HasPrefix(f.dir, "pkg/") {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					name(f, d.Name, d.Doc)
				} else if d.Name.IsExported() && d.Doc == nil && ast.IsExported(receiver(d)) {
					t.Errorf("%s: method %s has no comment", f.path, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						name(f, s.Name, d.Doc, s.Doc)
					case *ast.ValueSpec:
						for _, id := range s.Names {
							name(f, id, d.Doc, s.Doc, s.Comment)
						}
					}
				}
			}
		}
	}
	for dir, most := range exported {
		if count[dir] == 0 || count[dir] > most {
			t.Errorf("%s exports %d names, want 1 to %d", dir, count[dir], most)
		}
	}
}

// receiver returns the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
