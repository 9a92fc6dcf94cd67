package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Config is what a driver needs. Every field must be set but those that
// say what they mean when they are not.
type Config struct {
	NodeName       string
	PodUID         types.UID // of the pod that this process is in: lets a newer one start beside it; empty for a process that is the only one
	Client         kubernetes.Interface
	KubeletRoot    string            // such as /var/lib/kubelet
	CDIDir         string            // where the runtime looks for CDI specs
	NRISocket      string            // of the container runtime
	Hook           string            // program that checks containers, copied to where the runtime finds it
	StateDir       string            // for the book and the pins; below /run
	HealthAddress  string            // host:port of /livez, /readyz and /metrics; empty for none
	HealthSocket   string            // path of a socket with the same; empty for none
	StatusInterval time.Duration     // between two samples in a claim's status; 0 means none
	Sys            fs.ReadLinkFS     // root of sysfs
	Filter         *inventory.Filter // which devices to offer; nil means all
}

const (
	bootIDFile       = "/proc/sys/kernel/random/boot_id"
	tidyEvery        = 10 * time.Second // how soon what could not be done is tried again
	republishDelay   = 1500 * time.Millisecond
	firstSyncTimeout = 3 * time.Second // what the runtime gets to connect before the kubelet is told of us
)

// Driver is one node's driver. Make it with New and start it with Run.
type Driver struct {
	cfg      Config
	store    *allocation.Store
	status   *statusWriter
	events   *eventRecorder
	metrics  *metrics
	helper   atomic.Pointer[kubeletplugin.Helper]
	nodes    nodeAddresses
	asking   *asking
	attempts *attempts

	publishing sync.Mutex             // guards live, placed and the order of publications
	live       []inventory.Device     // as last scanned
	placed     [][]resourceapi.Device // by slice, as last published; nil before

	connected  atomic.Bool   // the runtime calls our hooks
	greeted    chan struct{} // closed when it has first done so
	greet      func()        // closes greeted
	missingFor time.Duration // see the constant of this name

	scanned atomic.Bool // there has been a first publication
}

// New opens the book and returns a driver that has started nothing.
func New(ctx context.Context, cfg Config) (*Driver, error) {
	bootID, err := os.ReadFile(bootIDFile)
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	book, faults, err := allocation.Open(ctx, filepath.Join(cfg.StateDir, "allocations"), strings.TrimSpace(string(bootID)))
	if err != nil {
		return nil, err
	}
	for _, fault := range faults {
		klog.FromContext(ctx).Error(fault, "A record of the book cannot be used")
	}
	d := &Driver{
		cfg: cfg, store: book, status: newStatusWriter(cfg.Client, book), events: newEventRecorder(cfg.Client, cfg.NodeName),
		metrics: newMetrics(book), nodes: nodeAddresses{client: cfg.Client, node: cfg.NodeName, known: make(chan struct{})}, greeted: make(chan struct{}),
		missingFor: missingFor, asking: newAsking(), attempts: newAttempts(),
	}
	d.greet = sync.OnceFunc(func() { close(d.greeted) })
	return d, nil
}

// Run serves until ctx ends or a part fails for good, and returns after all
// its goroutines have ended. Links in pods stay there.
func (d *Driver) Run(ctx context.Context) error {
	if err := os.MkdirAll(d.pluginDir(), 0o750); err != nil {
		return fmt.Errorf("make plugin directory: %w", err)
	}
	if err := d.installHook(); err != nil {
		return err
	}
	removeDeadSockets(ctx, d.registryDir(), d.pluginDir())
	// What is to be told is told to the end: this outlives the rest.
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := d.events.start(telling); err != nil {
		stop()
		return err
	}
	var writer sync.WaitGroup
	writer.Go(func() { d.status.run(telling) })
	defer func() {
		stop()
		writer.Wait()
		d.events.stop()
	}()
	d.recover(ctx)
	if err := d.serve(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// serve answers runtime and kubelet until ctx ends or a part fails for good.
func (d *Driver) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.serveNRI(ctx) })
	group.Go(func() error { return d.serveHealth(ctx) })
	group.Go(func() error { return d.nodes.follow(ctx) })
	d.awaitRuntime(ctx)
	fatal := make(chan error, 1)
	helper, err := kubeletplugin.Start(ctx, &plugin{d, fatal},
		kubeletplugin.DriverName(v1alpha1.DriverName),
		kubeletplugin.NodeName(d.cfg.NodeName),
		kubeletplugin.KubeClient(d.cfg.Client),
		kubeletplugin.RegistrarDirectoryPath(d.registryDir()),
		kubeletplugin.PluginDataDirectoryPath(d.pluginDir()),
		kubeletplugin.RollingUpdate(d.cfg.PodUID),
		kubeletplugin.Serialize(false), // the book does, and waits no longer than the caller
		kubeletplugin.GRPCInterceptor(d.onRegistration),
	)
	if err != nil {
		cancel()
		return errors.Join(fmt.Errorf("start kubelet plugin: %w", err), group.Wait())
	}
	defer helper.Stop()
	d.helper.Store(helper)
	group.Go(func() error { return <-ended(ctx, fatal) })
	group.Go(func() error { return d.sample(ctx) })
	group.Go(func() error { return every(ctx, healthEvery, d.look) })
	group.Go(func() error { return every(ctx, tidyEvery, d.tidy) })
	group.Go(func() error { return d.scan(ctx) })
	klog.FromContext(ctx).Info("Driver started", "node", d.cfg.NodeName, "allocations", len(d.store.All()))
	return group.Wait()
}

// awaitRuntime waits until the runtime calls us, since from our registration on
// the kubelet asks us and no older instance. Where there is none it waits for
// a short while only: without a runtime we say so to the kubelet.
func (d *Driver) awaitRuntime(ctx context.Context) {
	for {
		select {
		case <-d.greeted:
			return
		case <-ctx.Done():
			return
		case <-time.After(firstSyncTimeout):
		}
		if !otherInstance(d.registryDir()) {
			return
		}
		klog.FromContext(ctx).Info("The container runtime does not call the driver's NRI hooks; an older instance goes on serving the kubelet")
	}
}

// pluginDir is ours, and at the same path on the host.
func (d *Driver) pluginDir() string {
	return filepath.Join(d.cfg.KubeletRoot, "plugins", v1alpha1.DriverName)
}

// registryDir is where the kubelet looks for plugins.
func (d *Driver) registryDir() string { return filepath.Join(d.cfg.KubeletRoot, "plugins_registry") }

// ended passes on the first fatal error, or ctx's.
func ended(ctx context.Context, fatal <-chan error) <-chan error {
	out := make(chan error, 1)
	go func() { // ends with ctx at the latest
		select {
		case err := <-fatal:
			out <- err
		case <-ctx.Done():
			out <- ctx.Err()
		}
	}()
	return out
}

// every calls f now and then again after each period, until ctx ends.
func every(ctx context.Context, period time.Duration, f func(context.Context)) error {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		f(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// scan publishes the inventory until ctx ends.
func (d *Driver) scan(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	select {
	case <-d.nodes.known: // else the node's own link might be offered
	case <-ctx.Done():
		return ctx.Err()
	}
	return inventory.Run(ctx, inventory.RunConfig{
		Links: netdev.Links, Watch: netdev.Watch, Sys: d.cfg.Sys,
		Options: d.scanOptions,
		OnError: func(err error) { logger.Error(err, "Inventory is retried") },
	}, func(devices []inventory.Device) {
		for _, dev := range devices {
			if dev.Skipped != "" {
				logger.V(4).Info("Link is not offered", "link", dev.Link.Name, "reason", dev.Skipped)
			}
		}
		d.publish(ctx, devices)
	})
}

func (d *Driver) scanOptions() inventory.Options {
	return inventory.Options{NodeAddresses: d.nodes.get(), Filter: d.cfg.Filter, Held: held(d.store.All(), anyOf)}
}
