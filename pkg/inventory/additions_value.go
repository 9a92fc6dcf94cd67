package inventory

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/blang/semver/v4"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/dynamic-resource-allocation/deviceattribute"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// addedValue returns the attribute that a value of YAML means: a text, a whole
// number, a boolean, or {version: 1.2.3}.
func addedValue(value any) (a resourceapi.DeviceAttribute, err error) {
	switch v := value.(type) {
	case string:
		return resourceapi.DeviceAttribute{StringValue: &v}, checkLength(v)
	case bool:
		return resourceapi.DeviceAttribute{BoolValue: &v}, nil
	case int64:
		return resourceapi.DeviceAttribute{IntValue: &v}, nil
	case float64:
		if v == math.Trunc(v) {
			return a, fmt.Errorf("%q: must be a number of 64 bits", fmt.Sprint(v))
		}
		return a, fmt.Errorf("%q: must be a whole number; write a text in quotes", fmt.Sprint(v))
	case map[string]any:
		version, ok := v["version"].(string)
		if !ok || len(v) != 1 {
			break
		}
		if _, err := semver.Parse(version); err != nil {
			return a, fmt.Errorf("version: %q: must be a version as of semver.org, such as 1.2.3", version)
		}
		return resourceapi.DeviceAttribute{VersionValue: &version}, checkLength(version)
	}
	return a, fmt.Errorf("%q: must be a text, a number, true, false, or {version: \"1.2.3\"}", fmt.Sprint(value))
}

func checkLength(s string) error {
	if len(s) > resourceapi.DeviceAttributeMaxValueLength {
		return fmt.Errorf("%q: has %d bytes, the API allows %d", s, len(s), resourceapi.DeviceAttributeMaxValueLength)
	}
	return nil
}

// standardTypes are the types of Kubernetes' own attributes: with another one no
// device of another driver would ever have the same value.
var standardTypes = map[string]func(resourceapi.DeviceAttribute) bool{
	string(deviceattribute.StandardDeviceAttributePCIBusID): isText,
	string(deviceattribute.StandardDeviceAttributePCIeRoot): isText,
	string(deviceattribute.StandardDeviceAttributeNUMANode): func(a resourceapi.DeviceAttribute) bool { return a.IntValue != nil },
}

func isText(a resourceapi.DeviceAttribute) bool { return a.StringValue != nil }

// checkAddedName checks the name of an added attribute as the API server does,
// and that it is none of the driver's.
func checkAddedName(name string, value resourceapi.DeviceAttribute) error {
	domain, id, qualified := strings.Cut(name, "/")
	is, standard := standardTypes[name]
	switch {
	case !qualified:
		return errors.New("the name must have a domain, as example.com/rack: names without one are the driver's own")
	case domain == v1alpha1.DriverName:
		return fmt.Errorf("names of the domain %s are the driver's own", domain)
	case len(domain) > resourceapi.DeviceMaxDomainLength:
		return fmt.Errorf("the domain has %d bytes, the API allows %d", len(domain), resourceapi.DeviceMaxDomainLength)
	case len(validation.IsDNS1123Subdomain(domain)) > 0:
		return fmt.Errorf("%q: must be a domain in lower case, as example.com", domain)
	case len(id) > resourceapi.DeviceMaxIDLength:
		return fmt.Errorf("%q has %d bytes, the API allows %d", id, len(id), resourceapi.DeviceMaxIDLength)
	case len(validation.IsCIdentifier(id)) > 0:
		return fmt.Errorf("%q: must consist of letters, digits and _, and not begin with a digit", id)
	case standard && !is(value):
		return errors.New("the value has another type than Kubernetes defines for this name")
	}
	return nil
}

// oneLine returns an error whose text has no line breaks.
func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
