package netdev

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A link's settings in sysfs, most of which are of a queue: which CPUs serve it (RPS,
// XPS, scaling.rst in the kernel's documentation), and how much it takes. They are
// recorded as their files, without those that have the kernel's default.

// sysfsSettings are the files below the link's directory, with their defaults.
var sysfsSettings = []struct{ pattern, usual string }{
	{"threaded", "0"},
	{"gro_flush_timeout", "0"},
	{"napi_defer_hard_irqs", "0"},
	{"queues/rx-*/rps_cpus", "0"},
	{"queues/rx-*/rps_flow_cnt", "0"},
	{"queues/tx-*/xps_cpus", "0"},
	{"queues/tx-*/xps_rxqs", "0"},
	{"queues/tx-*/tx_maxrate", "0"},
	{"queues/tx-*/byte_queue_limits/limit_min", "0"},
	{"queues/tx-*/byte_queue_limits/limit_max", "1879048192"}, // DQL_MAX_LIMIT
	{"queues/tx-*/byte_queue_limits/hold_time", "1000"},       // ms
}

// usualSetting reports whether a file has the kernel's default. A mask of CPUs has
// commas and as many zeros as the kernel supports CPUs.
func usualSetting(file, value string) bool {
	for _, s := range sysfsSettings {
		if ok, _ := path.Match(s.pattern, file); ok {
			return value == s.usual || s.usual == "0" && strings.Trim(value, "0,") == ""
		}
	}
	return true
}

// withSysfs calls f with the directory of the namespace's links in a sysfs of its own:
// that at /sys may be another namespace's, or read-only.
func (n *NetNS) withSysfs(f func(links string) error) error {
	var err error
	entered := n.Within(func() {
		var fsys, mount int
		if fsys, err = unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC); err != nil {
			return
		}
		defer unix.Close(fsys)
		if err = unix.FsconfigCreate(fsys); err != nil {
			return
		}
		if mount, err = unix.Fsmount(fsys, unix.FSMOUNT_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(mount)
		err = f(fmt.Sprintf("/proc/self/fd/%d/class/net", mount))
	})
	return join(entered, err)
}

// The kernel tries to take its lock for links to read a queue's XPS, and starts again if
// another one has it: 1.5 ms a file on a busy machine, and up to 16 ms while other
// links move. So these settings are not read with the others, for which a handler of
// the runtime waits, but between the move and the link's set-up: a NIC's driver may
// change them when the link is set up. XPS that would take longer is not read, and
// stays as it is.
const (
	xpsBudget = time.Second     // of the time for the attach
	xpsLater  = 5 * time.Second // on the host after the detach
	xpsUnread = "xps unread"    // in the place of a file
)

func xps(file string) bool { return strings.Contains(file, "/xps_") }

var errNotRead = errors.New("it was not read before the attach: the kernel was busy")

// readSysfs returns the settings of a link in sysfs, by their files. What it does not
// have, or does not report, is omitted, and XPS when the budget is spent.
func readSysfs(link string, budget time.Duration) map[string]string {
	all := map[string]string{}
	dir := os.DirFS(link)
	var end time.Time
	for _, s := range sysfsSettings {
		files, _ := fs.Glob(dir, s.pattern)
		for _, file := range files {
			if xps(file) && end.IsZero() {
				end = time.Now().Add(budget)
			}
			if xps(file) && !time.Now().Before(end) {
				all[xpsUnread] = "true"
				break
			}
			if b, err := os.ReadFile(path.Join(link, file)); err == nil {
				all[file] = strings.TrimSpace(string(b))
			}
		}
	}
	return all
}

// sysfsSettings returns those that are not the kernel's defaults.
func (n *NetNS) sysfsSettings(link string, budget time.Duration) (all map[string]string, err error) {
	err = n.withSysfs(func(links string) error {
		all = readSysfs(path.Join(links, link), budget)
		return nil
	})
	for file, value := range all {
		if file != xpsUnread && usualSetting(file, value) {
			delete(all, file)
		}
	}
	return all, err
}

// setSysfs gives a link these settings, and the others their defaults. nil: they are
// not known, and stay as they are.
func (n *NetNS) setSysfs(link string, want map[string]string) (done outcome) {
	if want == nil {
		return outcome{}
	}
	done.err = n.withSysfs(func(links string) error {
		dir := path.Join(links, link)
		have := readSysfs(dir, xpsLater)
		for _, s := range sysfsSettings {
			for _, file := range slices.Sorted(maps.Keys(have)) {
				value, recorded := want[file]
				if want[xpsUnread] != "" && !recorded && xps(file) {
					continue
				}
				if ok, _ := path.Match(s.pattern, file); !ok || value == have[file] || !recorded && usualSetting(file, have[file]) {
					continue
				}
				if !recorded {
					value = s.usual
				}
				done.changed = true
				what := fmt.Sprintf("set %s to %s", file, value)
				err := n.conn.allowed(what)
				if err == nil {
					err = os.WriteFile(path.Join(dir, file), []byte(value), 0)
				}
				if err != nil {
					done.refused = append(done.refused, failure{what, err})
				}
			}
		}
		for _, file := range slices.Sorted(maps.Keys(want)) {
			_, ok := have[file]
			switch {
			case file == xpsUnread:
				done.refused = append(done.refused, failure{"XPS of some queues", errNotRead})
			case !ok && !(xps(file) && have[xpsUnread] != ""):
				done.refused = append(done.refused, failure{"set " + file, errNoQueue})
			}
		}
		return nil
	})
	return done
}

// errNoQueue is why a setting of a queue cannot be restored: the link has fewer, as
// its channels could not be restored.
var errNoQueue = errors.New("the interface no longer has it")
