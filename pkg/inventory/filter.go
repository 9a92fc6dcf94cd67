package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"k8s.io/dynamic-resource-allocation/cel"
)

// Filter is the operator's own rule for devices: a CEL expression over the
// variable device, as in the selectors of a DeviceClass. A nil Filter excludes
// nothing, and includes nothing. It may be used concurrently.
type Filter struct {
	compiled cel.CompilationResult
}

// NewFilter compiles an expression as the API server would, for instance
//
//	device.attributes["dra-netdev.github.io"].type != "veth"
//
// For an empty expression it returns nil.
func NewFilter(expr string) (*Filter, error) {
	if strings.TrimSpace(expr) == "" {
		return nil, nil
	}
	compiled := cel.GetCompiler(cel.Features{EnableConsumableCapacity: true}).CompileCELExpression(expr, cel.Options{})
	if compiled.Error != nil {
		return nil, fmt.Errorf("expression %q: %s", expr, compiled.Error.Detail)
	}
	return &Filter{compiled: compiled}, nil
}

// excludes reports whether the filter excludes a device, and why. A filter that
// cannot be evaluated for a device excludes it: not offering a device is a
// mistake that can be corrected later, giving it away is not.
func (f *Filter) excludes(d *Device) (why string, out bool) {
	if f == nil {
		return "", false
	}
	matches, err := f.eval(d)
	if err != nil {
		return fmt.Sprintf("cannot be evaluated: %v", err), true
	}
	return "excludes it", !matches
}

// matches reports whether the filter is true for a device. One that cannot be
// evaluated is not, for the same reason.
func (f *Filter) matches(d *Device) bool {
	if f == nil {
		return false
	}
	matches, err := f.eval(d)
	return err == nil && matches
}

func (f *Filter) eval(d *Device) (bool, error) {
	matches, _, err := f.compiled.DeviceMatches(context.Background(), cel.Device{Driver: v1alpha1.DriverName, Attributes: d.Attributes, Capacity: d.capacity()})
	return matches, err
}
