package netdev

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A link's settings under /proc/sys/net (ip-sysctl.rst in the kernel's
// documentation) are initialized anew in each namespace. The kernel returns those
// of IPv4 and IPv6 with the link, as one array each; reading the 130 files would
// cost a fifth of an attach. IPv4's can be set by netlink, IPv6's by file only.

// confFile is the directory of the IPv6 settings in the namespace of the calling
// thread.
const confFile = "/proc/sys/net/ipv6/conf"

// conf6Files are the IPv6 settings that are the same number in the array and
// in their file, by their place in the array (DEVCONF_ in linux/ipv6.h).
var conf6Files = map[int]string{
	0: "forwarding", 1: "hop_limit", 2: "mtu", 3: "accept_ra", 4: "accept_redirects", 5: "autoconf", 6: "dad_transmits",
	7: "router_solicitations", 10: "use_tempaddr", 11: "temp_valid_lft", 12: "temp_prefered_lft", 13: "regen_max_retry",
	14: "max_desync_factor", 15: "max_addresses", 16: "force_mld_version", 17: "accept_ra_defrtr", 18: "accept_ra_pinfo",
	19: "accept_ra_rtr_pref", 21: "accept_ra_rt_info_max_plen", 22: "proxy_ndp", 23: "optimistic_dad", 24: "accept_source_route",
	26: "disable_ipv6", 27: "accept_dad", 28: "force_tllao", 29: "ndisc_notify", 30: "mldv1_unsolicited_report_interval",
	31: "mldv2_unsolicited_report_interval", 32: "suppress_frag_ndisc",
	33: "accept_ra_from_local", 34: "use_optimistic", 35: "accept_ra_mtu", 37: "use_oif_addrs_only", 38: "accept_ra_min_hop_limit",
	39: "ignore_routes_with_linkdown", 40: "drop_unicast_in_l2_multicast", 41: "drop_unsolicited_na", 42: "keep_addr_on_down",
	44: "seg6_enabled", 45: "seg6_require_hmac", 46: "enhanced_dad", 48: "disable_policy", 49: "accept_ra_rt_info_min_plen",
	50: "ndisc_tclass", 51: "rpl_seg_enabled", 52: "ra_defrtr_metric", 53: "ioam6_enabled", 54: "ioam6_id", 56: "ndisc_evict_nocarrier",
	57: "accept_untracked_na", 58: "accept_ra_min_lft", 59: "force_forwarding",
}

// conf6Seconds are those that are milliseconds in the array and seconds in the file.
var conf6Seconds = map[int]string{
	8: "router_solicitation_interval", 9: "router_solicitation_delay", 20: "router_probe_interval", 43: "router_solicitation_max_interval",
}

// conf6Unlisted are those that the array does not have.
var conf6Unlisted = []string{"ioam6_id_wide", "ra_honor_pio_life", "ra_honor_pio_pflag", "regen_min_advance"}

// stableSecretMode is IN6_ADDR_GEN_MODE_STABLE_PRIVACY: addresses are made
// from a secret, which the array does not contain.
const (
	stableSecretMode = 2
	stableSecretFile = "stable_secret"
)

func decodeConf(b []byte) []int32 {
	conf := make([]int32, len(b)/4)
	for i := range conf {
		conf[i] = int32(binary.NativeEndian.Uint32(b[4*i:]))
	}
	return conf
}

// The settings of IP on a link. Those under /proc/sys/net are the namespace's own
// in a pod.
var ipProperties = []property{
	{
		name: "IPv6 settings (/proc/sys/net/ipv6/conf)", inPod: sysctlInPod, side: sideHost,
		read:  readStableSecret,
		steps: conf6Steps,
	},
	{
		name: "IPv6 settings (/proc/sys/net/ipv6/conf)", inPod: sysctlInPod, side: sideHost, phase: last,
		read: func(r *reader, s *State) error {
			return r.Within(func() { s.Conf6Unlisted = readConf6(r.link.Name, conf6Unlisted) })
		},
		steps: func(_ Link, _, want State) []step { return []step{{do: want.setConf6Unlisted()}} },
	},
	{name: "IPv4 settings (/proc/sys/net/ipv4/conf)", inPod: sysctlInPod, side: sideHost, steps: conf4Steps},
	{
		name: "IPv6 token (`ip token`)", inPod: absent, side: sideHost,
		steps: func(l Link, have, want State) []step {
			differs := have.Token.IsValid() && want.Token.IsValid() && have.Token != want.Token
			token := nested(unix.IFLA_AF_SPEC, nested(unix.AF_INET6, attr(iflaInet6Token, want.Token.AsSlice())))
			return messages(optional(set(differs, l.Index, "set IPv6 token "+want.Token.String(), token))...)
		},
	},
	{
		name: "IPv6 address generation mode",
		steps: func(l Link, have, want State) []step {
			mode := nested(unix.IFLA_AF_SPEC, nested(unix.AF_INET6, attr(iflaInet6AddrGenMode, nl.Uint8Attr(want.AddrGenMode))))
			// A namespace without IPv6, or without the link's stable secret, does
			// not accept it; nothing else depends on it.
			differs := have.AddrGenMode != want.AddrGenMode && want.MTU >= minMTUIPv6
			return messages(optional(set(differs, l.Index, fmt.Sprintf("set addrgenmode %d", want.AddrGenMode), mode))...)
		},
	},
}

// conf4Steps returns one message for all IPv4 settings that differ.
func conf4Steps(l Link, have, want State) []step {
	var changed []*nl.RtAttr
	for i := range min(len(have.Conf4), len(want.Conf4)) {
		if have.Conf4[i] != want.Conf4[i] {
			changed = append(changed, attr(i+1, nl.Uint32Attr(uint32(want.Conf4[i])))) // IPV4_DEVCONF_ counts from 1
		}
	}
	conf := nested(unix.IFLA_AF_SPEC, nested(unix.AF_INET, nested(iflaInetConf, changed...)))
	return messages(set(len(changed) > 0, l.Index, "set IPv4 settings", conf)...)
}

// conf6Steps returns one step for all IPv6 settings that differ.
func conf6Steps(l Link, have, want State) []step {
	files := map[string]string{}
	for i := range min(len(have.Conf6), len(want.Conf6)) {
		if have.Conf6[i] == want.Conf6[i] {
			continue
		}
		if name, ok := conf6Files[i]; ok {
			files[name] = strconv.Itoa(int(want.Conf6[i]))
		}
		if name, ok := conf6Seconds[i]; ok {
			files[name] = strconv.Itoa(int(want.Conf6[i]) / 1000)
		}
	}
	if want.StableSecret != "" && have.AddrGenMode != stableSecretMode {
		files[stableSecretFile] = want.StableSecret
	}
	if len(files) == 0 {
		return nil
	}
	return []step{{message: message{what: "set IPv6 settings", optional: true}, do: func(n *NetNS) outcome {
		done := outcome{changed: true}
		done.err = n.Within(func() { done.refused = writeConf6(l.Name, files) })
		return done
	}}}
}

// writeConf6 writes files of a link of the thread's namespace, and readConf6 reads
// those that the kernel has.
func writeConf6(link string, files map[string]string) (refused []failure) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(filepath.Join(confFile, link, name), files[name]); err != nil {
			refused = append(refused, failure{fmt.Sprintf("set IPv6 setting %s=%s", name, files[name]), err})
		}
	}
	return refused
}

func readConf6(link string, names []string) map[string]string {
	values := map[string]string{}
	for _, name := range names {
		if b, err := os.ReadFile(filepath.Join(confFile, link, name)); err == nil {
			values[name] = strings.TrimSpace(string(b))
		}
	}
	return values
}

// setConf6Unlisted writes those that differ. An interface may have no IPv6 now.
func (s State) setConf6Unlisted() func(*NetNS) outcome {
	return func(n *NetNS) (done outcome) {
		if len(s.Conf6Unlisted) == 0 {
			return done
		}
		done.err = n.Within(func() {
			have, files := readConf6(s.Name, conf6Unlisted), map[string]string{}
			for name, value := range s.Conf6Unlisted {
				if now, ok := have[name]; ok && now != value {
					files[name] = value
				}
			}
			done.refused = writeConf6(s.Name, files)
		})
		return done
	}
}

// readStableSecret reads the secret from which a link's addresses are made.
func readStableSecret(r *reader, s *State) error {
	if r.link.AddrGenMode != stableSecretMode {
		return nil
	}
	return r.Within(func() {
		text, _ := os.ReadFile(filepath.Join(confFile, r.link.Name, stableSecretFile)) // none is set: EIO
		s.StableSecret = strings.TrimSpace(string(text))
	})
}
