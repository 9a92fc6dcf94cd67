// Package attachment is the node's engine: it moves the links of prepared
// claims into the sandboxes of pods and restores them on the host, and it keeps
// the records of allocation true while processes are killed, namespaces end and
// pods tamper with what they got.
//
// It hides the order of records, locks and kernel requests. Callers name a
// sandbox or a claim; what has become of a device is in its record, and each
// change of one is reported through Config.Changed. The package knows neither
// Kubernetes' API nor the container runtime.
//
// # How a link gets into a pod
//
//	Prepare    the device is recorded for its claim, once checked against the kernel
//	Attach     all is checked that can fail for the claim's sake; the originals are recorded; a job begins
//	the job    moves the links, all or none, in the background; it holds the claims' locks
//	Admit      decides whether a container may begin: the links are in the sandbox, or on their way
//	Detach     sets the links down and begins a job that restores them
//	Release    waits for that, and removes the records
//	KeepLeases extends what DHCP servers lease to links in pods
//	Reconcile  resumes what was cut off, and tries again what failed
//
// Each is harmless when repeated. A job that its process did not finish is
// resumed by the next one while the sandbox lives: its containers wait for it.
package attachment

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// Config is what an engine needs. Fields are required unless their comment gives
// a default.
type Config struct {
	Store    *allocation.Store
	StateDir string                   // for the pins of namespaces; below /run
	Sys      fs.ReadLinkFS            // root of sysfs
	Options  func() inventory.Options // by which links that must stay on the host are told from others
	// AttachTimeout is how long an attach may take before it is given up.
	AttachTimeout time.Duration
	// Changed is called after each change of a record and each failed
	// operation, by several goroutines at once. It must not block.
	Changed func(Change)
	// Arrived is called with the records of links that have arrived in a pod,
	// before its containers may begin; with the claims locked. An error gives the
	// attach up. nil: there is nothing to do.
	Arrived func([]allocation.Record) error
	// Now is the clock of the pauses between attempts; nil means time.Now.
	Now func() time.Time
	// MissingFor is how long a virtual link must be missing before its record is
	// given up; 0 means one minute.
	MissingFor time.Duration
}

// The operations of an engine.
const (
	OperationAttach = "attach"
	OperationDetach = "detach"
)

// Change is a change of a record.
type Change struct {
	Before, After allocation.Record // Before is zero when the record is new
	Removed       bool              // After is the record as it was last
	Operation     string            // that ended with it; empty for any other change
	Err           error             // why the operation failed
	Duration      time.Duration     // of the operation
}

// Engine does the node's transactions. It is safe for use by several
// goroutines, and by several processes at once.
type Engine struct {
	Config
	*records
	*sandboxes
	*restorer
	*checks
	*attacher
	*keeper

	mu     sync.Mutex // guards latest
	latest map[allocation.Key]Observation
}

// New returns an engine that has begun nothing.
func New(cfg Config) *Engine {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MissingFor == 0 {
		cfg.MissingFor = missingFor
	}
	if cfg.Arrived == nil {
		cfg.Arrived = func([]allocation.Record) error { return nil }
	}
	e := &Engine{Config: cfg, latest: map[allocation.Key]Observation{}}
	e.records = &records{store: cfg.Store, changed: cfg.Changed}
	e.sandboxes = &sandboxes{store: cfg.Store, dir: cfg.StateDir}
	e.restorer = &restorer{records: e.records, sandboxes: e.sandboxes, cfg: &e.Config}
	e.checks = &checks{store: cfg.Store, sys: cfg.Sys, options: cfg.Options}
	e.attacher = &attacher{
		records: e.records, sandboxes: e.sandboxes, restorer: e.restorer, checks: e.checks, jobs: newJobs(),
		attempts: newAttempts(func() time.Time { return e.Now() }), timeout: cfg.AttachTimeout, arrived: cfg.Arrived,
	}
	e.keeper = &keeper{records: e.records, sandboxes: e.sandboxes, background: e.attacher.jobs}
	return e
}

// Close waits until the jobs under way have ended, or ctx has. A job that
// pauses before its next try ends at once; what is left is for Reconcile of the
// next engine.
func (e *Engine) Close(ctx context.Context) { e.jobs.close(ctx) }

// otherPod is the error for a link that another pod has.
func otherPod(r allocation.Record) error {
	if !r.Device.HasLink() {
		return fmt.Errorf("%s is not this pod's: another pod has it, and it can be one pod's only", r)
	}
	return fmt.Errorf("%s is not in this pod: another pod has it, and an interface can be in one only", r)
}
