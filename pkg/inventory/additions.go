package inventory

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"

	resourceapi "k8s.io/api/resource/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Additions are attributes that an administrator gives to devices, beside those
// that the driver reads. Nil adds nothing. They may be used concurrently.
type Additions struct {
	entries []addition

	mu    sync.Mutex         // guards known
	known map[string]verdict // by device name
}

// maxKnown is how many verdicts are kept: more than a node has devices.
const maxKnown = 2048

// verdict is which entries match a device, kept because to evaluate an entry
// costs 20 us and most devices do not change from scan to scan.
type verdict struct {
	attributes map[resourceapi.QualifiedName]resourceapi.DeviceAttribute // of the device: for these it is the verdict
	matches    []bool                                                    // by entry
	faults     []error                                                   // why an entry could not be evaluated
}

// addition is one entry of the administrator's list.
type addition struct {
	path   string // in the list: [0]
	match  *Filter
	values map[resourceapi.QualifiedName]resourceapi.DeviceAttribute
}

// entry is an addition as it is written.
type entry struct {
	Nodes      []string       `json:"nodes"`
	Match      any            `json:"match"`
	Attributes map[string]any `json:"attributes"`
}

// ParseAdditions reads an administrator's list, which is YAML:
//
//   - match: device.attributes["dra-netdev.github.io"].ifName == "eth1"
//     attributes: {example.com/rail: 1}
//
// Entries for other nodes are checked as all are, so that a faulty list is an
// error on every node. An error names entry, field and value.
func ParseAdditions(text []byte, node string) (*Additions, error) {
	plain, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, oneLine(err)
	}
	var entries []entry
	faults, err := json.UnmarshalStrict(plain, &entries)
	if err == nil && len(faults) > 0 {
		err = faults[0]
	}
	if err != nil {
		return nil, fmt.Errorf("want a list of entries with the fields nodes, match and attributes: %w", oneLine(err))
	}
	a, filters := &Additions{known: map[string]verdict{}}, map[string]*Filter{}
	for i, e := range entries {
		added, here, err := e.parse(node, filters)
		if err != nil {
			return nil, fmt.Errorf("[%d].%w", i, err)
		}
		if here {
			added.path = fmt.Sprintf("[%d]", i)
			a.entries = append(a.entries, added)
		}
	}
	return a, nil
}

// parse checks an entry, and reports whether it is for this node. filters are
// those of earlier entries: a list for many nodes has the same ones again and
// again, and to compile one takes a millisecond.
func (e entry) parse(node string, filters map[string]*Filter) (a addition, here bool, err error) {
	if here, err = e.isFor(node); err != nil {
		return a, false, err
	}
	expr := fmt.Sprint(e.Match)
	switch e.Match.(type) {
	case string, bool: // YAML reads the expressions true and false as what they mean
		if a.match = filters[expr]; a.match != nil {
			break
		}
		if a.match, err = NewFilter(expr); err != nil {
			return a, false, fmt.Errorf("match: %w", oneLine(err))
		}
		filters[expr] = a.match
	}
	if a.match == nil {
		return a, false, fmt.Errorf("match: %q: must be a CEL expression", expr)
	}
	if n := len(e.Attributes); n == 0 || n > resourceapi.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		return a, false, fmt.Errorf("attributes: has %d: must be 1 to %d", n, resourceapi.ResourceSliceMaxAttributesAndCapacitiesPerDevice)
	}
	a.values = make(map[resourceapi.QualifiedName]resourceapi.DeviceAttribute, len(e.Attributes))
	for _, name := range slices.Sorted(maps.Keys(e.Attributes)) {
		value, err := addedValue(e.Attributes[name])
		if err == nil {
			err = checkAddedName(name, value)
		}
		if err != nil {
			return a, false, fmt.Errorf("attributes[%s]: %w", name, err)
		}
		a.values[resourceapi.QualifiedName(name)] = value
	}
	return a, here, nil
}

// isFor reports whether an entry is for a node: one that names none is for all.
func (e entry) isFor(node string) (bool, error) {
	if e.Nodes != nil && len(e.Nodes) == 0 {
		return false, fmt.Errorf("nodes: is empty: must have a name or a pattern, or be absent")
	}
	here := e.Nodes == nil
	for i, pattern := range e.Nodes {
		match, err := path.Match(pattern, node)
		if err != nil {
			return false, fmt.Errorf("nodes[%d]: %q: must be a name or a pattern such as gpu-*", i, pattern)
		}
		here = here || match
	}
	return here, nil
}

// Apply returns devs, in which those that are offered have the added attributes
// in place of those that were added before, and notes about entries and
// attributes without effect. A value that the driver has read stays, and of
// several entries for one attribute the last one counts. What devs refer to is
// not changed.
func (a *Additions) Apply(devs []Device) (out []Device, notes []string) {
	if a == nil {
		a = &Additions{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	out = slices.Clone(devs)
	effect := make([]bool, len(a.entries)) // whether an entry matches any device
	faults := make([]error, len(a.entries))
	for i := range out {
		if out[i].Skipped != "" {
			continue
		}
		out[i].drop()
		added := map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{}
		v := a.verdict(&out[i])
		for n, e := range a.entries {
			if v.faults[n] != nil {
				faults[n] = v.faults[n]
			}
			if v.matches[n] {
				effect[n] = true
				maps.Copy(added, e.values)
			}
		}
		notes = append(notes, out[i].add(added)...)
	}
	for n, e := range a.entries {
		switch {
		case effect[n]:
		case faults[n] != nil:
			notes = append(notes, fmt.Sprintf("%s.match: matches no device: %v", e.path, faults[n]))
		default:
			notes = append(notes, fmt.Sprintf("%s.match: matches no device", e.path))
		}
	}
	return out, notes
}

// verdict returns which entries match a device without added attributes. The
// caller holds mu.
func (a *Additions) verdict(d *Device) verdict {
	if v, ok := a.known[d.Name]; ok && maps.EqualFunc(v.attributes, d.Attributes, sameValue) {
		return v
	}
	v := verdict{attributes: d.Attributes, matches: make([]bool, len(a.entries)), faults: make([]error, len(a.entries))}
	for n, e := range a.entries {
		matches, err := e.match.eval(d)
		v.matches[n], v.faults[n] = matches && err == nil, err
	}
	if len(a.known) >= maxKnown {
		clear(a.known)
	}
	if a.known != nil {
		a.known[d.Name] = v
	}
	return v
}

// drop takes the added attributes off the device.
func (d *Device) drop() {
	if len(d.Added) == 0 {
		return
	}
	d.Attributes = maps.Clone(d.Attributes)
	for _, name := range d.Added {
		delete(d.Attributes, name)
	}
	d.Added = nil
}

// add adds attributes to the device, and returns why it does not add some.
func (d *Device) add(added map[resourceapi.QualifiedName]resourceapi.DeviceAttribute) (notes []string) {
	if len(added) == 0 {
		return nil
	}
	all := make(map[resourceapi.QualifiedName]resourceapi.DeviceAttribute, len(d.Attributes)+len(added))
	maps.Copy(all, d.Attributes)
	for _, name := range slices.Sorted(maps.Keys(added)) {
		switch _, read := d.Attributes[name]; {
		case read:
			notes = append(notes, fmt.Sprintf("device %s: %s: the driver has read it, its value is not replaced", d.Name, name))
		case len(all)+len(capacities) >= resourceapi.ResourceSliceMaxAttributesAndCapacitiesPerDevice:
			notes = append(notes, fmt.Sprintf("device %s: %s: not added, the device has %d attributes and capacities and the API allows no more", d.Name, name, len(all)+len(capacities)))
		default:
			all[name] = added[name]
			d.Added = append(d.Added, name)
		}
	}
	d.Attributes = all
	return notes
}
