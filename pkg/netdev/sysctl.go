package netdev

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// sysctlAliases are settings that are one and the same, in two units.
var sysctlAliases = map[string]string{"base_reachable_time": "base_reachable_time_ms", "retrans_time": "retrans_time_ms", "unres_qlen": "unres_qlen_bytes"}

// checkSysctls tries what the config asks for on a loopback interface in a
// namespace of its own: the kernel has no list of the values that it takes.
func checkSysctls(_ Link, want State, c nic.Config, add fault) {
	var trials []nic.Sysctl
	for _, s := range c.Interface.SysctlList() {
		if _, wanted := want.Sysctls[s.Name]; !wanted {
			continue
		}
		alias := sysctlAliases[s.Name[strings.LastIndexByte(s.Name, '.')+1:]]
		other := s.Name[:strings.LastIndexByte(s.Name, '.')+1] + alias
		_, both := want.Sysctls[other]
		switch mtu, _ := strconv.Atoi(s.Value); {
		case alias != "" && both:
			add(s.Field, s.Value, "%s is the same setting: set one of them", other)
		case !known(s.Name):
			add(s.Field, s.Value, "the node's kernel has no such setting")
		case strings.HasPrefix(s.Name, "net.ipv6.") && want.MTU < minMTUIPv6:
			add(s.Field, s.Value, "the interface has no IPv6 with an MTU of %d", want.MTU)
		case s.Name == "net.ipv6.conf.IFNAME.disable_ipv6" && s.Value != "0" && want.has6():
			add(s.Field, s.Value, "the interface has IPv6 addresses in the pod")
		case s.Name == "net.ipv6.conf.IFNAME.mtu" && mtu > want.MTU:
			add(s.Field, s.Value, "the interface's own MTU is %d", want.MTU)
		default:
			trials = append(trials, s)
		}
	}
	for i, err := range trySysctls(trials) {
		if err != nil {
			add(trials[i].Field, trials[i].Value, "the node's kernel refuses it: %w", err)
		}
	}
}

// triedSysctls are those that this kernel was seen to take, as "name=value".
var triedSysctls sync.Map

// trySysctls returns what the kernel answers to each.
func trySysctls(all []nic.Sysctl) []error {
	errs := make([]error, len(all))
	key := func(s nic.Sysctl) string { return s.Name + "=" + s.Value }
	if !slices.ContainsFunc(all, func(s nic.Sysctl) bool { _, tried := triedSysctls.Load(key(s)); return !tried }) {
		return errs
	}
	err := inScratch(func(*NetNS) {
		for i, s := range all {
			if errs[i] = trySysctl(s); errs[i] == nil {
				triedSysctls.Store(key(s), true)
			}
		}
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

func trySysctl(s nic.Sysctl) error {
	path := sysctlPath(s.Name, "lo")
	err := writeFile(path, s.Value)
	var now []byte
	if err == nil {
		now, err = os.ReadFile(path)
	}
	var at *os.PathError
	switch got := strings.TrimSpace(string(now)); {
	case errors.As(err, &at):
		return at.Err
	case err == nil && !sameSysctl(s.Name, got, s.Value):
		return fmt.Errorf("it takes %q for it: %w", got, unix.EINVAL)
	}
	return err
}

// tick is the most, in ms, by which the kernel rounds a time (HZ=100).
const tick = 10

// inTicks are settings of neighbor tables in 1/100 s, which are rounded too.
var inTicks = []string{"anycast_delay", "locktime", "proxy_delay", "retrans_time"}

// sameSysctl compares two values. The kernel keeps times in ticks, so what is
// read can differ from what was written.
func sameSysctl(name, have, want string) bool {
	h, err := strconv.ParseInt(have, 10, 64)
	w, err2 := strconv.ParseInt(want, 10, 64)
	off := max(h-w, w-h)
	base := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case err != nil || err2 != nil:
		return have == want
	case strings.HasSuffix(base, "_ms"), strings.HasSuffix(base, "_report_interval"):
		return off < tick
	case slices.Contains(inTicks, base):
		return off <= 1
	}
	return off == 0
}
