package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/google/renameio/v2"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// Each prepared claim has a CDI spec (github.com/cncf-tags/container-device-interface)
// with a device for each interface. A device's environment entry names claim and
// device: by it CreateContainer knows a container that must have the interface
// also in a pod that no record knows. A device adds its device nodes too, so that
// only containers that list the claim get them. The spec itself adds a
// createRuntime hook, once per claim that has interfaces, which fails the
// container unless they are in its network namespace, and waits while they are on
// their way.
const (
	hookName     = "dra-netdev-hook"
	hookType     = "createRuntime"
	hookMargin   = 5 * time.Second // of the runtime's timeout of the hook over that of an attach
	recordFlag   = "--record"
	cdiVersion   = "0.6.0"
	cdiKind      = v1alpha1.DriverName + "/nic"
	envPrefix    = "DRA_NETDEV_DEVICE_"
	maxDeviceEnv = 256 // devices that a container's environment may name; a claim has 32 at most
)

// specs makes CDI specs, and knows the runtime hook that they add.
type specs struct {
	dir     string // where the runtime looks for CDI specs
	hook    string // path of the program on the host
	timeout time.Duration
	store   *allocation.Store
	sys     fs.FS // root of sysfs, which has the numbers of device nodes
}

// deviceEnv is the environment entry of a device.
func deviceEnv(k allocation.Key) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.Device, "-", "_")) + "=" + k.String()
}

// parseDeviceEnv returns the devices that our entries of an environment name,
// each once. More than there can be are an error.
func parseDeviceEnv(env []string) ([]allocation.Key, error) {
	var all []allocation.Key
	seen := map[allocation.Key]bool{}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		k, err := allocation.ParseKey(value)
		if err != nil { // the user's own: no such device can be prepared
			k = allocation.Key{ClaimUID: value}
		}
		if seen[k] {
			continue
		}
		if len(all) == maxDeviceEnv {
			return nil, fmt.Errorf("its environment names more than %d network devices (%s*)", maxDeviceEnv, envPrefix)
		}
		seen[k] = true
		all = append(all, k)
	}
	return all, nil
}

func cdiID(k allocation.Key) string { return cdiKind + "=" + k.CDIName() }

func (s specs) file(claimUID string) string {
	return filepath.Join(s.dir, v1alpha1.DriverName+"-nic_"+claimUID+".json")
}

// links returns the records of devices with an interface: the others have nothing
// that a hook could look for.
func links(all []allocation.Record) []allocation.Record {
	return slices.DeleteFunc(slices.Clone(all), func(r allocation.Record) bool { return !r.Device.HasLink() })
}

// hookArgs are the arguments of the hook for these records.
func (s specs) hookArgs(records []allocation.Record) []string {
	args := []string{hookName}
	for _, r := range links(records) {
		args = append(args, recordFlag, s.store.Path(r.Key()))
	}
	return args
}

// write writes the spec of a claim.
func (s specs) write(claimUID string, all []allocation.Record) error {
	if len(all) == 0 {
		return nil
	}
	timeout := int(s.timeout / time.Second)
	spec := cdi.Spec{Version: cdiVersion, Kind: cdiKind}
	if len(links(all)) > 0 {
		spec.ContainerEdits.Hooks = []*cdi.Hook{{HookName: hookType, Path: s.hook, Args: s.hookArgs(all), Timeout: &timeout}}
	}
	for _, r := range all {
		spec.Devices = append(spec.Devices, cdi.Device{Name: r.Key().CDIName(), ContainerEdits: cdi.ContainerEdits{
			Env: []string{deviceEnv(r.Key())}, DeviceNodes: s.deviceNodes(r.Device.Nodes),
		}})
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("write CDI spec: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("write CDI spec: %w", err)
	}
	if err := renameio.WriteFile(s.file(claimUID), text, 0o644); err != nil {
		return fmt.Errorf("write CDI spec: %w", err)
	}
	return nil
}

// remove removes the spec of a claim; one that is not there is success.
func (s specs) remove(claimUID string) error {
	if err := os.Remove(s.file(claimUID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove CDI spec: %w", err)
	}
	return nil
}

// hooks reports whether the container has a hook of ours. The container is as
// the runtime is about to make it, with what CDI added.
func (s specs) hooks(c *api.Container) bool {
	return slices.ContainsFunc(c.GetHooks().GetCreateRuntime(), func(h *api.Hook) bool { return h.Path == s.hook })
}

// unguarded returns those of the records that no hook of the container checks.
func (s specs) unguarded(c *api.Container, all []allocation.Record) []allocation.Record {
	var checked []string
	for _, h := range c.GetHooks().GetCreateRuntime() {
		if h.Path == s.hook {
			checked = append(checked, h.Args...)
		}
	}
	return slices.DeleteFunc(links(all), func(r allocation.Record) bool { return slices.Contains(checked, s.store.Path(r.Key())) })
}

// guard returns what adds a hook to a container that checks these records.
func (s specs) guard(all []allocation.Record) *api.ContainerAdjustment {
	if len(all) == 0 {
		return nil
	}
	a := &api.ContainerAdjustment{}
	a.AddHooks(&api.Hooks{CreateRuntime: []*api.Hook{{Path: s.hook, Args: s.hookArgs(all), Timeout: api.Int(int(s.timeout / time.Second))}}})
	return a
}

// installHook puts the hook where the runtime finds it, in one step: an older
// one may be running.
func (s specs) installHook(program string) error {
	text, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("install hook: %w", err)
	}
	if err := renameio.WriteFile(s.hook, text, 0o755, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("install hook: %w", err)
	}
	return nil
}
