//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/api/metadata"
	"k8s.io/dynamic-resource-allocation/devicemetadata"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

const metadataPod = `
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: two}
spec:
  spec:
    devices:
      requests:
      - name: nics
        exactly:
          deviceClassName: dra-netdev
          allocationMode: ExactCount
          count: 2
          selectors: [{cel: {expression: 'device.attributes["dra-netdev.github.io"].ifName in ["eth2", "eth3"]'}}]
      config:
      - opaque: {driver: dra-netdev.github.io, parameters: {interface: {name: "net%%d"}}}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  terminationGracePeriodSeconds: 1
  resourceClaims:
  - {name: leased, resourceClaimName: leased}
  - {name: pair, resourceClaimTemplateName: two}
  containers:
  - name: shell
    image: busybox:1
    # What is there when it begins, before anything else.
    command: [sh, -c, 'cp -r %[1]s /tmp/first; exec sleep infinity']
    resources: {claims: [{name: leased}, {name: pair}]}
  - name: other
    image: busybox:1
    command: [sleep, infinity]
`

// metadataIn reads a file of a container with the readers' own code.
func metadataIn(t *testing.T, pod, path string) metadata.DeviceMetadata {
	t.Helper()
	text := kubectl(t, "exec", pod, "--container=shell", "--", "cat", path)
	var got metadata.DeviceMetadata
	var invalid error
	if err := devicemetadata.DecodeMetadataFromStream(json.NewDecoder(strings.NewReader(text)), &got, devicemetadata.DecodeMetadataWithValidationResult(&invalid)); err != nil || invalid != nil {
		t.Fatalf("%s: %v, %v in:\n%s", path, err, invalid, text)
	}
	return got
}

// TestMetadata checks what the first process of a container reads of its devices:
// of a lease, which comes long after the container was asked for, and of a
// template's claim of two devices with numbered names.
func TestMetadata(t *testing.T) {
	var nics []*nic
	for i := 1; i <= 3; i++ {
		nics = append(nics, &nic{node: "n1", name: fmt.Sprintf("eth%d", i), n: i})
	}
	makeNICs(t, nics...)
	serveDHCP(t, nics[0])
	apply(t, nicClaim("leased", "eth1", `{interface: {name: lan, dhcp: true}}`)+fmt.Sprintf(metadataPod, metadata.ContainerDir))
	ready(t, "reader")
	file := "/" + v1alpha1.DriverName + metadata.MetadataFileSuffix
	devices := map[string]metadata.Device{} // by the name of the interface on the host
	for path, claim := range map[string]string{"resourceclaims/leased/nic": "", "resourceclaimtemplates/pair/nics": "pair"} {
		m := metadataIn(t, "reader", "/tmp/first/"+path+file)
		if now := metadataIn(t, "reader", metadata.ContainerDir+"/"+path+file); gocmp.Diff(m, now) != "" {
			t.Errorf("%s has changed since the container began:\n%s", path, gocmp.Diff(m, now))
		}
		if got := m.PodClaimName; claim == "" && got != nil || claim != "" && (got == nil || *got != claim) {
			t.Errorf("%s: the pod's name of the claim is %v, want %q", path, got, claim)
		}
		for _, d := range m.Requests[0].Devices {
			devices[*d.Attributes[v1alpha1.AttributeIfName].StringValue] = d
		}
	}
	if got, want := slices.Sorted(maps.Keys(devices)), []string{"eth1", "eth2", "eth3"}; !slices.Equal(got, want) {
		t.Fatalf("the files have the devices %q, want %q", got, want)
	}
	for i, name := range []string{"lan", "net0", "net1"} {
		d, inside := devices[nics[i].name], podState(t, "reader", name)
		want := &resourceapi.NetworkDeviceData{InterfaceName: name, HardwareAddress: inside.mac(), IPs: slices.Sorted(slices.Values(inside.global()))}
		if diff := gocmp.Diff(want, d.NetworkData); diff != "" {
			t.Errorf("%s (-pod +file):\n%s", name, diff)
		}
		if mtu := fmt.Sprint(*d.Attributes[v1alpha1.AttributeMTU].IntValue); mtu != fmt.Sprint(inside.Link["mtu"]) {
			t.Errorf("%s: the file has MTU %s, the interface %v", name, mtu, inside.Link["mtu"])
		}
	}
	if !slices.Contains(devices["eth1"].NetworkData.IPs, "192.0.2.50/24") {
		t.Errorf("the file of the lease has %+v", devices["eth1"].NetworkData)
	}
	if out, err := tryKubectl("exec", "reader", "--container=other", "--", "ls", metadata.ContainerDir); err == nil {
		t.Errorf("a container that lists no claim has metadata:\n%s", out)
	}
	deletePod(t, "reader")
	eventually(t, restoreLimit, "removal of the metadata", func() error {
		out, err := tryNode("n1", "sh", "-c", "ls -d /var/run/cdi/*_metadata_* /var/lib/kubelet/plugins/"+v1alpha1.DriverName+"/dra-device-metadata/* 2> /dev/null; true")
		if err == nil && out != "" {
			err = fmt.Errorf("found:\n%s", out)
		}
		return err
	})
}
