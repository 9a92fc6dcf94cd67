package attachment

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestFromPool checks which routes of a config get the pool's gateway: those of its
// family that lead nowhere else.
func TestFromPool(t *testing.T) {
	store, _, err := allocation.Open(t.Context(), filepath.Join(t.TempDir(), "allocations"), "boot")
	must(t, err)
	decode := func(text string) (c nic.Config) {
		must(t, json.Unmarshal([]byte(text), &c))
		return c
	}
	const pool = `"addressPool":{"ranges":["192.0.2.0/24","2001:db8::/64"],"gateway":"192.0.2.1"}`
	before := decode(`{"interface":{` + pool + `},"routes":[{"destination":"10.1.0.0/16"},{"destination":"10.2.0.0/16","scope":253},
		{"destination":"10.3.0.0/16","gateway":"192.0.2.9"},{"destination":"10.4.0.0/16","type":"blackhole"},
		{"destination":"10.5.0.0/16","multipath":[{"gateway":"192.0.2.8"}]},{"destination":"2001:db8:1::/48"},{"destination":"0.0.0.0/0","type":"unicast"}]}`)
	want := decode(`{"interface":{"addresses":["192.0.2.2/24","2001:db8::1/64"],` + pool + `},"routes":[{"destination":"10.1.0.0/16","gateway":"192.0.2.1"},{"destination":"10.2.0.0/16","scope":253},
		{"destination":"10.3.0.0/16","gateway":"192.0.2.9"},{"destination":"10.4.0.0/16","type":"blackhole"},
		{"destination":"10.5.0.0/16","multipath":[{"gateway":"192.0.2.8"}]},{"destination":"2001:db8:1::/48"},{"destination":"0.0.0.0/0","gateway":"192.0.2.1","type":"unicast"}]}`)
	got, err := (&checks{store: store}).fromPool(before, nil)
	must(t, err)
	text := func(c nic.Config) string {
		b, err := json.MarshalIndent(c, "", " ")
		must(t, err)
		return string(b)
	}
	if d := cmp.Diff(text(want), text(got)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if before.Routes[0].Gateway.IsValid() {
		t.Error("the config that was given has changed")
	}
}
