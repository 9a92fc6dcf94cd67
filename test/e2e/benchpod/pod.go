package main

import "fmt"

const (
	image    = "cluster.test/pause:1"
	podMTU   = 1400
	driver   = "dra-netdev.github.io"
	class    = "dra-netdev"
	plain    = "plain"
	byClaim  = "claim"       // the driver's way
	byPlugin = "host-device" // the CNI plugin's
)

// linkPrefix is what the names of the links begin with that a kind of pod
// takes; a number follows. ../bench-pod makes them.
var linkPrefix = map[string]string{byClaim: "nic", byPlugin: "hd"}

// variant is a kind of pod with a number of interfaces.
type variant struct {
	Kind string `json:"kind"`
	NICs int    `json:"nics"`
}

func (v variant) String() string {
	if v.Kind == plain {
		return plain
	}
	return fmt.Sprintf("%s, %d", v.Kind, v.NICs)
}

func variants(sizes []int) []variant {
	all := []variant{{Kind: plain}}
	for _, kind := range []string{byClaim, byPlugin} {
		for _, n := range sizes {
			all = append(all, variant{kind, n})
		}
	}
	return all
}

// links are the names on the node of the links that go into a pod.
func (v variant) links() (all []string) {
	for i := range v.NICs {
		all = append(all, fmt.Sprint(linkPrefix[v.Kind], i))
	}
	return all
}

// podLink is what a pod calls its interface of a number, from 1.
func podLink(i int) string    { return fmt.Sprint("eth", i) }
func podAddress(i int) string { return fmt.Sprintf("10.99.%d.1/24", i) }

type object = map[string]any

// claim returns a claim of the node's links by their names. Each gets a name,
// an MTU and an address.
func (v variant) claim(name string) object {
	var requests, config []object
	for i, link := range v.links() {
		requests = append(requests, object{"name": link, "exactly": object{
			"deviceClassName": class,
			"selectors":       []object{{"cel": object{"expression": fmt.Sprintf("device.attributes[%q].ifName == %q", driver, link)}}},
		}})
		config = append(config, object{"requests": []string{link}, "opaque": object{"driver": driver, "parameters": object{
			"interface": object{"name": podLink(i + 1), "mtu": podMTU, "addresses": []string{podAddress(i + 1)}},
		}}})
	}
	return object{
		"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": object{"name": name},
		"spec": object{"devices": object{"requests": requests, "config": config}},
	}
}

// pod returns a pod; what it has beside a plain one is a claim of its own name
// or a runtime class of which the runtime has a handler with more networks.
func (v variant) pod(name string) object {
	container := object{"name": "pause", "image": image}
	spec := object{
		"containers":                    []object{container},
		"terminationGracePeriodSeconds": 1,
		"automountServiceAccountToken":  false,
	}
	switch v.Kind {
	case byClaim:
		spec["resourceClaims"] = []object{{"name": "nics", "resourceClaimName": name}}
		container["resources"] = object{"claims": []object{{"name": "nics"}}}
	case byPlugin:
		spec["runtimeClassName"] = fmt.Sprint(linkPrefix[byPlugin], v.NICs)
	}
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name}, "spec": spec}
}
