package netdev

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A link's settings of the ARP and NDP tables are read as files: the kernel's dump of
// them (RTM_GETNEIGHTBL) is of all links of the namespace, and takes 2.7 ms with 200.

// neighFiles are the settings, each in one unit: unres_qlen follows from
// unres_qlen_bytes, retrans_time from retrans_time_ms.
var neighFiles = []string{
	"anycast_delay", "app_solicit", "base_reachable_time_ms", "delay_first_probe_time", "gc_stale_time", "interval_probe_time_ms", "locktime",
	"mcast_resolicit", "mcast_solicit", "proxy_delay", "proxy_qlen", "retrans_time_ms", "ucast_solicit", "unres_qlen_bytes",
}

// neighFile is the file of a setting in the namespace of the calling thread.
func neighFile(family, link, name string) string {
	return filepath.Join("/proc/sys/net", family, "neigh", link, name)
}

// neighSettings returns a link's settings, as "ipv4/locktime". A link without IPv6 has
// none of its settings.
func (n *NetNS) neighSettings(link string) (map[string]string, error) {
	all := map[string]string{}
	var err error
	entered := n.Within(func() {
		for _, family := range []string{"ipv4", "ipv6"} {
			for _, name := range neighFiles {
				text, e := os.ReadFile(neighFile(family, link, name))
				switch {
				case e == nil:
					all[family+"/"+name] = strings.TrimSpace(string(text))
				case !errors.Is(e, fs.ErrNotExist) && err == nil:
					err = fmt.Errorf("read settings of neighbor tables: %w", e)
				}
			}
		}
	})
	return all, join(entered, err)
}

// setNeighSettings sets what differs.
func (n *NetNS) setNeighSettings(link string, want map[string]string) (done outcome) {
	have, err := n.neighSettings(link)
	if err != nil {
		return outcome{err: err}
	}
	done.err = n.Within(func() {
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if v, ok := have[key]; !ok || v == want[key] {
				continue
			}
			done.changed = true
			what := fmt.Sprintf("set neighbor setting %s=%s", key, want[key])
			family, name, _ := strings.Cut(key, "/")
			err := n.conn.allowed(what)
			if err == nil {
				err = os.WriteFile(neighFile(family, link, name), []byte(want[key]), 0)
			}
			if err != nil {
				done.refused = append(done.refused, failure{what, err})
			}
		}
	})
	return done
}
