//go:build vm

package netdev

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestVMEthtoolConfig checks on NICs of several drivers that a config's hardware
// settings apply in the pod, that those of the host are restored, and that what the
// NIC does not have is refused.
func TestVMEthtoolConfig(t *testing.T) {
	if err := os.WriteFile("/sys/bus/netdevsim/new_device", []byte("2 1 4"), 0); err != nil {
		t.Fatal(err)
	}
	for driver, tt := range map[string]struct {
		ethtool string
		inPod   map[string]string // command → lines that it prints
		refused [][2]string       // config, error
	}{
		"e1000e": {
			`{"rings":{"rx":512,"tx":128},"coalesce":{"rxUsecs":50},"pause":{"autoneg":false,"rx":true,"tx":false},"features":{"tso":false,"rxvlan":false},"speed":100,"duplex":"half"}`,
			map[string]string{
				"-g": "RX:\t\t512|TX:\t\t128", "-c": "rx-usecs: 50", "-a": "Autonegotiate:\toff|RX:\t\ton|TX:\t\toff",
				"-k": "tx-tcp-segmentation: off|rx-vlan-offload: off", "": "Advertised link modes:  100baseT/Half|Auto-negotiation: on",
			},
			[][2]string{
				{`{"rings":{"rx":99999}}`, `ethtool.rings.rx: "99999": the interface takes 4096 at most`},
				{`{"speed":10000}`, `ethtool.speed: "10000": the interface does not support it, see ethtool`},
				{`{"channels":{"rx":1}}`, `ethtool.channels.rx: "1": the interface has no such setting`},
			},
		},
		"virtio_net": {
			`{"speed":2500,"autoneg":false,"features":{"gro":false}}`,
			map[string]string{"": "Speed: 2500Mb/s|Duplex: Full", "-k": "generic-receive-offload: off"},
			[][2]string{{`{"autoneg":true}`, `ethtool.autoneg: "true": the interface does not support it`}},
		},
		"vmxnet3": {
			`{"rings":{"rx":512,"tx":1024},"features":{"large-receive-offload":false}}`,
			map[string]string{"-g": "RX:\t\t512|TX:\t\t1024", "-k": "large-receive-offload: off"},
			[][2]string{{`{"rings":{"tx":8192}}`, `ethtool.rings.tx: "8192": the interface takes 4096 at most`}},
		},
		"fakenic": {
			`{"channels":{"combined":2},"rings":{"rx":64},"coalesce":{"rxUsecs":9,"rxFrames":7},"pause":{"rx":true},"features":{"loopback":true,"ntuple":true},"privateFlags":{"first":true},"speed":10000,"autoneg":false}`,
			map[string]string{
				"-l": "Combined:\t2", "-g": "RX:\t\t64|TX:\t\t512", "-c": "rx-usecs: 9|rx-frames: 7", "-a": "RX:\t\ton", "-k": "loopback: on|ntuple-filters: on",
				"--show-priv-flags": "first : on|second: off", "": "Speed: 10000Mb/s|Auto-negotiation: off",
			},
			[][2]string{
				{`{"privateFlags":{"third":true}}`, `ethtool.privateFlags.third: "true": the interface has no such private flag, only ["first" "second"]`},
				{`{"channels":{"combined":0}}`, `ethtool.channels.rx: "0": one queue at least must receive`},
			},
		},
		"netdevsim": {
			`{"rings":{"rx":64},"coalesce":{"rxUsecs":9},"pause":{"rx":true,"tx":true}}`,
			map[string]string{"-g": "RX:\t\t64", "-c": "rx-usecs: 9", "-a": "RX:\t\ton|TX:\t\ton"}, nil,
		},
	} {
		t.Run(driver, func(t *testing.T) {
			w, _ := vmWorld(t, driver, "")
			before := w.settledVM()
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			_, l, err := Read(context.Background(), w.host, p.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range tt.refused {
				var c nic.Config
				if err := json.Unmarshal([]byte(r[0]), &c.Ethtool); err != nil {
					t.Fatal(err)
				}
				if _, _, err := Desired(l, p.Original, c); err == nil || err.Error() != r[1] {
					t.Errorf("%s: got error %v, want %s", r[0], err, r[1])
				}
			}
			p = w.plan("h0", `{"interface":{"name":"net1"},"ethtool":`+tt.ethtool+`}`)
			p.ID = w.attach(p)[0].ID
			for option, lines := range tt.inPod {
				shown := w.Pod.Run("ethtool " + option + " net1")
				if _, current, ok := strings.Cut(shown, "Current hardware settings"); ok {
					shown = current
				}
				for want := range strings.SplitSeq(lines, "|") {
					if !strings.Contains(shown, want) {
						t.Errorf("ethtool %s: the pod lacks %q:\n%s", option, want, shown)
					}
				}
			}
			if result := w.detach(p)[0]; len(result.Unset) > 0 || result.Name != "h0" {
				t.Errorf("Detach: got %+v", result)
			}
			w.sameHardware(before)
		})
	}
}

// TestVMQueues checks that a NIC's settings of queues are restored which a pod has
// changed, and those that its driver may have set when the interface was set up.
func TestVMQueues(t *testing.T) {
	for driver, onHost := range map[string]map[string]string{
		"e1000e": {
			"threaded": "1", "napi_defer_hard_irqs": "2", "queues/rx-0/rps_cpus": "2", "queues/tx-0/byte_queue_limits/limit_min": "3000",
			"queues/tx-0/byte_queue_limits/limit_max": "9000", "queues/tx-0/byte_queue_limits/hold_time": "500",
		},
		"virtio_net": {"queues/rx-0/rps_cpus": "3", "queues/rx-0/rps_flow_cnt": "128", "gro_flush_timeout": "3"},
	} {
		t.Run(driver, func(t *testing.T) {
			w, _ := vmWorld(t, driver, "")
			if done := w.host.setSysfs("h0", onHost); done.err != nil || len(done.refused) > 0 {
				t.Fatalf("set: %+v", done)
			}
			before, err := w.host.sysfsSettings("h0", xpsLater)
			if err != nil || !maps.Equal(before, onHost) {
				t.Fatalf("set: got %v, %v, want %v", before, err, onHost)
			}
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			a := w.attach(p)[0]
			p.ID, p.Original.Queues = a.ID, a.Queues
			in, err := w.pod.sysfsSettings("net1", xpsLater)
			t.Logf("in the pod: %v, %v", in, err)
			if done := w.pod.setSysfs("net1", map[string]string{"gro_flush_timeout": "9"}); done.err != nil || len(done.refused) > 0 {
				t.Errorf("set in the pod: %+v", done)
			}
			if result := w.detach(p)[0]; len(result.Unset) > 0 || result.Name != "h0" {
				t.Errorf("Detach: got %+v", result)
			}
			if now, err := w.host.sysfsSettings("h0", xpsLater); err != nil || !maps.Equal(now, onHost) {
				t.Errorf("got %v, %v, want %v", now, err, onHost)
			}
			w.host.setSysfs("h0", map[string]string{})
		})
	}
}
