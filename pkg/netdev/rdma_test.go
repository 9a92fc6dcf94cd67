package netdev

import "testing"

// TestRDMAIdentity checks by what an RDMA device is found again: not by its name,
// and not by its index alone.
func TestRDMAIdentity(t *testing.T) {
	known := rdmaDevice{Index: 3, GUID: 0x248a0703001e2f30, Name: "mlx5_0"}
	for name, tt := range map[string]struct {
		of, now rdmaDevice
		want    bool
	}{
		"renamed":                {known, rdmaDevice{Index: 3, GUID: known.GUID, Name: "evil"}, true},
		"its driver was loaded":  {known, rdmaDevice{Index: 9, GUID: known.GUID, Name: "mlx5_0"}, true},
		"another, with its name": {known, rdmaDevice{Index: 4, GUID: 7, Name: "mlx5_0"}, false},
		"another, at its index":  {known, rdmaDevice{Index: 3, GUID: 7, Name: "mlx5_0"}, false},
		"VF without a GUID":      {rdmaDevice{Index: 5}, rdmaDevice{Index: 5, Name: "x"}, true},
		"two VFs without a GUID": {rdmaDevice{Index: 5}, rdmaDevice{Index: 6}, false},
	} {
		if got := tt.now.is(tt.of); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}

// TestRDMAMoves checks that a device moves in exclusive mode only, unless something
// keeps it on the host.
func TestRDMAMoves(t *testing.T) {
	for name, tt := range map[string]struct {
		d    *rdmaDevice
		want bool
	}{
		"none": {nil, false}, "shared": {&rdmaDevice{}, false}, "exclusive": {&rdmaDevice{Exclusive: true}, true},
		"several ports": {&rdmaDevice{Exclusive: true, Stays: "it has 2 ports, which would all move"}, false},
	} {
		if got := tt.d.Moves(); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}
