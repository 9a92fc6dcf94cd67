//go:build vm

package inventory

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/deviceattribute"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// vmShown are the attributes that TestVMInventory compares: not the names that the
// kernel chooses, and not those which a device has only if there is room.
var vmShown = []resourceapi.QualifiedName{
	v1alpha1.AttributeDriver, v1alpha1.AttributeVirtual, v1alpha1.AttributeMAC, v1alpha1.AttributeMaxMTU, v1alpha1.AttributePCIVendor, v1alpha1.AttributePCIDevice,
	deviceattribute.StandardDeviceAttributeNUMANode, deviceattribute.StandardDeviceAttributePCIBusID, deviceattribute.StandardDeviceAttributePCIeRoot,
	v1alpha1.AttributeSRIOV, v1alpha1.AttributeSRIOVVFs, v1alpha1.AttributeIsSRIOVVF, "vfIndex", "pfPCIAddress",
}

// vmInventory are the devices of the VM that test/vm/run makes, with what
// TestVMInventory adds: their names, attributes, and why they are not offered.
const vmInventory = `
lo driver=- virtual=true mac=MAC maxMTU=65536 - it is a loopback
pci-0000-00-08-0 driver=e1000 virtual=false mac=52:54:00:00:00:05 maxMTU=16110 pciVendor=0x8086 pciDevice=0x100e pciBusID=0000:00:08.0 pcieRoot=pci0000:00
pci-0000-00-09-0 driver=8139cp virtual=false mac=52:54:00:00:00:06 maxMTU=4096 pciVendor=0x10ec pciDevice=0x8139 pciBusID=0000:00:09.0 pcieRoot=pci0000:00
pci-0000-01-00-0 driver=virtio_net virtual=false mac=52:54:00:00:00:04 maxMTU=65535 pciVendor=0x1af4 pciDevice=0x1041 pciBusID=0000:01:00.0 pcieRoot=pci0000:00
pci-0000-21-00-0 driver=e1000e virtual=false mac=52:54:00:00:00:01 maxMTU=9212 pciVendor=0x8086 pciDevice=0x10d3 numaNode=0 pciBusID=0000:21:00.0 pcieRoot=pci0000:20 - it has upper interfaces: vmvlan
pci-0000-22-00-0 driver=fakenic virtual=false mac=02:fa:00:22:00:00 maxMTU=9702 pciVendor=0x8086 pciDevice=0x1592 numaNode=0 pciBusID=0000:22:00.0 pcieRoot=pci0000:20 sriov=true sriovVfs=0
pci-0000-41-00-0 driver=e1000e virtual=false mac=52:54:00:00:00:02 maxMTU=9212 pciVendor=0x8086 pciDevice=0x10d3 numaNode=1 pciBusID=0000:41:00.0 pcieRoot=pci0000:40 - it is a port of bond vmbond
pci-0000-42-00-0 driver=vmxnet3 virtual=false mac=52:54:00:00:00:03 maxMTU=9000 pciVendor=0x15ad pciDevice=0x07b0 numaNode=1 pciBusID=0000:42:00.0 pcieRoot=pci0000:40 - it has upper interfaces: vmipvlan
pci-0000-43-00-0 driver=fakenic virtual=false mac=02:fa:00:43:00:00 maxMTU=9702 pciVendor=0x8086 pciDevice=0x1592 numaNode=1 pciBusID=0000:43:00.0 pcieRoot=pci0000:40 sriov=true sriovVfs=2
pci-0000-43-00-1 driver=fakenic virtual=false mac=02:fa:00:43:01:01 maxMTU=9702 pciVendor=0x8086 pciDevice=0x1889 numaNode=1 pciBusID=0000:43:00.1 pcieRoot=pci0000:40 isSriovVf=true vfIndex=0 pfPCIAddress=0000:43:00.0
pci-0000-43-00-2 driver=fakenic virtual=false mac=02:fa:00:43:02:02 maxMTU=9702 pciVendor=0x8086 pciDevice=0x1889 numaNode=1 pciBusID=0000:43:00.2 pcieRoot=pci0000:40 isSriovVf=true vfIndex=1 pfPCIAddress=0000:43:00.0
vmbond driver=bond virtual=true mac=52:54:00:00:00:02 maxMTU=65535 - it cannot change its network namespace
vmdummy driver=dummy virtual=true mac=MAC maxMTU=65535
vmipvlan driver=ipvlan virtual=true mac=52:54:00:00:00:03 maxMTU=65535
vmlower driver=dummy virtual=true mac=MAC maxMTU=65535 - it has upper interfaces: vmmacvlan
vmmacvlan driver=macvlan virtual=true mac=MAC maxMTU=65535
vmport driver=dummy virtual=true mac=MAC maxMTU=65535 - it is a port of vrf vmvrf
vmsim driver=netdevsim virtual=false mac=MAC maxMTU=65535
vmteam driver=team virtual=true mac=MAC maxMTU=65535 - it cannot change its network namespace
vmvlan driver=vlan virtual=true mac=52:54:00:00:00:01 maxMTU=65535
vmvrf driver=vrf virtual=true mac=MAC maxMTU=65575 - it cannot change its network namespace
`

// TestVMInventory checks what the inventory says of a machine's emulated NICs on two
// NUMA nodes, an SR-IOV NIC with virtual functions, and interfaces on top of them.
func TestVMInventory(t *testing.T) {
	host := nstest.Machine(t)
	write := func(file, value string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	write("/sys/bus/netdevsim/new_device", "8 1 4")
	t.Cleanup(func() { write("/sys/bus/netdevsim/del_device", "8") })
	const pf = "/sys/bus/pci/devices/0000:43:00.0/sriov_numvfs"
	write(pf, "2")
	t.Cleanup(func() { write(pf, "0") })
	on := func(device string) string {
		t.Helper()
		for range 100 { // its driver may still probe
			if all, _ := filepath.Glob("/sys/bus/" + device + "/net/*"); len(all) == 1 {
				return filepath.Base(all[0])
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatalf("%s has no interface", device)
		return ""
	}
	host.Batch(strings.NewReplacer("NODE0", on("pci/devices/0000:21:00.0"), "NODE1", on("pci/devices/0000:41:00.0"), "VMXNET3", on("pci/devices/0000:42:00.0"),
		"SIM", on("netdevsim/devices/netdevsim8")).Replace(`
		link set SIM name vmsim
		link add vmbond type bond
		link set NODE1 down
		link set NODE1 master vmbond
		link add vmteam type team
		link add vmvrf type vrf table 9
		link add vmport type dummy
		link set vmport master vmvrf
		link add vmdummy type dummy
		link add vmlower type dummy
		link add vmmacvlan link vmlower type macvlan
		link add vmvlan link NODE0 type vlan id 5
		link add vmipvlan link VMXNET3 type ipvlan`))
	t.Cleanup(func() {
		for _, name := range []string{"vmbond", "vmteam", "vmvrf", "vmport", "vmdummy", "vmlower", "vmvlan", "vmipvlan"} {
			host.Run("ip link del " + name)
		}
	})
	on("pci/devices/0000:43:00.1")
	on("pci/devices/0000:43:00.2")

	links, err := netdev.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range Scan(links, os.DirFS("/sys").(fs.ReadLinkFS), Options{}) {
		if slices.Contains([]string{"bond0", "dummy0", "ib0"}, d.Name) { // made when a module is loaded
			continue
		}
		line := []string{d.Name}
		for _, name := range vmShown {
			if a, ok := d.Attributes[name]; ok {
				line = append(line, fmt.Sprintf("%s=%s", path.Base(string(name)), shown(d, a)))
			}
		}
		if d.Skipped != "" {
			line = append(line, "- "+d.Skipped)
		}
		got = append(got, strings.Join(line, " "))
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(vmInventory), "\n"), got); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
}

// shown is an attribute's value. Hardware addresses that the kernel chose are MAC.
func shown(d Device, a resourceapi.DeviceAttribute) string {
	switch {
	case a.IntValue != nil:
		return fmt.Sprint(*a.IntValue)
	case a.BoolValue != nil:
		return fmt.Sprint(*a.BoolValue)
	case *a.StringValue == "":
		return "-"
	case *a.StringValue == d.Link.MAC.String() && !slices.ContainsFunc([]string{"52:54:00:", "02:fa:00:"}, func(p string) bool { return strings.HasPrefix(*a.StringValue, p) }):
		return "MAC"
	}
	return *a.StringValue
}
