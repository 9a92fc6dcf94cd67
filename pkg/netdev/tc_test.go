package netdev

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// tcShows are the commands that show the traffic control of h0.
var tcShows = []string{"tc qdisc show dev h0", "tc class show dev h0", "tc filter show dev h0 parent 1:", "tc filter show dev h0 ingress", "tc filter show dev h0 egress", "tc chain show dev h0 ingress"}

// tcFleeting is what changes by itself or has no effect: the numbers of private
// actions and of u32's root tables.
var tcFleeting = regexp.MustCompile(`direct_packets_stat \d+|index \d+ ref 1 bind 1|(fh|ht|link|hashkey) 8[0-9a-f]{2}\b|refcnt \d+|bandwidth \w+ autorate`)

var tcUsed = regexp.MustCompile(`(?m)^\s*used_hw_stats \w+\n|^class cake .*\n`)

func (w *world) tc(more ...string) string {
	w.t.Helper()
	var all []string
	for _, show := range append(tcShows, more...) {
		out, _ := w.Host.Try(show)
		if strings.Contains(show, "chain") { // shown in the order in which they were made
			lines := strings.Split(out, "\n")
			slices.Sort(lines)
			out = strings.Join(lines, "\n")
		}
		all = append(all, "# "+show, tcFleeting.ReplaceAllString(tcUsed.ReplaceAllString(out, ""), "…"))
	}
	return strings.Join(all, "\n")
}

// tcRoundTrip attaches h0 and detaches it, and fails the test unless traffic control
// is then as before. It returns what was before.
func (w *world) tcRoundTrip(config string, more ...string) string {
	w.t.Helper()
	before := w.tc(more...)
	p := w.plan("h0", config)
	p.ID = w.attach(p)[0].ID
	if r := w.detach(p)[0]; len(r.Unset) > 0 {
		w.t.Errorf("not restored: %q", r.Unset)
	}
	now := w.tc(more...)
	for range 20 { // a deleted filter uses its actions for a moment longer
		if now == before {
			break
		}
		time.Sleep(100 * time.Millisecond)
		now = w.tc(more...)
	}
	if d := cmp.Diff(strings.Split(before, "\n"), strings.Split(now, "\n")); d != "" {
		w.t.Errorf("traffic control (-before +now):\n%s", d)
	}
	return before
}

const tcAtIngressLines = `
	tc filter add dev h0 ingress protocol all pref 11 handle 5: u32 divisor 4
	tc filter add dev h0 ingress protocol all pref 11 u32 ht 5:2: match ip src 10.1.0.0/16 action mirred egress redirect dev lo
	tc filter add dev h0 ingress protocol all pref 11 u32 match ip protocol 6 0xff link 5: hashkey mask 0x000000ff at 12
	tc filter add dev h0 ingress protocol ip pref 5 handle ::7 u32 match ip dst 192.0.2.9/32 action mirred ingress mirror dev h0
	tc filter add dev h0 egress protocol ip pref 3 handle 4 bpf bytecode-file BYTECODE classid 1:5
	tc filter add dev h0 ingress protocol all pref 9 chain 4 u32 match u32 0 0 classid 1:7
	tc chain add dev h0 ingress chain 8`

// TestTrafficControl checks that what somebody made is restored on the host, with
// handles, and that the pod gets none of it.
func TestTrafficControl(t *testing.T) {
	tests := []struct{ name, onHost string }{
		{"tbf", "tc qdisc add dev h0 root handle 7: tbf rate 1gbit burst 200k latency 50ms\ntc qdisc add dev h0 parent 7:1 handle 8: bfifo limit 99999"},
		{"tbf, 64-bit rate", "tc qdisc add dev h0 root tbf rate 40gbit burst 10m latency 5ms peakrate 50gbit mtu 9000"},
		{"pfifo_fast", "tc qdisc add dev h0 root handle 3: pfifo_fast"},
		{"noqueue", "tc qdisc add dev h0 root handle 3: noqueue"},
		{"mq", "tc qdisc add dev h0 root handle 3: mq\ntc qdisc add dev h0 parent 3:1 handle 4: pfifo limit 33"},
		{"htb", `tc qdisc add dev h0 root handle 1: htb default 20 r2q 7
			tc class add dev h0 parent 1: classid 1:1 htb rate 30gbit ceil 40gbit burst 9m cburst 10m
			tc class add dev h0 parent 1:1 classid 1:30 htb rate 1mbit ceil 2mbit prio 3 quantum 3000 mpu 64 overhead 24
			tc class add dev h0 parent 1:1 classid 1:2 htb rate 10mbit
			tc class add dev h0 parent 1:2 classid 1:20 htb rate 5mbit
			tc qdisc add dev h0 parent 1:20 handle 20: tbf rate 1mbit burst 10k latency 50ms
			tc qdisc add dev h0 parent 20:1 handle 5: pfifo limit 7
			tc filter add dev h0 parent 1: protocol ip pref 4 u32 match ip dport 80 0xffff flowid 1:20
			tc filter add dev h0 parent 1:1 protocol ip pref 4 u32 match ip dport 81 0xffff flowid 1:30
			tc filter add dev h0 parent 1: protocol ipv6 pref 2 u32 match u32 0 0 flowid 1:30`},
		{"clsact", "tc qdisc add dev h0 clsact" + tcAtIngressLines},
		{"ingress", "tc qdisc add dev h0 ingress\ntc filter add dev h0 parent ffff: protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev lo"},
		{"shared block", `tc qdisc add dev h0 ingress_block 22 egress_block 23 clsact
			tc filter add block 22 protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev lo
			tc filter add block 23 protocol ip pref 2 u32 match u32 0 0 classid 1:3`},
		{"shared block that another interface has", `ip link add h1 type ifb
			tc qdisc add dev h1 ingress_block 22 clsact
			tc qdisc add dev h0 ingress_block 22 clsact
			tc filter add block 22 protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev lo`},
		{"shared action", `tc actions add action mirred egress redirect dev lo index 77
			tc qdisc add dev h0 clsact
			tc filter add dev h0 ingress protocol all pref 1 u32 match u32 0 0 action mirred index 77
			tc filter add dev h0 egress protocol all pref 1 u32 match u32 0 0 action mirred index 77`},
		{"all", "tc qdisc add dev h0 root handle 1: htb default 1\ntc class add dev h0 parent 1: classid 1:1 htb rate 1gbit\ntc qdisc add dev h0 clsact" + tcAtIngressLines},
	}
	bytecode := filepath.Join(t.TempDir(), "bytecode")
	if err := os.WriteFile(bytecode, []byte("1,6 0 0 1,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\n"+strings.ReplaceAll(tt.onHost, "BYTECODE", bytecode), "")
			before := w.tcRoundTrip(`{"interface":{"name":"net1"}}`, "tc filter show block 22", "tc filter show block 23", "tc filter show dev h0 parent 1:1")
			if testing.Verbose() {
				t.Log(before)
			}
		})
	}
}

// TestTrafficControlOtherIndex checks that a filter which redirects to its own
// interface does so also when the interface cannot get its ifindex again.
func TestTrafficControlOtherIndex(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\ntc qdisc add dev h0 clsact\ntc filter add dev h0 ingress protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev h0", "")
	before := w.tc()
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	w.Host.Run(fmt.Sprintf("ip link add other index %d type ifb", p.Original.Index))
	if r := w.detach(p)[0]; len(r.Unset) > 0 {
		t.Errorf("not restored: %q", r.Unset)
	}
	if d := cmp.Diff(before, w.tc()); d != "" {
		t.Errorf("traffic control (-before +now):\n%s", d)
	}
}

// TestTrafficControlRollback checks that a failed attach restores it.
func TestTrafficControlRollback(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0\ntc qdisc add dev h0 root handle 3: pfifo limit 7", "ip link add x type ifb\nip link set x up\nip route add 10.9.0.0/16 dev x")
	p := w.plan("h0", `{"interface":{"name":"net1"},"routes":[{"destination":"10.9.0.0/16"}]}`)
	if _, err := Attach(context.Background(), w.host, w.pod, []Plan{p}); err == nil {
		t.Fatal("Attach: got no error")
	}
	w.asBefore()
}

// TestFilterProgram checks that a filter's eBPF program is a loss, because nobody may
// hold it, and that the filter is restored if somebody does, else named.
func TestFilterProgram(t *testing.T) {
	for _, held := range []bool{true, false} {
		t.Run(fmt.Sprint(held), func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\ntc qdisc add dev h0 clsact", "")
			l, err := w.host.conn.linkByName("h0")
			if err != nil {
				t.Fatal(err)
			}
			fd, drop := loadProgram(t, progTC)
			f := tcObject{Type: unix.RTM_NEWTFILTER, Parent: tcAtIngress, Info: 1<<tcPrefShift | 0x0300, Kind: kindBPF} // ETH_P_ALL
			f.Attrs = []Attr{{unix.TCA_OPTIONS, encode([]Attr{{bpfFD, u32Bytes(uint32(fd))}, {7, []byte("p\x00")}, {8, u32Bytes(1)}})}}
			if refused, err := w.host.conn.do(f.message(l.Index)); err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
			before := w.tc()
			if !strings.Contains(before, "direct-action") {
				t.Fatalf("the filter is not there:\n%s", before)
			}
			original, l, err := Read(context.Background(), w.host, Identify(l, "nd-test-0"))
			if err != nil {
				t.Fatal(err)
			}
			const refusal = `interface.allowLoss: the host's filter bpf parent ffff:fff2 pref 1 handle 0x1 (unless somebody holds its program) on h0 would not be restored: add "filters" to accept that`
			if _, _, err := Desired(l, original, nic.Config{}); err == nil || err.Error() != refusal {
				t.Errorf("Desired: got error %v, want %s", err, refusal)
			}
			p := w.plan("h0", `{"interface":{"name":"net1","allowLoss":["filters"]}}`)
			if !held {
				drop()
			}
			p.ID = w.attach(p)[0].ID
			r := w.detach(p)[0]
			if held {
				if d := cmp.Diff(before, w.tc()); d != "" || len(r.Unset) > 0 {
					t.Errorf("not restored: %q (-before +now):\n%s", r.Unset, d)
				}
			} else if len(r.Unset) != 1 || !strings.Contains(r.Unset[0], "its program no longer exists") {
				t.Errorf("Detach: got %+v", r)
			}
		})
	}
}
