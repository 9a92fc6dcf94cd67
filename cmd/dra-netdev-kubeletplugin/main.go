// Command dra-netdev-kubeletplugin runs the driver on one node. Its subcommand
// inventory prints the devices that the running driver offers, or, without a
// running driver, those that a driver would offer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/driver"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

func main() {
	os.Exit(cli.Run(command()))
}

// options are the values of the flags.
type options struct {
	driver.Config
	kubeconfig string
	filter     string
	include    string
	logs       *logsapi.LoggingConfiguration
	gates      featuregate.MutableVersionedFeatureGate
}

// The kubelet gives a container's start two minutes, and the runtime hook waits
// in it; an attach that fails needs some seconds to bring everything back.
const (
	minAttachTimeout = 5 * time.Second
	maxAttachTimeout = 90 * time.Second
)

func command() *cobra.Command {
	o := options{logs: logsapi.NewLoggingConfiguration(), gates: featuregate.NewFeatureGate()}
	c := &cobra.Command{
		Use:   "dra-netdev-kubeletplugin",
		Short: "Moves network interfaces of a node into pods, with Dynamic Resource Allocation",
		Args:  cobra.NoArgs, SilenceUsage: true,
		Version: version.Get().String(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := logsapi.AddFeatureGates(o.gates); err != nil {
				return err
			}
			if err := logsapi.ValidateAndApply(o.logs, o.gates); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return o.run(ctx)
		},
	}
	f := c.Flags()
	f.StringVar(&o.NodeName, "node-name", os.Getenv("NODE_NAME"), "name of this node (default: $NODE_NAME)")
	f.StringVar((*string)(&o.PodUID), "pod-uid", os.Getenv("POD_UID"), "UID of this process's own pod; with it a new instance can start while an old one still runs (default: $POD_UID)")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	f.StringVar(&o.KubeletRoot, "kubelet-root-dir", "/var/lib/kubelet", "the kubelet's root directory")
	f.StringVar(&o.CDIDir, "cdi-dir", "/var/run/cdi", "directory from which the container runtime reads CDI specs")
	f.StringVar(&o.NRISocket, "nri-socket", "/var/run/nri/nri.sock", "NRI socket of the container runtime")
	f.StringVar(&o.Hook, "hook", beside("dra-netdev-hook"), "runtime hook program, which checks that a container has its interfaces before it starts (default: in this program's directory)")
	f.StringVar(&o.StateDir, "state-dir", "/run/dra-netdev", "directory of the allocation store and of pinned network namespaces; it must not survive a reboot")
	f.StringVar(&o.HealthAddress, "health-address", "127.0.0.1:9178", "host:port that serves /livez, /readyz and /metrics; retried while in use; empty disables")
	c.PersistentFlags().StringVar(&o.HealthSocket, "health-socket", os.Getenv("HEALTH_SOCKET"), "path of a unix socket that serves the same, for dra-netdev-probe and the command inventory; empty disables (default: $HEALTH_SOCKET)")
	f.DurationVar(&o.StatusInterval, "status-interval", 5*time.Minute, "time between two updates of the statistics in a claim's status; 0 writes them only at attach and detach")
	f.DurationVar(&o.AttachTimeout, "attach-timeout", 30*time.Second, "time for a pod's interfaces to arrive, and the longest that its containers and its deletion wait for them; 5s to 90s")
	c.PersistentFlags().StringVar(&o.filter, "filter", "", "CEL expression, as in a DeviceClass, that a device must match to be offered")
	c.PersistentFlags().StringVar(&o.include, "include", "", "CEL expression, as in a DeviceClass; devices that match it are offered in spite of the rules that have exceptions")
	c.PersistentFlags().StringVar(&o.Attributes, "attributes", "", "file of attributes that an administrator adds to devices: a list of CEL expressions with the attributes for devices that match; it is read again when it changes")
	c.PersistentFlags().StringVar(&o.Multus, "multus-resource-name", "", "resource name, as example.com/nics, under which Multus finds the PCI devices of a pod's claims; empty: it finds none")
	f.Var(&o.VFs, "sriov-vfs", "virtual functions to make at the start: a CEL expression, as in a DeviceClass, that matches physical functions, = and their number; can be repeated")
	logsapi.AddFlags(o.logs, f)
	c.AddCommand(inventoryCommand(&o))
	return c
}

// gcPercent is GOGC unless the environment has another: a node has better use
// for memory than the driver for the CPU time of a few more collections.
const gcPercent = 25

func (o *options) run(ctx context.Context) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if o.NodeName == "" {
		return errors.New("--node-name: required when $NODE_NAME is not set")
	}
	if o.StatusInterval < 0 {
		return fmt.Errorf("--status-interval: %q: must not be negative", o.StatusInterval)
	}
	if o.AttachTimeout < minAttachTimeout || o.AttachTimeout > maxAttachTimeout {
		return fmt.Errorf("--attach-timeout: %q: must be %v to %v", o.AttachTimeout, minAttachTimeout, maxAttachTimeout)
	}
	if o.Filter, err = inventory.NewFilter(o.filter); err != nil {
		return fmt.Errorf("--filter: %w", err)
	}
	if o.Include, err = inventory.NewFilter(o.include); err != nil {
		return fmt.Errorf("--include: %w", err)
	}
	if err := checkMultus(o.Multus); err != nil {
		return err
	}
	if o.Client, err = client(o.kubeconfig); err != nil {
		return err
	}
	o.Sys = sysfs()
	logger := klog.Background()
	ctx = klog.NewContext(ctx, logger)
	logger.Info("Starting the driver", "version", version.Get().GitVersion, "node", o.NodeName)
	d, err := driver.New(ctx, o.Config)
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// checkMultus checks a resource name, which becomes an attribute.
func checkMultus(name string) error {
	switch {
	case name == "":
		return nil
	case len(name) > resourceapi.DeviceAttributeMaxValueLength:
		return fmt.Errorf("--multus-resource-name: %q: has %d bytes, the API allows %d", name, len(name), resourceapi.DeviceAttributeMaxValueLength)
	case len(validation.IsQualifiedName(name)) > 0:
		return fmt.Errorf("--multus-resource-name: %q: must be a resource name, as example.com/nics", name)
	}
	return nil
}

func client(kubeconfig string) (kubernetes.Interface, error) {
	var config *rest.Config
	var err error
	if kubeconfig == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 20, 40
	return kubernetes.NewForConfig(config)
}

// beside returns the path of another program in the directory of this one.
func beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

// sysfs returns the root of sysfs.
func sysfs() fs.ReadLinkFS { return os.DirFS("/sys").(fs.ReadLinkFS) }
