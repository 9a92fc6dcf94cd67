package v1alpha1

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	strictjson "sigs.k8s.io/json"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Parameters are opaque parameters of a device class or of a claim.
type Parameters struct {
	Class string // name of the device class that they stand in; empty: they are the claim's
	Raw   []byte
}

// Decode reads parameters in order of rising precedence (class before claim)
// and returns the valid whole: a field that is set in a later one wins, lists
// are replaced, not joined. Unknown, repeated and wrongly cased fields are
// errors, as is a field of a claim that its class does not let it set. Every
// error names its field.
func Decode(all ...Parameters) (nic.Config, error) {
	var merged nic.Config
	configs := make([]NetDeviceConfig, len(all))
	for i, p := range all {
		var err error
		if configs[i], err = p.decode(); err != nil {
			return merged, err
		}
	}
	for i, c := range configs {
		if all[i].Class == "" {
			err := c.allowedBy(all, configs)
			if err == nil {
				err = c.checkGranted(configs)
			}
			if err != nil {
				return nic.Config{}, err
			}
		}
		overlay(reflect.ValueOf(&merged).Elem(), reflect.ValueOf(c.Config))
	}
	return merged, validate(merged)
}

func (p Parameters) decode() (NetDeviceConfig, error) {
	c, err := decodeOne(p.Raw)
	if err == nil {
		err = c.ClaimMaySet.check(p.Class)
	}
	if err == nil && p.Class == "" {
		err = checkOfClass(c.Interface)
	}
	if err != nil && p.Class != "" {
		err = fmt.Errorf("device class %s: %w", p.Class, err)
	}
	return c, err
}

// checkOfClass returns an error if a claim sets what only the administrator, in a
// device class, may decide: which addresses the node gives away, and what of the
// host's configuration may be lost.
func checkOfClass(i nic.Interface) error {
	const only = "%s: %q: a claim cannot set it, only a device class"
	switch pool := i.AddressPool; {
	case len(pool.Ranges) > 0 || pool.Gateway.IsValid():
		return fmt.Errorf(only, "interface.addressPool", fmt.Sprint(pool.Ranges))
	case len(i.AllowLoss) > 0:
		return fmt.Errorf(only, "interface.allowLoss", fmt.Sprint(i.AllowLoss))
	}
	return nil
}

func decodeOne(raw []byte) (NetDeviceConfig, error) {
	var c NetDeviceConfig
	strict, err := strictjson.UnmarshalStrict(raw, &c)
	if err != nil {
		if at := locate("", reflect.TypeOf(c), raw); at != nil {
			err = at
		}
		return c, fmt.Errorf("decode %s: %w", ConfigKind, err)
	}
	if len(strict) > 0 {
		faults := make([]string, len(strict))
		for i, err := range strict {
			faults[i] = explain(err.Error())
		}
		return c, fmt.Errorf("decode %s: %s", ConfigKind, strings.Join(faults, "; "))
	}
	if c.APIVersion != "" && c.APIVersion != GroupVersion {
		return c, fmt.Errorf("decode %s: apiVersion: %q: want %q or none", ConfigKind, c.APIVersion, GroupVersion)
	}
	if c.Kind != "" && c.Kind != ConfigKind {
		return c, fmt.Errorf("decode %s: kind: %q: want %q or none", ConfigKind, c.Kind, ConfigKind)
	}
	return c, translate(&c.Config)
}

// overlay copies every field that is set in src to dst: structs by field, maps by
// key, lists as a whole.
func overlay(dst, src reflect.Value) {
	for i := range src.NumField() {
		to, from := dst.Field(i), src.Field(i)
		switch {
		case from.IsZero():
		case composite(from.Type()):
			overlay(to, from)
		case from.Kind() == reflect.Map && to.Len() > 0:
			both := reflect.MakeMap(from.Type())
			for _, m := range []reflect.Value{to, from} {
				for key, value := range m.Seq2() {
					both.SetMapIndex(key, value)
				}
			}
			to.Set(both)
		default:
			to.Set(from)
		}
	}
}

// textOrObject is a struct that may be written as one text too.
var textOrObject = reflect.TypeFor[nic.Address]()

// composite reports whether a type is a struct whose fields are fields of the
// config, and not one value with its own text.
func composite(t reflect.Type) bool {
	if t == textOrObject {
		return true
	}
	p := reflect.PointerTo(t)
	return t.Kind() == reflect.Struct && !p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) && !p.Implements(reflect.TypeFor[json.Unmarshaler]())
}

// locate finds the field whose value cannot be read and returns an error that
// names both, or nil. The decoder's own errors name neither for types that
// parse themselves.
func locate(path string, t reflect.Type, raw json.RawMessage) error {
	switch {
	case composite(t):
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			break
		}
		for i := range t.NumField() {
			if t.Field(i).Anonymous { // its fields are members of raw
				if err := locate(path, t.Field(i).Type, raw); err != nil {
					return err
				}
				continue
			}
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if member, ok := members[name]; ok {
				if err := locate(strings.TrimPrefix(path+"."+name, "."), t.Field(i).Type, member); err != nil {
					return err
				}
			}
		}
		if t != textOrObject { // which the decoder of the whole cannot look into
			return nil
		}
	case t.Kind() == reflect.Map:
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			break
		}
		for _, key := range slices.Sorted(maps.Keys(members)) {
			if err := locate(path+"."+key, t.Elem(), members[key]); err != nil {
				return err
			}
		}
		return nil
	case t.Kind() == reflect.Slice && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		var elements []json.RawMessage
		if err := json.Unmarshal(raw, &elements); err != nil {
			break
		}
		for i, element := range elements {
			if err := locate(fmt.Sprintf("%s[%d]", path, i), t.Elem(), element); err != nil {
				return err
			}
		}
		return nil
	}
	if err := json.Unmarshal(raw, reflect.New(t).Interface()); err != nil {
		return fmt.Errorf("%s: %s: %w", path, raw, err)
	}
	return nil
}
