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
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// Config is what a driver needs. Fields are required unless their comment gives
// a default.
type Config struct {
	NodeName       string
	PodUID         types.UID // of the pod that this process is in: lets a newer one start beside it; empty for a process that is the only one
	Client         kubernetes.Interface
	KubeletRoot    string             // such as /var/lib/kubelet
	CDIDir         string             // where the runtime looks for CDI specs
	NRISocket      string             // of the container runtime
	Hook           string             // program that checks containers, copied to where the runtime finds it
	StateDir       string             // for records, locks and pins; below /run
	HealthAddress  string             // host:port of /livez, /readyz and /metrics; empty for none
	HealthSocket   string             // path of a socket with the same; empty for none
	StatusInterval time.Duration      // between two samples in a claim's status; 0 means none
	AttachTimeout  time.Duration      // for the interfaces of a pod to arrive, and the longest that a container waits for them; 0 means 30 s
	Sys            fs.ReadLinkFS      // root of sysfs
	Filter         *inventory.Filter  // which devices to offer; nil means all
	Multus         string             // see inventory.Options
	Include        *inventory.Filter  // which to offer in spite of the rules that have exceptions; nil means none
	VFs            inventory.VFCounts // how many virtual functions to make
	Attributes     string             // file of attributes that an administrator adds to devices; empty for none
}

const (
	bootIDFile       = "/proc/sys/kernel/random/boot_id"
	attachTimeout    = 30 * time.Second // unless Config has another
	reconcileEvery   = 10 * time.Second // how soon what could not be done is tried again
	firstSyncTimeout = 3 * time.Second  // for the runtime to connect, before we register with the kubelet
	closeTimeout     = 5 * time.Second  // for jobs under way at the end; the next process goes on with the others
)

// Driver is one node's driver. Make it with New and start it with Run.
type Driver struct {
	cfg     Config
	store   *allocation.Store
	engine  *attachment.Engine
	nodes   *nodeAddresses
	runtime *runtimeConnection
	slices  *publisher
	status  *statusWriter
	events  *eventRecorder
	metrics *metrics
	added   *additions
	specs   specs
}

// New opens the allocation store and returns a driver that has started nothing.
func New(ctx context.Context, cfg Config) (*Driver, error) {
	if cfg.AttachTimeout == 0 {
		cfg.AttachTimeout = attachTimeout
	}
	bootID, err := os.ReadFile(bootIDFile)
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	store, faults, err := allocation.Open(ctx, filepath.Join(cfg.StateDir, "allocations"), strings.TrimSpace(string(bootID)))
	if err != nil {
		return nil, err
	}
	for _, fault := range faults {
		klog.FromContext(ctx).Error(fault, "Ignored an unusable allocation record")
	}
	added, err := newAdditions(cfg.Attributes, cfg.NodeName)
	if err != nil {
		return nil, fmt.Errorf("--attributes: %w", err)
	}
	d := &Driver{cfg: cfg, store: store, added: added, events: newEventRecorder(cfg.Client, cfg.NodeName), metrics: newMetrics(store, added), nodes: newNodeAddresses(cfg.Client, cfg.NodeName, cfg.StateDir)}
	d.specs = specs{dir: cfg.CDIDir, hook: filepath.Join(d.cfg.pluginDir(), hookName), timeout: cfg.AttachTimeout + hookMargin, store: store, sys: cfg.Sys}
	d.engine = attachment.New(attachment.Config{
		Store: store, StateDir: cfg.StateDir, Sys: cfg.Sys, Options: d.scanOptions, AttachTimeout: cfg.AttachTimeout,
		Changed: func(c attachment.Change) { d.changed(ctx, c) }, Arrived: d.files().arrived,
	})
	d.metrics.registry.MustRegister(rdmaMetrics{store, d.engine.Latest})
	d.slices = newPublisher(cfg.Client, cfg.NodeName, store, added.apply)
	d.status = newStatusWriter(cfg.Client, store, d.engine.Latest)
	d.runtime = newRuntimeConnection(cfg.NRISocket, &handlers{
		engine: d.engine, store: store, specs: d.specs, hooks: newSeenHooks(cfg.StateDir), reservations: newReservations(cfg.Client, d.engine), metadata: d.files(),
	})
	return d, nil
}

// changed passes on a change of a record to whoever reports it.
func (d *Driver) changed(ctx context.Context, c attachment.Change) {
	logChange(klog.FromContext(ctx), c)
	d.metrics.changed(c)
	d.events.changed(c)
	d.status.changed(c)
	d.slices.changed(ctx, c)
}

// logChange logs what an administrator must see of a change.
func logChange(logger klog.Logger, c attachment.Change) {
	r := c.After
	logger = logger.WithValues("interface", r.Device.Link.Name, "device", r.Device.Name, "claim", klog.KRef(r.Claim.Namespace, r.Claim.Name))
	if a := r.Attachment; a != nil {
		logger = logger.WithValues("podUID", a.Sandbox.PodUID, "sandbox", a.Sandbox.ID)
	}
	switch {
	case c.Err != nil && c.Operation != "":
		logger.Error(c.Err, "Failed to "+c.Operation+" interface", "duration", c.Duration)
	case c.Err != nil:
		logger.Error(c.Err, "Failed to update an allocation")
	case c.Operation == attachment.OperationAttach:
		logger.Info("Attached interface", "podInterface", r.Attachment.Name, "duration", c.Duration, "omitted", r.Attachment.Omitted)
	case c.Operation == attachment.OperationDetach:
		logger.Info("Detached interface", "duration", c.Duration, "result", r.Condition.Message)
	case r.Condition.Reason != c.Before.Condition.Reason && r.Condition.Reason == v1alpha1.ReasonMissing:
		logger.Error(nil, "Lost sight of an interface", "result", r.Condition.Message)
	}
}

// Run serves until ctx ends or a part fails for good, and returns after all
// its goroutines have ended. Links in pods stay there.
func (d *Driver) Run(ctx context.Context) error {
	for _, dir := range []string{d.cfg.pluginDir(), filepath.Join(d.cfg.StateDir, hookRunsDir)} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if err := d.specs.installHook(d.cfg.Hook); err != nil {
		return err
	}
	if _, err := newVFMaker(d).plan(ctx); err != nil {
		return err
	}
	removeDeadSockets(ctx, d.cfg.registryDir(), d.cfg.pluginDir())
	// Events and statuses are flushed at shutdown, so they get a context that
	// outlives the others.
	reporting, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := d.events.start(reporting); err != nil {
		stop()
		return err
	}
	var writer sync.WaitGroup
	writer.Go(func() { d.status.run(reporting) })
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		d.engine.Close(closing)
		stop()
		writer.Wait()
		d.events.stop()
	}()
	d.reconcile(ctx)
	d.engine.Observe(ctx)
	d.status.all()
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
	group.Go(func() error { return d.runtime.serve(ctx) })
	group.Go(func() error { return d.serveHealth(ctx) })
	group.Go(func() error { return d.nodes.follow(ctx) })
	d.awaitRuntime(ctx)
	fatal := make(chan error, 1)
	helper, err := d.startPlugin(ctx, fatal)
	if err != nil {
		cancel()
		return errors.Join(fmt.Errorf("start kubelet plugin: %w", err), group.Wait())
	}
	defer helper.Stop()
	d.slices.start(ctx, helper)
	group.Go(func() error {
		select {
		case err := <-fatal:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	group.Go(func() error { newVFMaker(d).run(ctx); return nil })
	group.Go(func() error { return d.observe(ctx) })
	group.Go(func() error { return every(ctx, reconcileEvery, d.reconcile) })
	group.Go(func() error { d.engine.KeepLeases(ctx); return ctx.Err() })
	group.Go(func() error { return d.scan(ctx) })
	if d.cfg.Attributes != "" {
		group.Go(func() error { return d.added.follow(ctx, d.slices.republish) })
	}
	klog.FromContext(ctx).Info("Driver started", "node", d.cfg.NodeName, "allocations", len(d.store.All()))
	return group.Wait()
}

// startPlugin registers with the kubelet.
func (d *Driver) startPlugin(ctx context.Context, fatal chan<- error) (*kubeletplugin.Helper, error) {
	p := &plugin{
		node: d.cfg.NodeName, store: d.store, engine: d.engine, specs: d.specs, files: d.files(), fatal: fatal,
		ready: d.canPrepare, device: d.device, failed: d.status.failed,
	}
	return kubeletplugin.Start(ctx, p,
		kubeletplugin.DriverName(v1alpha1.DriverName),
		kubeletplugin.NodeName(d.cfg.NodeName),
		kubeletplugin.KubeClient(d.cfg.Client),
		kubeletplugin.RegistrarDirectoryPath(d.cfg.registryDir()),
		kubeletplugin.PluginDataDirectoryPath(d.cfg.pluginDir()),
		kubeletplugin.RollingUpdate(d.cfg.PodUID),
		kubeletplugin.Serialize(false), // the store does, and waits no longer than the caller
		kubeletplugin.EnableDeviceMetadata(true, metadataVersions),
		kubeletplugin.MetadataFileOps(d.files().fileOps()),
		kubeletplugin.CDIDirectory(d.cfg.CDIDir),
		kubeletplugin.GRPCInterceptor(d.slices.onRegistration),
	)
}

// awaitRuntime waits until the runtime calls us, since from our registration on
// the kubelet asks us and no older instance. Without an older instance it waits
// for a short while only: then the kubelet gets an error that says why.
func (d *Driver) awaitRuntime(ctx context.Context) {
	for {
		select {
		case <-d.runtime.firstSync:
			return
		case <-ctx.Done():
			return
		case <-time.After(firstSyncTimeout):
		}
		if !otherInstance(d.cfg.registryDir()) {
			return
		}
		klog.FromContext(ctx).Info("Waiting for the container runtime to call the driver's NRI handlers; an older instance goes on serving the kubelet")
	}
}

// canPrepare returns an error while no claim can be prepared.
func (d *Driver) canPrepare() error {
	if !d.runtime.connected.Load() {
		return errors.New("the container runtime does not call the driver's NRI handlers: enable NRI, or check that the runtime is up")
	}
	if !d.nodes.areKnown() {
		return fmt.Errorf("addresses of node %s not known yet: cannot tell which interface is the node's own", d.cfg.NodeName)
	}
	return nil
}

// pluginDir is ours, and at the same path on the host.
func (c Config) pluginDir() string {
	return filepath.Join(c.KubeletRoot, "plugins", v1alpha1.DriverName)
}

// files are what containers read of their devices.
func (d *Driver) files() metadataFiles { return metadataFiles{dir: d.cfg.pluginDir(), store: d.store} }

// registryDir is where the kubelet looks for plugins.
func (c Config) registryDir() string { return filepath.Join(c.KubeletRoot, "plugins_registry") }

// reconcile goes on with what is not done, and reports what the runtime hook
// refused.
func (d *Driver) reconcile(ctx context.Context) {
	if err := d.engine.Reconcile(ctx); err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Failed to reconcile the allocations")
	}
	for _, r := range readRefusals(ctx, d.cfg.StateDir) {
		d.events.refused(ctx, d.store, r)
	}
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
