package nic

import (
	"slices"
	"strings"
	"testing"
)

// TestNames checks that the names which the kernel, udev and administrators
// usually give are valid.
func TestNames(t *testing.T) {
	for _, name := range []string{"a", "net1", "enp65s0f0np1.9", "ib0.8001", "-dash", "x_y", "...", ".a", "ABCdefghij12345"} {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
}

func TestNameFrom(t *testing.T) {
	tests := []struct {
		template, taken, want string
	}{
		{"net%d", "", "net0"},
		{"net%d", "net0 net1 net3", "net2"},
		{"eth%d", "", "eth1"}, // eth0 is the pod network's
		{"%drail", "0rail", "1rail"},
		{"net", "net", ""},
	}
	for _, tt := range tests {
		got := NameFrom(tt.template, func(name string) bool { return slices.Contains(strings.Fields(tt.taken), name) })
		if got != tt.want {
			t.Errorf("NameFrom(%q) with %q taken: got %q, want %q", tt.template, tt.taken, got, tt.want)
		}
	}
	if got := NameFrom("net%d", func(string) bool { return true }); got != "" {
		t.Errorf("NameFrom with all names taken: got %q, want none", got)
	}
	for template, valid := range map[string]bool{
		"net%d": true, "%d": true, "abcdefghijkl%d": true, "abcdefghijklm%d": false, "net%d%d": false, "a b%d": false, "net%s%d": false,
	} {
		if err := CheckTemplate(template); (err == nil) != valid {
			t.Errorf("CheckTemplate(%q): got error %v, want valid: %t", template, err, valid)
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

// TestHardwareAddr checks which texts are hardware addresses.
func TestHardwareAddr(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "02:00:00:00:00:0A": "02:00:00:00:00:0a", "02-00-00-00-00-01": "02:00:00:00:00:01", "0200.5e00.0001": "02:00:5e:00:00:01",
		"02": "02", "02:0a": "02:0a", "02:00:00:00:00:00:00:00:00:00:00:00": "02:00:00:00:00:00:00:00:00:00:00:00",
	} {
		var a HardwareAddr
		if err := a.UnmarshalText([]byte(text)); err != nil || a.String() != want {
			t.Errorf("%q: got %s, %v, want %s", text, a, err, want)
		}
	}
	for _, text := range []string{"x", "0", ":", "02:", ":02", "02:0", "02:000", "1g:00", " 1:00", "+1:00", "02:00:00:00:00:0", "02 00"} {
		var a HardwareAddr
		if err := a.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %s, want an error", text, a)
		}
	}
}
