package driver

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
)

// rdmaMetrics are the counters of the RDMA ports that are in pods, or serve them, as
// they were seen last. A port has some of a short list of counters.
type rdmaMetrics struct {
	store  *allocation.Store
	latest func(allocation.Record) (attachment.Observation, bool)
}

var rdmaCounter = prometheus.NewDesc("dra_netdev_rdma_port_counter_total",
	"Counter of the RDMA port of an interface that is in a pod, since its attach, by the kernel's name.", []string{"device", "counter"}, nil)

// Describe implements prometheus.Collector.
func (m rdmaMetrics) Describe(all chan<- *prometheus.Desc) { all <- rdmaCounter }

// Collect implements prometheus.Collector.
func (m rdmaMetrics) Collect(all chan<- prometheus.Metric) {
	for _, r := range m.store.Find(allocation.Record.Attached) {
		seen, ok := m.latest(r)
		if !ok || len(seen.RDMA) == 0 || r.Attachment.InPod.State.RDMA == nil {
			continue
		}
		for name, n := range since(seen.RDMA, r.Attachment.InPod.State.RDMA.Base) {
			all <- prometheus.MustNewConstMetric(rdmaCounter, prometheus.CounterValue, float64(n), r.Device.Name, name)
		}
	}
}
