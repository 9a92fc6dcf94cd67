package allocation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKey checks each spelling of a key, and that the one in an environment can
// be read back.
func TestKey(t *testing.T) {
	tests := []struct {
		key  Key
		want []string // its string, file, tag and CDI name
	}{
		{Key{"u", "eth1", ""}, []string{"u/eth1", "u_eth1.json", "dra-netdev-u-eth1", "u-eth1"}},
		{Key{"u", "eth1", "s"}, []string{"u/eth1/s", "u_eth1_s.json", "dra-netdev-u-eth1-s", "u-eth1-s"}},
		{Key{"u", "pci-0000-3b-00-0", ""}, []string{"u/pci-0000-3b-00-0", "u_pci-0000-3b-00-0.json", "dra-netdev-u-pci-0000-3b-00-0", "u-pci-0000-3b-00-0"}},
	}
	for _, tt := range tests {
		k := tt.key
		if d := cmp.Diff(tt.want, []string{k.String(), k.File(), k.Tag(), k.CDIName()}); d != "" {
			t.Errorf("%v (-want +got):\n%s", k, d)
		}
		if got, err := ParseKey(k.String()); err != nil || got != k {
			t.Errorf("ParseKey(%q): got %v, %v, want %v", k.String(), got, err, k)
		}
	}
}

// TestLongestTag checks that the longest key that there can be fits an altname,
// which has 127 bytes at most: a share has 15.
func TestLongestTag(t *testing.T) {
	k := Key{strings.Repeat("u", 36), strings.Repeat("d", 63), strings.Repeat("s", 15)}
	if got := len(k.Tag()); got > 127 {
		t.Errorf("got a tag of %d bytes, want 127 at most", got)
	}
}

// TestParseKeyRefuses checks what is no key. The text is the user's to write.
func TestParseKeyRefuses(t *testing.T) {
	for _, s := range []string{"", "u", "u/d/s/x", "u_d", strings.Repeat("/", 1000)} {
		if k, err := ParseKey(s); err == nil || k != (Key{}) {
			t.Errorf("ParseKey(%.20q): got %v, %v, want an error", s, k, err)
		}
	}
}

// FuzzParseKey checks that a key which can be read names a file in the store's
// directory, and is the same when it is read again.
func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"u/d", "u/d/s", "../d", "u/..", "//", "u/d/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			return
		}
		if strings.Contains(k.File(), "/") {
			t.Errorf("%q: file %q is in another directory", s, k.File())
		}
		if got, err := ParseKey(k.String()); err != nil || got != k {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, k)
		}
	})
}
