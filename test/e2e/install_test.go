//go:build e2e

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPodSecurityLevel checks which Pod Security level the driver's namespace
// needs: with a dry run the API server reports which pods a level would forbid.
func TestPodSecurityLevel(t *testing.T) {
	for level, forbidden := range map[string]bool{"privileged": false, "baseline": true} {
		out, err := exec.Command(filepath.Join(root, "test/cluster/kubectl"), "label", "namespace", "dra-netdev", "--overwrite", "--dry-run=server", "pod-security.kubernetes.io/enforce="+level).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := strings.Contains(string(out), "violate the new PodSecurity"); got != forbidden {
			t.Errorf("level %s forbids the driver's pods: %v, want %v:\n%s", level, got, forbidden, out)
		}
	}
}

// TestDocumentedQuota checks that with the quota in docs/security.md no claim for a
// NIC can be created in a namespace.
func TestDocumentedQuota(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<!-- quota")
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	quota, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/security.md has no quota")
	}
	apply(t, quota)
	claim, err := os.ReadFile(filepath.Join(root, "examples/01-one-nic.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, statusLimit, "refusal of a claim", func() error {
		_, err := command(string(claim), "test/cluster/kubectl", "create", "--dry-run=server", "-f", "-")
		if err == nil {
			return errors.New("the claim was accepted")
		}
		if !strings.Contains(err.Error(), "exceeded quota: no-nics") {
			return err
		}
		return nil
	})
}
