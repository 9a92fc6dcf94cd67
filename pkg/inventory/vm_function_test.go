//go:build vm

package inventory

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// vmNIC is an e1000e of the VM (test/vm/run), alone in its IOMMU group.
const vmNIC = "0000:41:00.0"

const vmName = "pci-0000-41-00-0"

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o200); err != nil {
		t.Fatal(err)
	}
}

// rebind binds a function to another driver; empty: to the one that fits it.
func rebind(t *testing.T, function, driver string) {
	t.Helper()
	dir := filepath.Join("/sys/bus/pci/devices", function)
	if _, err := os.Stat(filepath.Join(dir, "driver")); err == nil {
		write(t, filepath.Join(dir, "driver/unbind"), function)
	}
	write(t, filepath.Join(dir, "driver_override"), driver+"\n")
	write(t, "/sys/bus/pci/drivers_probe", function)
}

// vmScan scans until the device is as wanted.
func vmScan(t *testing.T, want func(Device) bool) Device {
	t.Helper()
	var d Device
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		links, err := netdev.Links(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if d = find(Scan(links, os.DirFS("/sys").(fs.ReadLinkFS), Options{}), vmName); want(d) {
			return d
		}
	}
	t.Fatalf("device %s is %+v", vmName, d)
	return d
}

// TestVMFunction binds a NIC to vfio-pci and back: it is one device, of one name,
// and its character device is usable.
func TestVMFunction(t *testing.T) {
	if out, err := exec.Command("sh", "-c", "modprobe vfio_iommu_type1 && modprobe vfio-pci || { dmesg | tail -5; false; }").CombinedOutput(); err != nil {
		t.Fatalf("modprobe: %v: %s", err, out)
	}
	sys := os.DirFS("/sys").(fs.ReadLinkFS)
	before := vmScan(t, func(d Device) bool { return d.HasLink() && d.Link.Name != "" })
	changed, err := netdev.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rebind(t, vmNIC, "vfio-pci")
	<-changed // the end of its link
	time.Sleep(time.Second)
	if changed, err = netdev.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	rebind(t, vmNIC, "vfio-pci") // again: no link comes or goes
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Error("a watch does not end when a function is bound to vfio-pci")
	}
	t.Cleanup(func() { rebind(t, vmNIC, "") })
	d := vmScan(t, func(d Device) bool { return !d.HasLink() })
	t.Logf("with a link %s, then %+v, nodes %v, not offered because of %q", before.Link.Name, d.Function, d.Nodes, d.Skipped)
	if d.Skipped != "" || d.Function.Driver != "vfio-pci" || d.Function.Group == "" || d.Function.NoIOMMU || len(d.Nodes) != 2 {
		t.Errorf("the device is %+v", d)
	}
	for _, node := range d.Nodes {
		if info, err := os.Stat(node); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
			t.Errorf("%s is no character device: %v", node, err)
		}
	}
	group, err := os.OpenFile(d.Nodes[1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	status := [2]uint32{8} // struct vfio_group_status: argsz, flags
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, group.Fd(), 0x3b67, uintptr(unsafe.Pointer(&status))); errno != 0 || status[1]&1 == 0 {
		t.Errorf("VFIO_GROUP_GET_STATUS: %v, flags %d, want a viable group", errno, status[1])
	}
	if other, err := os.OpenFile(d.Nodes[1], os.O_RDWR, 0); err == nil {
		other.Close()
		t.Error("a group could be opened twice")
	}
	group.Close()
	if err := d.Check(sys); err != nil {
		t.Error(err)
	}
	rebind(t, vmNIC, "")
	if err := d.Check(sys); err == nil || !strings.Contains(err.Error(), "has the driver e1000e now, it had vfio-pci") {
		t.Errorf("bound back: %v", err)
	}
	vmScan(t, func(d Device) bool { return d.HasLink() && d.Link.Name != "" && d.Skipped == "" })
}

// TestVMFunctionInPod checks that a function whose link is in another network
// namespace keeps its directory net, by which it differs from one without a link.
func TestVMFunctionInPod(t *testing.T) {
	before := vmScan(t, func(d Device) bool { return d.HasLink() && d.Link.Name != "" })
	run := func(command string) {
		t.Helper()
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	run("ip netns add vmpod && ip link set " + before.Link.Name + " netns vmpod")
	names, err := os.ReadDir("/sys/bus/pci/devices/" + vmNIC + "/net")
	if err != nil || len(names) > 0 {
		t.Errorf("the function's directory net has %v, %v: want it there and empty", names, err)
	}
	run("ip netns del vmpod") // the link comes back
	vmScan(t, func(d Device) bool { return d.HasLink() && d.Link.Name != "" })
}
