package netdev

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// What a config sets below /proc/sys/net. The files are opened by a thread in the
// pod's namespace in our own /proc: the mounts of the pod do not count. On the
// host nothing is to be done: the move resets all, and what the link had there is
// restored by other rows.

const (
	sysctlInPod  = "the config's, else the namespace's defaults"
	sysctlIfname = "IFNAME" // in a name of a sysctl, the interface
)

var sysctlProperties = []property{{
	name: "settings of neighbor tables (/proc/sys/net/ipv4/neigh, ipv6/neigh)", inPod: sysctlInPod,
	side:  sidePod,
	read:  readSysctls,
	want:  wantSysctls,
	check: checkSysctls,
	steps: sysctlSteps,
}}

// wantSysctls omits what this kernel does not have and the config can do without.
func wantSysctls(want *State, original State, c nic.Config) (omitted []string) {
	want.Sysctls = nil
	for _, s := range c.Interface.SysctlList() {
		switch {
		case s.IfKnown && strings.HasPrefix(s.Name, "net.ipv6.") && (len(original.Conf6) == 0 || want.MTU < minMTUIPv6):
			continue // the interface has no IPv6
		case s.IfKnown && !known(s.Name):
			omitted = append(omitted, fmt.Sprintf("%s: the node's kernel has no %s", s.Field, s.Name))
			continue
		case want.Sysctls == nil:
			want.Sysctls = map[string]string{}
		}
		want.Sysctls[s.Name] = s.Value
		if mode, err := strconv.ParseUint(s.Value, 10, 8); err == nil && s.Name == "net.ipv6.conf.IFNAME.addr_gen_mode" {
			want.AddrGenMode = uint8(mode)
		}
	}
	want.ignoreRAs(original)
	return omitted
}

// sysctlPath returns the file of a setting for an interface in the namespace of
// the calling thread. No other place can be meant: config and name were checked,
// and the kernel gives no interface a name with a slash.
func sysctlPath(name, ifname string) string {
	parts := strings.Split(name, ".")
	parts[slices.Index(parts, sysctlIfname)] = ifname
	return filepath.Join("/proc/sys", filepath.Join(parts...))
}

// known reports whether the kernel has a setting. Any interface shows it.
func known(name string) bool {
	_, err := os.Stat(sysctlPath(name, "lo"))
	return err == nil
}

func readSysctls(r *reader, s *State) error {
	if len(r.want.Sysctls) == 0 {
		return nil
	}
	s.Sysctls = map[string]string{}
	var errs []error
	err := r.Within(func() {
		for name := range r.want.Sysctls {
			b, err := os.ReadFile(sysctlPath(name, r.link.Name))
			if err == nil {
				s.Sysctls[name] = strings.TrimSpace(string(b))
			} else if !errors.Is(err, fs.ErrNotExist) { // what is missing shows when it is set
				errs = append(errs, err)
			}
		}
	})
	return join(append(errs, err)...)
}

// sysctlSteps set one setting each.
func sysctlSteps(_ Link, have, want State) []step {
	var steps []step
	for _, name := range slices.Sorted(maps.Keys(want.Sysctls)) {
		value := want.Sysctls[name]
		if sameSysctl(name, have.Sysctls[name], value) {
			continue
		}
		what := fmt.Sprintf("set %s %s", strings.Replace(name, sysctlIfname, want.Name, 1), value)
		steps = append(steps, step{message: message{what: what}, do: func(n *NetNS) outcome {
			err := n.conn.allowed(what)
			if err == nil {
				err = n.writeSysctl(sysctlPath(name, want.Name), value)
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", what, err)
			}
			return outcome{changed: true, err: err}
		}})
	}
	return steps
}

func (n *NetNS) writeSysctl(path, value string) error {
	var write error
	err := n.Within(func() { write = writeFile(path, value) })
	return join(err, write)
}

// writeFile writes to a file that exists.
func writeFile(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return join(err, f.Close())
}
