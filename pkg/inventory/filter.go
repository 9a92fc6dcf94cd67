package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"k8s.io/dynamic-resource-allocation/cel"
)

// Filter is the operator's say in what is offered: an expression in the
// dialect of DeviceClass selectors, with the variable device. A nil Filter
// leaves everything in. It may be used concurrently.
type Filter struct {
	compiled cel.CompilationResult
}

// NewFilter compiles an expression as the API server would, for instance
//
//	device.attributes["dra-netdev.github.io"].type != "veth"
//
// The empty expression is no filter: nil.
func NewFilter(expr string) (*Filter, error) {
	if strings.TrimSpace(expr) == "" {
		return nil, nil
	}
	compiled := cel.GetCompiler(cel.Features{EnableConsumableCapacity: true}).CompileCELExpression(expr, cel.Options{})
	if compiled.Error != nil {
		return nil, fmt.Errorf("filter %q: %s", expr, compiled.Error.Detail)
	}
	return &Filter{compiled: compiled}, nil
}

// leavesOut says why a device is not offered, if the filter says so or cannot
// say: what the operator wanted is then unknown, and to keep a NIC back can be
// undone.
func (f *Filter) leavesOut(d *Device) (why string, out bool) {
	if f == nil {
		return "", false
	}
	matches, _, err := f.compiled.DeviceMatches(context.Background(), cel.Device{Driver: v1alpha1.DriverName, Attributes: d.Attributes})
	if err != nil {
		return fmt.Sprintf("cannot be evaluated: %v", err), true
	}
	return "leaves it out", !matches
}
