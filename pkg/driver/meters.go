package driver

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

// linkStates are how the links stand that are promised to pods, for the gauge
// dra_netdev_links: each link counts for each state that it is in.
var linkStates = map[string]func(allocation.Record) bool{
	"prepared":  func(a allocation.Record) bool { return a.Original == nil && !a.Missing },
	"attached":  func(a allocation.Record) bool { return a.Attached != nil && !a.Missing },
	"displaced": func(a allocation.Record) bool { return a.NotRestored() && !a.Missing },
	"lost":      func(a allocation.Record) bool { return a.Missing },
}

// meters are the driver's metrics.
type metrics struct {
	registry *prometheus.Registry
	moves    *prometheus.CounterVec // by direction and result
	missing  prometheus.Counter
}

// book says which links there are.
func newMetrics(book *allocation.Store) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dra_netdev_moves_total", Help: "Links that were attached to pods or brought home (direction), and how that ended (result).",
		}, []string{"direction", "result"}),
		missing: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dra_netdev_links_lost_total", Help: "Links found to be neither in their pod nor on the host.",
		}),
	}
	m.registry.MustRegister(m.moves, m.missing)
	for state, is := range linkStates {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dra_netdev_links", ConstLabels: prometheus.Labels{"state": state},
			Help: "Links that are promised to pods, by state. Displaced: not in a pod, and not yet home as it was.",
		}, func() float64 { return float64(len(book.Find(is))) }))
	}
	return m
}

// moved counts a link that was moved, or was to be.
func (m *metrics) moved(direction string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.moves.WithLabelValues(direction, result).Inc()
}
