package inventory

import (
	"fmt"

	"k8s.io/dynamic-resource-allocation/deviceattribute"
)

// function returns the address of the device's PCI function, or "".
func (d Device) function() string {
	if a := d.Attributes[deviceattribute.StandardDeviceAttributePCIBusID].StringValue; a != nil {
		return *a
	}
	return ""
}

// ControlledWith returns why two devices cannot be in the hands of two owners, in the
// view of d, or "": one is a virtual function, and the other its physical one, which
// sets what the virtual one may do.
func (d Device) ControlledWith(o Device) string {
	isPF := d.PF == d.function()
	switch {
	case d.PF == "" || d.PF != o.PF || isPF == (o.PF == o.function()):
		return ""
	case isPF:
		return fmt.Sprintf("its virtual function %s is allocated", o.Name)
	}
	return fmt.Sprintf("its physical function %s is allocated", o.Name)
}

// pfOf returns Device.PF. A representor of a virtual function and a scalable function
// are on the physical function too, and set nothing. newSurvey has read the function.
func pfOf(p *probe) string {
	switch {
	case isVF(p):
		return p.physical
	case isPF(p):
		return p.function
	}
	return ""
}

// awayPF returns the physical function of a virtual one, if its link is in another
// network namespace: whoever has that sets what the virtual one may do. sysfs shows
// that a function has a link somewhere (the directory net), but not that link.
func awayPF(s *survey, p *probe) (pf string, away bool) {
	if !isVF(p) {
		return "", false
	}
	for _, index := range s.functions[p.physical] {
		if ownsFunction(s.byIndex[index]) {
			return "", false
		}
	}
	return p.physical, functionAt(p.physical, p.sys).has("net")
}
