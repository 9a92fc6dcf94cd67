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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
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
	bootIDFile = "/proc/sys/kernel/random/boot_id"
	tidyEvery  = 10 * time.Second // how soon what could not be done is tried again
	flapTime   = 1500 * time.Millisecond
	greetTime  = 3 * time.Second // what the runtime gets to connect before the kubelet is told of us
)

// Driver is one node's driver. Make it with New and start it with Run.
type Driver struct {
	cfg    Config
	book   *allocation.Book
	status *statusWriter
	events *announcer
	meters *meters
	helper atomic.Pointer[kubeletplugin.Helper]
	nodes  nodeAddresses
	unread bool // the book has records that could not be read

	publishing sync.Mutex         // guards live and the order of publications
	live       []inventory.Device // as last scanned

	connected atomic.Bool   // the runtime calls our hooks
	greeted   chan struct{} // closed when it has first done so
	greet     func()        // closes greeted
	scanned   atomic.Bool   // there has been a first publication
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
	unread := false
	for _, fault := range faults {
		klog.FromContext(ctx).Error(fault, "A record of the book cannot be used")
		unread = unread || !errors.Is(fault, allocation.ErrVoid)
	}
	d := &Driver{
		cfg: cfg, book: book, unread: unread, status: newStatusWriter(cfg.Client), events: newAnnouncer(cfg.Client, cfg.NodeName),
		meters: newMeters(book), nodes: nodeAddresses{client: cfg.Client, node: cfg.NodeName}, greeted: make(chan struct{}),
	}
	d.greet = sync.OnceFunc(func() { close(d.greeted) })
	return d, nil
}

// Run serves until ctx ends or a part fails for good, and returns after all
// its goroutines have ended. Links in pods stay there.
func (d *Driver) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	if err := os.MkdirAll(d.pluginDir(), 0o750); err != nil {
		return fmt.Errorf("make plugin directory: %w", err)
	}
	if err := d.installHook(); err != nil {
		return err
	}
	removeDeadSockets(ctx, d.registryDir(), d.pluginDir())
	d.recover(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.events.run(ctx) })
	group.Go(func() error { return d.serveNRI(ctx) })
	// Before the kubelet asks us in place of an older instance, the runtime
	// must too. Without a runtime we say so to whoever asks.
	select {
	case <-d.greeted:
	case <-time.After(greetTime):
	case <-ctx.Done():
	}
	fatal := make(chan error, 1)
	helper, err := kubeletplugin.Start(ctx, &plugin{d, fatal},
		kubeletplugin.DriverName(inventory.DriverName),
		kubeletplugin.NodeName(d.cfg.NodeName),
		kubeletplugin.KubeClient(d.cfg.Client),
		kubeletplugin.RegistrarDirectoryPath(d.registryDir()),
		kubeletplugin.PluginDataDirectoryPath(d.pluginDir()),
		kubeletplugin.RollingUpdate(d.cfg.PodUID),
		kubeletplugin.Serialize(false), // the book does, and waits no longer than the caller
		kubeletplugin.GRPCInterceptor(d.onRegistration),
	)
	if err != nil {
		return fmt.Errorf("start kubelet plugin: %w", err)
	}
	defer helper.Stop()
	d.helper.Store(helper)
	group.Go(func() error { return <-ended(ctx, fatal) })
	group.Go(func() error { return d.status.run(ctx) })
	group.Go(func() error { return d.sample(ctx) })
	group.Go(func() error { return every(ctx, healthEvery, d.look) })
	group.Go(func() error { return every(ctx, tidyEvery, d.tidy) })
	group.Go(func() error { return every(ctx, nodeRefresh, d.nodes.refresh) })
	group.Go(func() error { return d.scan(ctx) })
	group.Go(func() error { return d.serveHealth(ctx) })
	logger.Info("Driver started", "node", d.cfg.NodeName, "allocations", len(d.book.All()))
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// pluginDir is ours, and at the same path on the host.
func (d *Driver) pluginDir() string {
	return filepath.Join(d.cfg.KubeletRoot, "plugins", inventory.DriverName)
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
	return inventory.Options{NodeAddresses: d.nodes.get(), Filter: d.cfg.Filter, Held: held(d.book.All(), anyOf)}
}
