package v1alpha1

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	code  = regexp.MustCompile("`([^`]+)`")
	block = regexp.MustCompile("(?s)\n```.*?\n```\n")
)

// codes are the words of a text that are set as code, without its blocks.
func codes(text string) (all []string) {
	for _, m := range code.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
		all = append(all, m[1])
	}
	return all
}

func hasRow(path string) bool {
	return slices.ContainsFunc(fields, func(f field) bool { return f.path == path })
}

// rows returns the cells of the tables below a heading.
func rows(t *testing.T, text, heading string) (all [][]string) {
	t.Helper()
	_, text, _ = strings.Cut(text, "\n## "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | "); strings.HasPrefix(line, "| ") {
			all = append(all, cells)
		}
	}
	if len(all) < 3 {
		t.Fatalf("found %d rows below %q", len(all), heading)
	}
	return all[1:]
}

// TestFromDranet checks what docs/from-dranet.md says of fields and attributes, and
// that its command makes a claim of one for dranet.
func TestFromDranet(t *testing.T) {
	text := page(t, "from-dranet.md")
	for _, r := range rows(t, text, "Fields") {
		for _, path := range codes(r[0]) {
			switch refused := strings.Contains(r[1], "refused"); {
			case refused && (hasRow(path) || instead[path] == ""):
				t.Errorf("%s is refused, says the page; it has a row, or no sentence what to use in its place", path)
			case !refused && !hasRow(path):
				t.Errorf("%s: there is no such field", path)
			}
		}
	}
	member := regexp.MustCompile(`"(\w+)":`)
	for _, c := range dranetConfigs {
		for _, m := range member.FindAllStringSubmatch(c.config, -1) {
			if name := m[1]; slices.ContainsFunc(fields, func(f field) bool { return strings.HasSuffix("."+f.path, "."+name) }) && !strings.Contains(text, name) {
				t.Errorf("%s: the page does not have %s", c.name, name)
			}
		}
	}
	attributes := page(t, "attributes.md")
	for _, r := range rows(t, text, "Attributes") {
		for _, name := range codes(r[0]) {
			if exists := strings.Contains(attributes, "| `"+name+"` |"); exists != strings.Contains(r[1], "the same") {
				t.Errorf("attribute %s: %s; it exists: %v", name, r[1], exists)
			}
		}
	}
	command := regexp.MustCompile(`(?m)^sed .* claim.yaml$`).FindString(text)
	sed := exec.Command("sh", "-c", strings.TrimSuffix(command, "claim.yaml"))
	sed.Stdin = strings.NewReader(`
            expression: device.driver == "dra.net" && device.attributes["dra.net"].ifName == "eth1"
    - opaque:
        driver: dra.net
        parameters: {}`)
	got, err := sed.Output()
	want := `
            expression: device.driver == "dra-netdev.github.io" && device.attributes["dra-netdev.github.io"].ifName == "eth1"
    - opaque:
        driver: dra-netdev.github.io
        parameters: {}`
	if err != nil || strings.TrimSuffix(string(got), "\n") != want {
		t.Errorf("%s: %v, got\n%s", command, err, got)
	}
}

// TestFromMultus checks that the fields in docs/from-multus.md exist. test/e2e
// applies its claim.
func TestFromMultus(t *testing.T) {
	isField := regexp.MustCompile(`^(interface|routes\[\]|rules\[\]|neighbors\[\]|ethtool|vf)\.[A-Za-z.]+$`)
	n := 0
	for _, path := range codes(page(t, "from-multus.md")) {
		if !isField.MatchString(path) {
			continue
		}
		n++
		if !hasRow(path) {
			t.Errorf("%s: there is no such field", path)
		}
	}
	if n < 15 {
		t.Errorf("the page names only %d fields", n)
	}
}
