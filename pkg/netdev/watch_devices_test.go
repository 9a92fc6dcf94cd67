package netdev

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// TestWatchHearsDevices checks that a watch ends when the kernel reports that a PCI
// function was bound to a driver. The kernel sends an event that is written to a
// device's file as it sends its own; nothing happens to the device.
func TestWatchHearsDevices(t *testing.T) {
	functions, _ := filepath.Glob("/sys/bus/pci/devices/*/uevent")
	if len(functions) == 0 {
		t.Skip("needs a PCI bus: a function reports the event")
	}
	report := func(event string) {
		t.Helper()
		if err := os.WriteFile(functions[0], []byte(event), 0o200); err != nil {
			t.Fatal(err)
		}
	}
	h := nstest.New(t)
	changed := quietWatch(t.Context(), t, h)
	report("change")
	if endsWithin(300*time.Millisecond, changed) {
		t.Error("a watch has ended with an event that is about no driver")
	}
	changed = quietWatch(t.Context(), t, h)
	report("bind")
	if !endsWithin(2*time.Second, changed) {
		t.Error("bind: the watch did not end")
	}
}

// TestDeviceEvents checks which events of the kernel count.
func TestDeviceEvents(t *testing.T) {
	event := func(action, subsystem string) string {
		return action + "@/devices/pci0000:00/0000:00:01.0\x00ACTION=" + action + "\x00DEVPATH=/devices/pci0000:00/0000:00:01.0\x00SUBSYSTEM=" + subsystem + "\x00SEQNUM=7\x00"
	}
	for text, want := range map[string]bool{
		event("bind", "pci"): true, event("unbind", "pci"): true, event("remove", "pci"): true, event("add", "infiniband"): true, event("remove", "infiniband"): true,
		event("change", "pci"): false, event("bind", "usb"): false, event("add", "net"): false, event("change", "infiniband"): false,
		"": false, "\x00\x00": false, "bind@x": false, "ACTION=bind": false, "libudev\x00ACTION=bind": false,
	} {
		if got := isDeviceEvent([]byte(text)); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
