//go:build vm

package netdev

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// The tests of this file need the NICs of test/vm's VM: `make test-vm`.

const (
	pciDevices = "/sys/bus/pci/devices/"
	fakeMood   = "/sys/module/fakenic/parameters/mood"
	settleVM   = 20 * time.Second // for a NIC that negotiates its speed, in a slow VM
)

// vmNIC returns the name and the parent device of the n-th NIC of a driver.
func vmNIC(t *testing.T, driver string, n int) (name, parent string) {
	t.Helper()
	all, _ := filepath.Glob("/sys/class/net/*/device/driver")
	slices.Sort(all)
	for _, path := range all {
		link, _ := os.Readlink(path)
		if filepath.Base(link) != driver {
			continue
		}
		if n--; n < 0 {
			device, _ := filepath.EvalSymlinks(filepath.Dir(path))
			return filepath.Base(filepath.Dir(filepath.Dir(path))), filepath.Base(device)
		}
	}
	t.Fatalf("no NIC of %s in %v", driver, all)
	return "", ""
}

// vmWorld makes a host with a NIC as h0, and runs the commands there.
func vmWorld(t *testing.T, driver, onHost string) (w *world, parent string) {
	t.Helper()
	name, parent := vmNIC(t, driver, 0)
	w = &world{t: t, Host: nstest.New(t), Pod: nstest.New(t)}
	if out, err := (&nstest.NS{Path: "/proc/1/ns/net"}).Try("ip link set " + name + " name h0 netns " + w.Host.Path); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { w.Host.Lines("ip link set h0 down\nip link set h0 name " + name + " netns 1") })
	lines(t, w.Host, "ip link set lo up\n"+onHost+"\nip link set h0 up")
	w.host, w.pod = open(t, w.Host.Path), open(t, w.Pod.Path)
	return w, parent
}

// lines runs each line as a command. dcb(8) of iproute2 6.1 takes an answer for
// a wrong one ("Protocol error") when the second changes between its requests,
// so it is run again.
func lines(t *testing.T, n *nstest.NS, commands string) {
	t.Helper()
	for line := range strings.Lines(commands) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		out, err := n.Try(line)
		for range 5 {
			if err == nil || !strings.Contains(out, "Protocol error") {
				break
			}
			out, err = n.Try(line)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

// hardwareShows are the commands that show the hardware settings of h0, and
// dcbShows those that only fakenic answers.
var (
	hardwareShows = []string{
		"ethtool h0", "ethtool -a h0", "ethtool -c h0", "ethtool -g h0", "ethtool -k h0", "ethtool -l h0", "ethtool -x h0", "ethtool -n h0",
		"ethtool -n h0 rx-flow-hash tcp4", "ethtool -n h0 rx-flow-hash udp6", "ethtool --show-eee h0", "ethtool --show-fec h0", "ethtool --show-priv-flags h0",
		"ethtool -Q h0 queue_mask 0xf --show-coalesce", "ethtool --get-phy-tunable h0 downshift",
		"ethtool --get-tunable h0 rx-copybreak tx-copybreak pfc-prevention-tout", "ip -details address show dev h0",
	}
	dcbShows = []string{
		"dcb ets show dev h0", "dcb pfc show dev h0", "dcb buffer show dev h0", "dcb maxrate show dev h0", "dcb app show dev h0", "dcb dcbx show dev h0",
	}
)

// showAll makes a script of these commands and returns its path.
var showAll = sync.OnceValue(func() string {
	path := filepath.Join(os.TempDir(), "show-all")
	var script strings.Builder
	for _, c := range hardwareShows {
		fmt.Fprintf(&script, "echo '# %s'; %s 2>&1\n", c, c)
	}
	fmt.Fprintln(&script, "[ -z \"$1\" ] && exit")
	for _, c := range dcbShows {
		fmt.Fprintf(&script, "echo '# %s'; %s 2>&1\n", c, c)
	}
	if err := os.WriteFile(path, []byte(script.String()), 0o700); err != nil {
		panic(err)
	}
	return path
})

// all returns what the commands print, and their errors where the NIC has no such
// setting.
func (w *world) all() string {
	w.t.Helper()
	command := "sh " + showAll()
	if _, err := w.Host.Try("dcb dcbx show dev h0"); err == nil {
		command += " dcb"
	}
	out, _ := w.Host.Try(command)
	stamp, err := readTimestamping(w.host.conn, Link{Name: "h0"})
	return fmt.Sprintf("%s\n# timestamping\n%v %v\n", out, stamp, err)
}

// settledVM returns what is shown when it no longer changes.
func (w *world) settledVM() string {
	w.t.Helper()
	last := w.all()
	for end := time.Now().Add(settleVM); time.Now().Before(end); {
		time.Sleep(time.Second)
		now := w.all()
		if now == last {
			break
		}
		last = now
	}
	return last
}

// sameHardware fails the test unless everything is shown as before, now or
// when the NIC has settled.
func (w *world) sameHardware(want string) {
	w.t.Helper()
	var got string
	for end := time.Now().Add(settleVM); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if got = w.all(); got == want {
			return
		}
	}
	w.t.Errorf("hardware settings are not as before (-before +now):\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
}

// fakeOnHost and fakeInPod set all that fakenic has, each to other values.
const (
	fakeOnHost = `
		ethtool -s h0 autoneg off speed 10000 duplex full
		ethtool -s h0 wol gs sopass 01:02:03:04:05:06
		ethtool -s h0 msglvl 5
		ethtool -L h0 combined 6
		ethtool -G h0 rx 256 tx 128
		ethtool -C h0 rx-usecs 11
		ethtool -Q h0 queue_mask 0x4 --coalesce rx-usecs 22
		ethtool -A h0 rx on tx off
		ethtool -K h0 loopback on
		ethtool --set-priv-flags h0 second on
		ethtool --set-fec h0 encoding rs
		ethtool --set-eee h0 eee on tx-lpi on tx-timer 7 advertise 0x8
		ethtool --set-tunable h0 rx-copybreak 33 tx-copybreak 44 pfc-prevention-tout 55
		ethtool --set-phy-tunable h0 downshift on count 3
		ethtool -X h0 weight 1 2 3
		ethtool -X h0 hkey 28:27:26:25:24:23:22:21:20:1f:1e:1d:1c:1b:1a:19:18:17:16:15:14:13:12:11:10:0f:0e:0d:0c:0b:0a:09:08:07:06:05:04:03:02:01
		ethtool -N h0 rx-flow-hash tcp4 sdfn
		ethtool -N h0 flow-type tcp4 dst-port 80 action 2 loc 5
		ethtool -N h0 flow-type udp4 src-ip 192.0.2.1 action 1 loc 9
		dcb ets set dev h0 tc-tsa all:ets tc-bw 0:50 1:50 2:0 3:0 4:0 5:0 6:0 7:0 prio-tc all:0 1:1
		dcb pfc set dev h0 prio-pfc 3:on
		dcb buffer set dev h0 prio-buffer 3:1 buffer-size 1:4096
		dcb maxrate set dev h0 tc-maxrate 1:1Gbit
		dcb app add dev h0 dscp-prio 10:3`
	fakeInPod = `
		ethtool -s net1 autoneg on
		ethtool -s net1 wol p
		ethtool -s net1 msglvl 0x3f
		ethtool -G net1 rx 64 tx 64
		ethtool -C net1 rx-usecs 99
		ethtool -Q net1 queue_mask 0x6 --coalesce rx-usecs 77
		ethtool -A net1 rx off tx on
		ethtool -K net1 loopback off
		ethtool --set-priv-flags net1 first on second off
		ethtool --set-fec net1 encoding baser
		ethtool --set-eee net1 eee off
		ethtool --set-tunable net1 rx-copybreak 1 tx-copybreak 2 pfc-prevention-tout 3
		ethtool --set-phy-tunable net1 downshift off
		ethtool -X net1 equal 2
		ethtool -L net1 combined 2
		ethtool -X net1 hkey 00:27:26:25:24:23:22:21:20:1f:1e:1d:1c:1b:1a:19:18:17:16:15:14:13:12:11:10:0f:0e:0d:0c:0b:0a:09:08:07:06:05:04:03:02:01
		ethtool -N net1 rx-flow-hash tcp4 s
		ethtool -N net1 rx-flow-hash udp6 sd
		ethtool -N net1 delete 5
		ethtool -N net1 delete 9
		ethtool -N net1 flow-type tcp4 dst-port 81 action 1 loc 5
		ethtool -N net1 flow-type tcp4 dst-port 82 action 1 loc 6
		dcb ets set dev net1 tc-tsa all:strict prio-tc all:0
		dcb pfc set dev net1 prio-pfc all:on
		dcb buffer set dev net1 prio-buffer 3:2 buffer-size 1:0
		dcb maxrate set dev net1 tc-maxrate 1:2Gbit
		dcb app add dev net1 dscp-prio 11:4
		dcb dcbx set dev net1 lld-managed`
	vfsOnHost = `
		ip link set h0 vf 0 mac 02:00:00:00:01:00
		ip link set h0 vf 0 vlan 100 qos 3
		ip link set h0 vf 0 min_tx_rate 10 max_tx_rate 100
		ip link set h0 vf 1 spoofchk on
		ip link set h0 vf 1 trust on
		ip link set h0 vf 1 state disable
		ip link set h0 vf 2 query_rss on
		ip link set h0 vf 2 vlan 7 proto 802.1ad
		ip link set h0 vf 3 mac 02:00:00:00:01:03`
	vfsInPod = `
		ip link set net1 vf 0 mac 02:00:00:00:66:00
		ip link set net1 vf 0 vlan 0
		ip link set net1 vf 0 min_tx_rate 0 max_tx_rate 7
		ip link set net1 vf 1 spoofchk off
		ip link set net1 vf 1 trust off
		ip link set net1 vf 1 state enable
		ip link set net1 vf 2 query_rss off
		ip link set net1 vf 2 vlan 8
		ip link set net1 vf 3 trust on`
)

// stamp sets the timestamping of a link, for which there is no command.
func (w *world) stamp(n *NetNS, link string, tx, rx uint32) {
	w.t.Helper()
	b := make([]byte, timestampingSize)
	binary.NativeEndian.PutUint32(b[4:], tx)
	binary.NativeEndian.PutUint32(b[8:], rx)
	if err := n.conn.ioctl(unix.SIOCSHWTSTAMP, link, "test", b); err != nil {
		w.t.Errorf("set timestamping: %v", err)
	}
}

func setMood(t *testing.T, mood string) {
	t.Helper()
	if err := os.WriteFile(fakeMood, []byte(mood), 0); err != nil {
		t.Fatal(err)
	}
}

// hostilePF attaches fakenic's physical function, and changes in the pod all
// that it has.
func hostilePF(t *testing.T) (w *world, before string, p Plan) {
	t.Helper()
	setMood(t, "0")
	w, parent := vmWorld(t, "fakenic", fakeOnHost)
	if err := os.WriteFile(pciDevices+parent+"/sriov_numvfs", []byte("4"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		setMood(t, "0")
		if err := os.WriteFile(pciDevices+parent+"/sriov_numvfs", []byte("0"), 0); err != nil {
			t.Error(err)
		}
	})
	w.Host.Lines(vfsOnHost)
	w.stamp(w.host, "h0", 1, 1)
	before = w.settledVM()
	p = w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	lines(t, w.Pod, fakeInPod+vfsInPod)
	w.stamp(w.pod, "net1", 0, 0)
	return w, before, p
}

// TestVMHostileHardware checks that all hardware settings and those of a
// physical function's VFs are as before when the pod has changed each.
func TestVMHostileHardware(t *testing.T) {
	w, before, p := hostilePF(t)
	if result := w.detach(p)[0]; len(result.Unset) > 0 || result.Name != "h0" {
		t.Errorf("Detach: got %+v", result)
	}
	w.sameHardware(before)
}

// TestVMDriverRefuses checks that what the driver refuses, and what it accepts
// without effect, is reported by its name.
func TestVMDriverRefuses(t *testing.T) {
	for mood, because := range map[string]string{"1": unix.EBUSY.Error(), "2": errNoEffect.Error()} {
		t.Run(because, func(t *testing.T) {
			w, before, p := hostilePF(t)
			setMood(t, mood)
			result := w.detach(p)[0]
			all := strings.Join(result.Unset, "\n")
			for _, what := range []string{"private flags", "channels", "rings", "forward error correction", "energy-efficient Ethernet", "wake-on-LAN", "rx-copybreak",
				"PHY downshift", "timestamping", "RSS", "hashed fields", "n-tuple rule", "DCB", "VF", "virtual functions"} {
				if mood == "1" && what == "virtual functions" {
					what = "hardware address of VF 0"
				}
				if !strings.Contains(all, what) && !(mood == "2" && (what == "DCB" || what == "VF")) {
					t.Errorf("%s is not named in\n%s", what, all)
				}
			}
			if !strings.Contains(all, because) {
				t.Errorf("%q is not named in\n%s", because, all)
			}
			if strings.Contains(all, "01:02:03:04:05:06") || strings.Contains(all, "010203040506") {
				t.Errorf("the password is named in\n%s", all)
			}
			setMood(t, "0")
			w.Host.Run("ip link property add dev h0 altname " + p.ID.Tag) // until it is restored
			if result := w.detach(p)[0]; len(result.Unset) > 0 {
				t.Errorf("Detach again: got %+v", result)
			}
			w.sameHardware(before)
		})
	}
}

// addRules adds n-tuple rules.
func (w *world) addRules(n *NetNS, link string, from, count int) {
	w.t.Helper()
	for i := range count {
		b := command(unix.ETHTOOL_SRXCLSRLINS, rxSize)
		binary.NativeEndian.PutUint32(b[rxRule:], 1) // TCP_V4_FLOW
		binary.NativeEndian.PutUint32(b[rxRule+ruleLocation:], uint32(from+i))
		if err := n.conn.ethtool(link, "test", b); err != nil {
			w.t.Fatalf("add rule %d: %v", from+i, err)
		}
	}
}

func (w *world) rules() []byte {
	w.t.Helper()
	b, err := readRules(w.host.conn, Link{Name: "h0"})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// TestVMManyRules checks that more n-tuple rules than are recorded are deleted,
// and reported where they are the host's.
func TestVMManyRules(t *testing.T) {
	w, _ := vmWorld(t, "fakenic", "")
	w.addRules(w.host, "h0", 100, 3)
	before := w.rules()
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	w.addRules(w.pod, "net1", 200, maxRules)
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	if now := w.rules(); !bytes.Equal(before, now) {
		t.Errorf("rules: got %d bytes, want %d", len(now), len(before))
	}
	w.addRules(w.host, "h0", 200, maxRules)
	p = w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	if result := w.detach(p)[0]; len(result.Unset) != 1 || !strings.Contains(result.Unset[0], errTooManyRules.Error()) {
		t.Errorf("Detach: got %q", result.Unset)
	}
	b := w.rules()
	setMood(t, "0")
	for at := range slices.Chunk(b[rulesHeader:], 4) { // leave none
		r := make([]byte, rxSize)
		copy(r[rxRule+ruleLocation:], at)
		if err := w.host.conn.change(Link{Name: "h0"}, ethtoolChange("test", unix.ETHTOOL_SRXCLSRLDEL, r)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVMDrivers checks that NICs of several drivers are restored with their
// hardware settings, whichever of them a pod has changed, and that one which
// cannot be restored is reported.
func TestVMDrivers(t *testing.T) {
	if err := os.WriteFile("/sys/bus/netdevsim/new_device", []byte("1 1 4"), 0); err != nil {
		t.Fatal(err)
	}
	type settings struct{ onHost, inPod, unset string }
	for driver, all := range map[string][]settings{
		"e1000e": {
			{onHost: "ethtool -s h0 wol ug\nethtool -G h0 rx 128", inPod: "ethtool -s net1 autoneg off speed 100 duplex half\nethtool -s net1 wol d\nethtool -s net1 msglvl 0\nethtool -G net1 rx 512 tx 512\nethtool -K net1 tso off rxvlan off\nethtool -C net1 rx-usecs 50\nethtool -A net1 autoneg off rx off tx off"},
			{onHost: "ethtool -s h0 autoneg off speed 100 duplex full", inPod: "ethtool -s net1 autoneg on\nethtool -s net1 wol p"},
			{onHost: "ethtool -s h0 autoneg on advertise 0x20", inPod: "ethtool -s net1 autoneg on advertise 0xf"},
		},
		"e1000":   {{onHost: "ethtool -s h0 msglvl 3", inPod: "ethtool -s net1 autoneg off speed 10 duplex half\nethtool -s net1 msglvl 9\nethtool -G net1 rx 512"}},
		"vmxnet3": {{inPod: "ethtool -G net1 rx 512\nethtool -s net1 wol g\nethtool -K net1 tso off"}},
		"virtio_net": {
			{onHost: "ethtool -s h0 speed 1000 duplex full", inPod: "ethtool -s net1 speed 100 duplex half\nethtool -N net1 rx-flow-hash tcp4 sd\nethtool -X net1 hkey 01:da:33:a7:6a:8d:11:c2:4e:0a:b2:6c:a0:92:14:35:fc:a4:19:04:f7:b5:24:0c:67:36:a2:81:99:22:07:2d:e6:76:9d:30:95:5e:10:cc"},
			{inPod: "ethtool -s net1 speed 100 duplex half"},
		},
		"8139cp": {{onHost: "ethtool -s h0 wol p", inPod: "ethtool -s net1 autoneg off speed 10 duplex half\nethtool -s net1 wol g\nethtool -s net1 msglvl 0"}},
		"netdevsim": {
			// Nobody can set that there is no forward error correction.
			{inPod: "ethtool --set-fec net1 encoding rs", unset: "set forward error correction: invalid argument"},
			{onHost: "ethtool -C h0 rx-usecs 8\nethtool --set-fec h0 encoding baser", inPod: "ethtool -G net1 rx 64\nethtool -C net1 rx-usecs 9\nethtool --set-fec net1 encoding rs"},
		},
	} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			for i, s := range all {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					w, _ := vmWorld(t, driver, s.onHost)
					before := w.settledVM()
					f, started := w.watch(nil), time.Now()
					p := w.plan("h0", `{"interface":{"name":"net1"}}`)
					t.Logf("%d requests read the link in %v", len(f.seen), time.Since(started))
					w.unwatch()
					p.ID = w.attach(p)[0].ID
					lines(t, w.Pod, s.inPod)
					result := w.detach(p)[0]
					if got := strings.Join(result.Unset, "; "); got != s.unset || result.Name != "h0" {
						t.Errorf("Detach: got %+v", result)
					}
					if s.unset == "" {
						w.sameHardware(before)
					}
				})
			}
		})
	}
}

// TestVMVRF runs TestVRF's checks where the kernel has VRFs.
func TestVMVRF(t *testing.T) {
	if err := tryVRF(); err != nil {
		t.Fatal(err)
	}
	testVRF(t)
}
