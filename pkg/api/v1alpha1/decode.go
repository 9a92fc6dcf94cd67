package v1alpha1

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	strictjson "sigs.k8s.io/json"
)

// Decode reads opaque parameters in order of rising precedence (class before
// claim) and returns the valid whole: a field that is set in a later one wins,
// lists are replaced, not joined. Unknown, repeated and wrongly cased fields
// are errors, and every error names its field.
func Decode(raws ...[]byte) (NetDeviceConfig, error) {
	var merged NetDeviceConfig
	for _, raw := range raws {
		c, err := decodeOne(raw)
		if err != nil {
			return NetDeviceConfig{}, err
		}
		overlay(reflect.ValueOf(&merged).Elem(), reflect.ValueOf(c))
	}
	return merged, merged.Validate()
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
		return c, fmt.Errorf("decode %s: %w", ConfigKind, errors.Join(strict...))
	}
	if c.APIVersion != "" && c.APIVersion != GroupVersion {
		return c, fmt.Errorf("decode %s: apiVersion: %q: want %q or none", ConfigKind, c.APIVersion, GroupVersion)
	}
	if c.Kind != "" && c.Kind != ConfigKind {
		return c, fmt.Errorf("decode %s: kind: %q: want %q or none", ConfigKind, c.Kind, ConfigKind)
	}
	return c, nil
}

// overlay copies every field that is set in src to dst, structs by field.
func overlay(dst, src reflect.Value) {
	for i := range src.NumField() {
		switch from := src.Field(i); {
		case from.Type() == reflect.TypeFor[Interface]():
			overlay(dst.Field(i), from)
		case !from.IsZero():
			dst.Field(i).Set(from)
		}
	}
}

// locate finds the field whose value cannot be read and returns an error that
// names both, or nil. The decoder's own errors name neither for types that
// parse themselves.
func locate(path string, t reflect.Type, raw json.RawMessage) error {
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
	case t.Kind() == reflect.Struct:
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			break
		}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if member, ok := members[name]; ok {
				if err := locate(strings.TrimPrefix(path+"."+name, "."), t.Field(i).Type, member); err != nil {
					return err
				}
			}
		}
		return nil
	case t.Kind() == reflect.Slice:
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
