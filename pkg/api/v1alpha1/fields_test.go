package v1alpha1

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestFieldRows checks that each field of NetDeviceConfig has one row, and that each
// row has a field, a text and an example that decodes.
func TestFieldRows(t *testing.T) {
	var want []string
	var paths func(prefix string, typ reflect.Type)
	paths = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Anonymous {
				paths(prefix, f.Type)
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			want = append(want, prefix+name)
			switch {
			case composite(f.Type):
				paths(prefix+name+".", f.Type)
			case f.Type.Kind() == reflect.Slice && composite(f.Type.Elem()):
				paths(prefix+name+"[].", f.Type.Elem())
			}
		}
	}
	paths("", reflect.TypeFor[NetDeviceConfig]())
	var got []string
	for _, f := range fields {
		got = append(got, f.path)
		if f.doc == "" || !json.Valid([]byte(f.example)) {
			t.Errorf("%s: the row has the text %q and the example %s, want both", f.path, f.doc, f.example)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	for _, path := range want {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(g string) bool { return g != path })); n != 1 {
			t.Errorf("%s has %d rows in fields, want 1", path, n)
		}
	}
	for _, path := range got {
		if !slices.Contains(want, path) {
			t.Errorf("the row %s is of no field of NetDeviceConfig", path)
		}
	}
}

// TestOverlay checks that structs merge by field and maps by key.
func TestOverlay(t *testing.T) {
	type inner struct {
		Yes  *bool
		List []int
		Map  map[string]int
	}
	type outer struct {
		Inner inner
		N     int
	}
	yes, no := true, false
	dst := outer{inner{&yes, []int{1, 2}, map[string]int{"a": 1, "b": 2}}, 7}
	class := dst.Inner.Map
	overlay(reflect.ValueOf(&dst).Elem(), reflect.ValueOf(outer{Inner: inner{Yes: &no, List: []int{}, Map: map[string]int{"b": 3}}}))
	if want := (outer{inner{&no, []int{}, map[string]int{"a": 1, "b": 3}}, 7}); !reflect.DeepEqual(dst, want) {
		t.Errorf("got %+v, want %+v", dst, want)
	}
	if class["b"] != 2 {
		t.Error("the map that was laid over has changed")
	}
}
