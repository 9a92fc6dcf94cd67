package netdev

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestAllowLoss checks that what cannot be restored is refused by name, or accepted
// and named.
func TestAllowLoss(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\ntc qdisc add dev h0 root handle 1: estimator 1s 4s htb default 1", "")
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal(err)
	}
	original, l, err := Read(context.Background(), w.host, Identify(l, "nd-test-0"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Desired(l, original, nic.Config{})
	const want = `interface.allowLoss: the host's rate estimator of qdisc htb 1: on h0 would not be restored: add "qdiscs" to accept that`
	if err == nil || err.Error() != want {
		t.Errorf("Desired: got error %v, want %s", err, want)
	}
	for _, other := range []nic.Config{{Interface: nic.Interface{AllowLoss: []string{"filters"}}}} {
		if _, _, err = Desired(l, original, other); err == nil {
			t.Error("Desired: another loss accepts it")
		}
	}
	_, omitted, err := Desired(l, original, nic.Config{Interface: nic.Interface{AllowLoss: []string{"filters", "qdiscs"}}})
	if err != nil || !slices.ContainsFunc(omitted, func(o string) bool { return strings.Contains(o, "rate estimator of qdisc htb 1:") }) {
		t.Errorf("Desired: got omitted %q, error %v", omitted, err)
	}
}
