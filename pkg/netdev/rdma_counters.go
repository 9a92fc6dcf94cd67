package netdev

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
)

// rdmaCounters are the counters of a port that are reported, of those that it has:
// what every device counts, and what tells congestion and loss. Those of data are
// in units of 4 bytes.
var rdmaCounters = []string{
	// ports/N/counters, of all devices that have a port of InfiniBand or RoCE.
	"port_rcv_data", "port_xmit_data", "port_rcv_packets", "port_xmit_packets", "port_rcv_errors", "port_xmit_discards", "port_xmit_wait",
	"link_downed", "symbol_error",
	// ports/N/hw_counters, as mlx5 calls them.
	"out_of_sequence", "out_of_buffer", "packet_seq_err", "rnr_nak_retry_err", "local_ack_timeout_err", "duplicate_request",
	"np_cnp_sent", "rp_cnp_handled", "np_ecn_marked_roce_packets", "rx_icrc_encapsulated", "roce_adp_retrans",
	// As rxe, bnxt_re and efa do.
	"sent_pkts", "rcvd_pkts", "rx_pkts", "tx_pkts", "rx_bytes", "tx_bytes",
}

// RDMACounters returns the counters of a link's RDMA port, by name, from the pod
// that has the link; nil without RDMA. They are cumulative since the device was
// made.
func (n *NetNS) RDMACounters(s State) map[string]uint64 {
	if s.RDMA == nil || s.RDMA.Port == 0 {
		return nil
	}
	all := map[string]uint64{}
	name := ""
	n.rdma(func(c *conn) error {
		d, err := c.rdmaDevice(*s.RDMA)
		if err == nil {
			name = d.Name // the pod may have changed it
			c.rdmaHardwareCounters(d, s.RDMA.Port, all)
		}
		return err
	})
	if name == "" || strings.Contains(name, "/") {
		return nil
	}
	n.withSysfs(func(links string) error {
		dir := path.Join(links, "../infiniband", name, "ports", strconv.Itoa(int(s.RDMA.Port)), "counters")
		for _, counter := range rdmaCounters {
			b, err := os.ReadFile(path.Join(dir, counter))
			if value, bad := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil && bad == nil {
				all[counter] = value
			}
		}
		return nil
	})
	return all
}

// rdmaHardwareCounters reads those that only some devices have (`rdma statistic
// show`). sysfs has them in the host's namespace only.
func (c *conn) rdmaHardwareCounters(d rdmaDevice, port uint32, all map[string]uint64) {
	b, err := c.get(message{what: "get RDMA counters", typ: rdmaType(nl.RDMA_NLDEV_CMD_STAT_GET), body: []nl.NetlinkRequestData{
		rdmaIndex(nl.RDMA_NLDEV_ATTR_DEV_INDEX, d.Index), rdmaIndex(nl.RDMA_NLDEV_ATTR_PORT_INDEX, port),
	}})
	if err != nil {
		return // it has none
	}
	each(b, func(typ uint16, v []byte) {
		if typ != nl.RDMA_NLDEV_ATTR_STAT_HWCOUNTERS {
			return
		}
		each(v, func(_ uint16, entry []byte) {
			name, value := "", uint64(0)
			each(entry, func(typ uint16, v []byte) {
				switch typ {
				case nl.RDMA_NLDEV_ATTR_STAT_HWCOUNTER_ENTRY_NAME:
					name = text(v)
				case nl.RDMA_NLDEV_ATTR_STAT_HWCOUNTER_ENTRY_VALUE:
					value = u64(v)
				}
			})
			if slices.Contains(rdmaCounters, name) {
				all[name] = value
			}
		})
	})
}
