package nic

import "testing"

// TestNames checks that the names which the kernel, udev and administrators
// usually give are valid.
func TestNames(t *testing.T) {
	for _, name := range []string{"a", "net1", "enp65s0f0np1.9", "ib0.8001", "-dash", "x_y", "...", ".a", "ABCdefghij12345"} {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
}

func TestStatistics(t *testing.T) {
	base := Statistics{RxBytes: 10, TxPackets: 5}
	now := Statistics{RxBytes: 25, RxErrors: 1, TxPackets: 3, TxDropped: 2}
	if got, want := now.Since(base), (Statistics{RxBytes: 15, RxErrors: 1, TxPackets: 3, TxDropped: 2}); got != want {
		t.Errorf("Since: got %+v, want %+v", got, want)
	}
}
