package driver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// additionsEvery is how often the file is read. A file of a ConfigMap is a
// symbolic link that the kubelet replaces, in a directory that it replaces too:
// reading it costs less than following that with inotify(7), whose instances
// are limited for the whole node.
const additionsEvery = 2 * time.Second

// additions are the attributes of the administrator's file. With a file that
// cannot be used the last one that could be stays in use.
type additions struct {
	file, node string // file is empty for none

	mu      sync.Mutex // guards what follows
	text    []byte     // of the file, as last read
	current *inventory.Additions
	err     error    // why the file as it is now is not in use
	notes   []string // what had no effect when it was last applied
}

// newAdditions reads the file, and returns an error if it cannot be used.
func newAdditions(file, node string) (*additions, error) {
	a := &additions{file: file, node: node}
	a.read()
	return a, a.err
}

// read reads the file and reports whether anything has changed.
func (a *additions) read() bool {
	if a.file == "" {
		return false
	}
	text, err := os.ReadFile(a.file)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		changed := a.err == nil || a.err.Error() != err.Error()
		a.err, a.text = err, nil
		return changed
	}
	if a.text != nil && bytes.Equal(text, a.text) {
		return false
	}
	a.text = text
	parsed, err := inventory.ParseAdditions(text, a.node)
	if err != nil {
		a.err = fmt.Errorf("%s: %w", a.file, err)
		return true
	}
	a.current, a.err = parsed, nil
	return true
}

// follow reads the file again and again until ctx ends, and calls changed after
// each change of the attributes.
func (a *additions) follow(ctx context.Context, changed func(context.Context)) error {
	return every(ctx, additionsEvery, func(ctx context.Context) {
		if !a.read() {
			return
		}
		if err := a.fault(); err != nil {
			klog.FromContext(ctx).Error(err, "Refused the file of attributes; the attributes that were last accepted stay in use")
			return
		}
		klog.FromContext(ctx).Info("Read the changed file of attributes", "file", a.file)
		changed(ctx)
	})
}

// fault returns why the file as it is now is not in use.
func (a *additions) fault() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

func (a *additions) get() *inventory.Additions {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// apply returns the devices with their added attributes, and logs which of the
// file's entries and attributes have no effect, when that has changed.
func (a *additions) apply(ctx context.Context, devices []inventory.Device) []inventory.Device {
	devices, notes := a.get().Apply(devices)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(notes, a.notes) {
		for _, note := range notes {
			klog.FromContext(ctx).V(2).Info("Attribute without effect", "file", a.file, "reason", note)
		}
	}
	a.notes = notes
	return devices
}

// unused counts the entries and attributes without effect.
func (a *additions) unused() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.notes)
}
