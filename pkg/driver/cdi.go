package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// Each prepared claim has a CDI spec (github.com/cncf-tags/container-device-interface)
// with a device for each link. Its edits are what fails a container closed: an
// environment entry that names claim and device, by which CreateContainer knows
// a container that must have the link also in a pod that it does not know; and
// a createRuntime hook, which looks into the container's namespace when
// CreateContainer was never called.
const (
	hookName    = "dra-netdev-hook"
	hookTimeout = 5 // seconds
	cdiVersion  = "0.6.0"
	cdiKind     = v1alpha1.DriverName + "/nic"
	envPrefix   = "DRA_NETDEV_DEVICE_"
	maxNamed    = 64 // bytes of what an environment names, in an error
)

func cdiName(a allocation.Record) string { return a.Claim.UID + "-" + a.Device.Name }

func cdiID(a allocation.Record) string { return cdiKind + "=" + cdiName(a) }

func cdiFile(dir, claimUID string) string {
	return filepath.Join(dir, v1alpha1.DriverName+"-nic_"+claimUID+".json")
}

// promise is the environment entry of a link.
func deviceEnv(a allocation.Record) string {
	name := strings.ToUpper(strings.ReplaceAll(a.Device.Name, "-", "_"))
	return fmt.Sprintf("%s%s=%s/%s", envPrefix, name, a.Claim.UID, a.Device.Name)
}

// claimDevice names a device of a claim.
type claimDevice struct{ claimUID, device string }

// promised returns the devices that our entries of an environment name, each
// once. More than there can be are an error.
func parseDeviceEnv(env []string) ([]claimDevice, error) {
	var all []claimDevice
	seen := map[claimDevice]bool{}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		var d claimDevice
		d.claimUID, d.device, _ = strings.Cut(value, "/")
		if seen[d] {
			continue
		}
		if len(all) == maxDeviceEnv {
			return nil, fmt.Errorf("its environment names more than %d network devices (%s*)", maxDeviceEnv, envPrefix)
		}
		seen[d] = true
		all = append(all, d)
	}
	return all, nil
}

// edits are what a container gets that uses the device.
func (d *Driver) edits(a allocation.Record) cdi.ContainerEdits {
	timeout := hookTimeout
	return cdi.ContainerEdits{
		Env: []string{deviceEnv(a)},
		Hooks: []*cdi.Hook{{
			HookName: "createRuntime", Path: filepath.Join(d.pluginDir(), hookName),
			Args: []string{hookName, "--record", d.store.Path(a)}, Timeout: &timeout,
		}},
	}
}

func (d *Driver) writeCDI(claimUID string, all []allocation.Record) error {
	dir := d.cfg.CDIDir
	spec := cdi.Spec{Version: cdiVersion, Kind: cdiKind}
	for _, a := range all {
		spec.Devices = append(spec.Devices, cdi.Device{Name: cdiName(a), ContainerEdits: d.edits(a)})
	}
	if len(spec.Devices) == 0 {
		return nil
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("write CDI spec: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write CDI spec: %w", err)
	}
	if err := renameio.WriteFile(cdiFile(dir, claimUID), text, 0o644); err != nil {
		return fmt.Errorf("write CDI spec: %w", err)
	}
	return nil
}

func removeCDI(dir, claimUID string) error {
	if err := os.Remove(cdiFile(dir, claimUID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove CDI spec: %w", err)
	}
	return nil
}

// installHook puts the hook where the runtime finds it, in one step: an older
// one may be running.
func (d *Driver) installHook() error {
	text, err := os.ReadFile(d.cfg.Hook)
	if err != nil {
		return fmt.Errorf("install hook: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(d.pluginDir(), hookName), text, 0o755, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("install hook: %w", err)
	}
	return nil
}
