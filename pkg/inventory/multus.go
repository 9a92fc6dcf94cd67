package inventory

import resourceapi "k8s.io/api/resource/v1"

// multus are the attributes by which Multus finds the devices of a pod's claims,
// to pass their ids to a CNI plugin as it does with those of a device plugin. They
// are beside the driver's own, on PCI devices only: plugins know no other ids.
var multus = []struct {
	name  resourceapi.QualifiedName
	doc   string
	value func(p *probe, resourceName string) string
}{
	{"k8s.cni.cncf.io/deviceID", "Address of the PCI function.",
		func(p *probe, _ string) string { return p.function }},
	{"k8s.cni.cncf.io/resourceName", "Value of the flag.",
		func(_ *probe, resourceName string) string { return resourceName }},
}

func addMultus(p *probe, resourceName string, to map[resourceapi.QualifiedName]resourceapi.DeviceAttribute) {
	if resourceName == "" || p.function == "" {
		return
	}
	for _, a := range multus {
		to[a.name] = resourceapi.DeviceAttribute{StringValue: new(a.value(p, resourceName))}
	}
}
