package driver

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
)

// interfaceStates are the states of dra_netdev_interfaces. An interface that is
// missing counts as such only.
var interfaceStates = map[string]func(allocation.Record) bool{
	"prepared":     func(r allocation.Record) bool { return r.Attachment == nil && !r.Missing() },
	"attaching":    func(r allocation.Record) bool { return r.Attaching() && !r.Missing() },
	"attached":     func(r allocation.Record) bool { return r.Attached() && !r.Missing() },
	"not_restored": func(r allocation.Record) bool { return r.NotRestored() && !r.Missing() },
	"missing":      allocation.Record.Missing,
}

// metrics are the driver's metrics.
type metrics struct {
	registry   *prometheus.Registry
	operations *prometheus.CounterVec // by operation and result
	missing    prometheus.Counter
}

func newMetrics(store *allocation.Store, added *additions) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dra_netdev_operations_total", Help: "Interfaces that were attached to pods or restored on the host (operation), by result.",
		}, []string{"operation", "result"}),
		missing: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dra_netdev_interfaces_missing_total", Help: "Interfaces found to be neither in their pod nor on the host.",
		}),
	}
	m.registry.MustRegister(m.operations, m.missing,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dra_netdev_attributes_file_refused", Help: "1 while the file of --attributes cannot be used and the attributes that were last accepted are.",
		}, func() float64 {
			if added.fault() != nil {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dra_netdev_attributes_unused", Help: "Entries of --attributes that match no device, and attributes of entries that were not added to a device.",
		}, func() float64 { return float64(added.unused()) }))
	for state, is := range interfaceStates {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dra_netdev_interfaces", ConstLabels: prometheus.Labels{"state": state},
			Help: "Interfaces of prepared claims, by state. not_restored: in no pod, and not yet on the host as it was.",
		}, func() float64 { return float64(len(store.Find(is))) }))
	}
	return m
}

// changed counts what a change has ended or begun.
func (m *metrics) changed(c attachment.Change) {
	if c.Operation != "" {
		result := "success"
		if c.Err != nil {
			result = "error"
		}
		m.operations.WithLabelValues(c.Operation, result).Inc()
	}
	if c.After.Missing() && !c.Before.Missing() {
		m.missing.Inc()
	}
}
