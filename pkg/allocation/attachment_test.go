package allocation

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestStates checks what each record reports of its state: every one with an
// attachment is in one of three.
func TestStates(t *testing.T) {
	tests := map[string]struct {
		of   func() Record
		want string
	}{
		"prepared":       {prepared, "offered"},
		"attaching":      {attaching, "attaching, attaching to s1, offered"},
		"attached":       {attached, "attached, attached to s1, offered"},
		"missing":        {missing, "attached, attached to s1, missing"},
		"sandbox ended":  {with(attached, sandboxEnded), "attached, attached to s1, offered"},
		"not restored":   {notRestored, "not restored"},
		"given up":       {with(attaching, notAttaching), "not restored"},
		"missing, gone":  {with(missing, untouched), "missing"},
		"name is taken":  {with(notRestored, nameTaken), "not restored"},
		"hardware, away": {with(hardware, notInPod, missingSince4), "missing, not restored"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := tt.of()
			is := map[string]bool{
				"attached": r.Attached(), "attached to s1": r.AttachedTo("s1"), "attached to s2": r.AttachedTo("s2"),
				"attaching": r.Attaching(), "attaching to s1": r.AttachingTo("s1"), "attaching to s2": r.AttachingTo("s2"),
				"not restored": r.NotRestored(), "missing": r.Missing(), "offered": r.Offered(),
			}
			maps.DeleteFunc(is, func(_ string, is bool) bool { return !is })
			if got := strings.Join(slices.Sorted(maps.Keys(is)), ", "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestOtherEnd checks which links are taken for the two ends of a pair.
func TestOtherEnd(t *testing.T) {
	end := func(kind string, original, pod, lower int) *Attachment {
		return &Attachment{ID: netdev.Ident{Kind: kind, PodIndex: pod, Lower: lower}, Original: netdev.State{Index: original}}
	}
	tests := []struct {
		name string
		a, b *Attachment
		want bool
	}{
		{"both read on the host", end("veth", 3, 13, 4), end("veth", 4, 14, 3), true},
		{"the other read when this one was in its pod", end("veth", 3, 13, 4), end("veth", 4, 14, 13), true},
		{"never moved", end("veth", 3, 13, 4), end("veth", 4, 0, 3), false},
		{"another pair's", end("veth", 3, 13, 4), end("veth", 6, 16, 5), false},
		{"one way only", end("veth", 3, 13, 4), end("veth", 4, 14, 5), false},
		{"of another kind", end("veth", 3, 13, 4), end("netkit", 4, 14, 3), false},
		{"no pair", end("dummy", 3, 13, 0), end("dummy", 4, 14, 0), false},
		{"untouched", end("veth", 3, 13, 4), nil, false},
		{"both untouched", nil, nil, false},
	}
	for _, tt := range tests {
		if got := tt.a.OtherEnd(tt.b); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
