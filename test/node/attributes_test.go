package node

import (
	"context"
	"fmt"
	"strings"
	"testing"

	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// TestAttributesFit checks that the API server accepts what the driver accepts of an
// administrator's attributes, at the limits, and that what the driver refuses
// for the API's sake the API server refuses too.
func TestAttributesFit(t *testing.T) {
	if master == nil {
		t.Skip("needs root: moves links between network namespaces")
	}
	t.Parallel()
	publish := func(d resourceapi.Device) error {
		slice := &resourceapi.ResourceSlice{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "attributes-"},
			Spec: resourceapi.ResourceSliceSpec{Driver: v1alpha1.DriverName, NodeName: new("attributes"), Pool: resourceapi.ResourcePool{Name: "attributes", ResourceSliceCount: 1},
				Devices: []resourceapi.Device{d}},
		}
		_, err := master.client.ResourceV1().ResourceSlices().Create(context.Background(), slice, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	id, domain, text := strings.Repeat("i", 32), strings.Repeat("d", 59)+".com", strings.Repeat("é", 32)
	var full []string
	for i := range 31 { // the API server's limit, less the device's capacity
		full = append(full, fmt.Sprintf("example.com/a%d: %d", i, i))
	}
	for _, good := range []string{
		domain + "/" + id + ": \"" + text + "\"", `example.com/a: ""`, `a/_: "\0"`, "a.b/c: -9223372036854775808", "a-b.c/d: false",
		`example.com/v: {version: "1.2.3-` + id + "." + id[:17] + `+0.a-b"}`, `example.com/v: {version: "0.0.0-0.a--"}`, "example.com/v: {version: 18446744073709551615.0.0}",
		"resource.kubernetes.io/pcieRoot: x", "resource.kubernetes.io/numaNode: -1", "resource.kubernetes.io/other: 1", strings.Join(full, ", "),
	} {
		added, err := inventory.ParseAdditions([]byte(`- {match: "true", attributes: {`+good+`}}`), "n1")
		if err != nil {
			t.Errorf("the driver refuses %s: %v", good, err)
			continue
		}
		devices, _ := added.Apply([]inventory.Device{{Name: "d"}})
		if len(devices[0].Attributes) != strings.Count(good, "/") {
			t.Errorf("%s: got %d attributes", good, len(devices[0].Attributes))
		}
		if err := publish(inventory.Devices(devices)[0]); err != nil {
			t.Errorf("the API server refuses %s: %v", good, err)
		}
	}
	version := func(v string) resourceapi.DeviceAttribute { return resourceapi.DeviceAttribute{VersionValue: &v} }
	for name, value := range map[string]resourceapi.DeviceAttribute{
		domain + "x/a": {IntValue: new(int64(1))}, "example.com/" + id + "i": {IntValue: new(int64(1))},
		"example.com/a-b": {IntValue: new(int64(1))}, "/a": {IntValue: new(int64(1))}, "example.com/": {IntValue: new(int64(1))},
		"example.com/long": {StringValue: new(text + "x")}, "example.com/v": version("1.2"), "example.com/v0": version("01.2.3"), "example.com/v1": version("1.2.3-"), "example.com/v2": version("v1.2.3"),
	} {
		written := fmt.Sprintf("%q: 1", name)
		switch {
		case value.StringValue != nil:
			written = fmt.Sprintf("%q: %q", name, *value.StringValue)
		case value.VersionValue != nil:
			written = fmt.Sprintf("%q: {version: %q}", name, *value.VersionValue)
		}
		if _, err := inventory.ParseAdditions([]byte(`- {match: "true", attributes: {`+written+`}}`), "n1"); err == nil {
			t.Errorf("the driver accepts %s", written)
		}
		if err := publish(resourceapi.Device{Name: "d", Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{resourceapi.QualifiedName(name): value}}); !apierrors.IsInvalid(err) {
			t.Errorf("the API server's answer to %s is %v, want that it is invalid", written, err)
		}
	}
}
