//go:build vm

package netdev

import (
	"os"
	"strings"
	"testing"
)

// TestVMTrafficControl checks that each kind of qdisc, filter and action that can
// be made again is, with all its options.
func TestVMTrafficControl(t *testing.T) {
	w := newWorld(t, "ip link del h0\nip link add h0 numtxqueues 4 numrxqueues 4 type veth peer name p0 numtxqueues 4 numrxqueues 4\nip link set p0 up\nip link set h0 up", "")
	const root = "tc qdisc add dev h0 root handle 1: "
	const prio = root + "prio bands 3\n"
	const at = "tc filter add dev h0 ingress "
	tests := []struct{ name, onHost string }{
		{"bfifo", root + "bfifo limit 12345"},
		{"pfifo_head_drop", root + "pfifo_head_drop limit 12"},
		{"mqprio", root + "mqprio num_tc 2 map 0 1 0 1 queues 2@0 2@2 hw 0"},
		{"mqprio, fq", root + "mqprio num_tc 2 map 0 1 0 1 queues 2@0 2@2 hw 0\ntc qdisc add dev h0 parent 1:1 handle 11: fq limit 300\ntc qdisc add dev h0 parent 1:3 handle 12: fq_codel limit 300"},
		{"multiq", root + "multiq\ntc qdisc add dev h0 parent 1:2 handle 12: pfifo limit 3"},
		{"prio", root + "prio bands 4 priomap 3 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1\ntc qdisc add dev h0 parent 1:4 handle 40: sfq"},
		{"hfsc", root + "hfsc default 2\ntc class add dev h0 parent 1: classid 1:1 hfsc sc rate 10mbit ul rate 20mbit\ntc class add dev h0 parent 1:1 classid 1:2 hfsc sc umax 1500 dmax 53ms rate 400kbit ul rate 10mbit\ntc class add dev h0 parent 1:1 classid 1:3 hfsc ls rate 3mbit"},
		{"drr", root + "drr\ntc class add dev h0 parent 1: classid 1:1 drr quantum 2000\ntc class add dev h0 parent 1: classid 1:2 drr\ntc filter add dev h0 parent 1: protocol ip pref 1 basic classid 1:2"},
		{"qfq", root + "qfq\ntc class add dev h0 parent 1: classid 1:1 qfq weight 10 maxpkt 1500\ntc class add dev h0 parent 1: classid 1:2 qfq weight 5"},
		{"ets", root + "ets bands 4 strict 2 quanta 3000 2000 priomap 3 2 1 0\ntc qdisc add dev h0 parent 1:3 handle 30: pfifo"},
		{"cbs", root + "cbs locredit -1470 hicredit 30 sendslope -980000 idleslope 20000"},
		{"etf", root + "etf delta 300000 clockid CLOCK_TAI deadline_mode skip_sock_check"},
		{"skbprio", root + "skbprio limit 77"},
		{"fq", root + "fq limit 777 flow_limit 55 quantum 3000 initial_quantum 20000 maxrate 100mbit buckets 2048 orphan_mask 511 low_rate_threshold 1mbit ce_threshold 2ms nopacing"},
		{"fq_codel", root + "fq_codel limit 777 flows 333 target 7ms interval 77ms quantum 400 noecn ce_threshold 3ms memory_limit 1000000 drop_batch 8"},
		{"codel", root + "codel limit 77 target 7ms interval 77ms ecn ce_threshold 3ms"},
		{"pie", root + "pie limit 77 target 20ms tupdate 30ms alpha 3 beta 21 ecn bytemode"},
		{"fq_pie", root + "fq_pie limit 77 flows 512 target 20ms tupdate 30ms alpha 3 beta 21 quantum 1000 memory_limit 1000000 ecn"},
		{"hhf", root + "hhf limit 77 quantum 1000 hh_limit 99 reset_timeout 30ms admit_bytes 1000 evict_timeout 500ms non_hh_weight 3"},
		{"cake", root + "cake bandwidth 77mbit diffserv4 dual-srchost nat wash ack-filter split-gso rtt 50ms overhead 18 mpu 64 memlimit 3000000"},
		{"cake, raw", root + "cake besteffort flowblind ingress autorate-ingress"},
		{"sfb", root + "sfb rehash 500000 db 50000 limit 99 max 33 target 22 increment 0.001 decrement 0.0001 penalty_rate 5 penalty_burst 6"},
		{"sfq", root + "sfq quantum 2000 perturb 10 limit 99 divisor 512 flows 64 depth 20 headdrop"},
		{"sfq, red", root + "sfq limit 3000 flows 512 divisor 1024 redflowlimit 100000 min 8000 max 60000 probability 0.20 ecn headdrop"},
		{"netem", root + "netem limit 99 delay 10ms loss 1% 20% duplicate 2% corrupt 1% reorder 5% 10% gap 5 rate 5mbit 20 100 5 ecn"},
		{"netem, states", root + "netem loss gemodel 1% 10% 70% 0.1%"},
		{"netem, slots", root + "netem slot 20ms 30ms packets 10 bytes 5000"},
		{"htb below prio", prio + "tc qdisc add dev h0 parent 1:1 handle 10: htb default 3"},
		{"htb, link layer", root + "htb default 1\ntc class add dev h0 parent 1: classid 1:1 htb rate 50gbit linklayer atm"},
		{"matchall", "tc qdisc add dev h0 clsact\n" + at + "pref 1 matchall action pass\n" + at + "pref 2 matchall skip_hw action drop"},
		{"police", "tc qdisc add dev h0 clsact\n" + at + "pref 1 matchall action police rate 10mbit burst 20k peakrate 20mbit mtu 2000 conform-exceed drop/pipe\n" + at + "pref 2 matchall action police rate 40gbit burst 10m\n" + at + "pref 3 matchall action police pkts_rate 1000 pkts_burst 100\n" + at + "pref 4 protocol ip u32 match u32 0 0 police rate 1mbit burst 10k drop flowid :1"},
		{"flower", "tc qdisc add dev h0 clsact\n" + at + "pref 1 handle 0x7 protocol ip flower dst_ip 192.0.2.0/24 ip_proto tcp dst_port 80 src_port 1000-2000 tcp_flags 0x2/0x2 action pass\n" + at + "pref 2 protocol 802.1q flower vlan_id 7 vlan_prio 3 vlan_ethtype ip dst_ip 192.0.2.1 action vlan pop\n" + at + "pref 3 protocol ip flower enc_key_id 5 enc_dst_ip 192.0.2.9 enc_dst_port 4789 geneve_opts 0102:80:00880022 action tunnel_key unset\n" + at + "pref 4 protocol ip flower skip_hw ct_state +trk+est ip_flags frag/nofirstfrag ip_ttl 5 indev lo action goto chain 3\n" + at + "pref 5 protocol arp flower arp_tip 192.0.2.1 arp_op request dst_mac 02:00:00:00:00:01/ff:ff:00:00:00:00 classid 1:3"},
		{"flower template", "tc qdisc add dev h0 clsact\ntc chain add dev h0 ingress protocol ip chain 5 flower dst_ip 0.0.0.0/24\n" + at + "chain 5 pref 1 protocol ip flower dst_ip 192.0.2.0/24 action drop"},
		{"basic", "tc qdisc add dev h0 clsact\n" + at + "pref 1 protocol ip basic match u32(u8 0x06 0xff at 9) and not cmp(u16 at 2 layer 2 gt 80) action pass\n" + at + "pref 2 protocol ip basic match meta(priority gt 3) or nbyte(ababa at 12 layer 1) classid 1:2"},
		{"fw", prio + "tc filter add dev h0 parent 1: protocol ip pref 1 handle 7/0xff fw classid 1:2 action pass\ntc filter add dev h0 parent 1: protocol ip pref 2 handle 9 fw classid 1:1"},
		{"cgroup, route, flow", prio + "tc filter add dev h0 parent 1: pref 1 protocol ip handle 1: cgroup\ntc filter add dev h0 parent 1: pref 2 protocol ip route from 5 to 7 classid 1:2\ntc filter add dev h0 parent 1: pref 3 protocol ip handle 1 flow hash keys src,dst divisor 1024 perturb 10 baseclass 1:1\ntc filter add dev h0 parent 1: pref 4 protocol ip handle 3 flow map key mark and 0xff or 1 addend 3 rshift 2 baseclass 1:2"},
		{"actions", "tc qdisc add dev h0 clsact\n" +
			at + "pref 1 matchall action gact pass random netrand drop 5\n" +
			at + "pref 2 matchall action skbedit priority 3 mark 7/0xff queue_mapping 1 ptype host action vlan push id 5 priority 3 action vlan modify id 7\n" +
			at + "pref 3 protocol ip flower action pedit ex munge ip ttl dec munge eth dst set 02:00:00:00:00:09 pipe action csum ip tcp\n" +
			at + "pref 4 protocol ip flower action pedit munge offset 0 u32 set 0x7 retain 0xff pipe action nat egress 192.0.2.0/24 198.51.100.1\n" +
			at + "pref 5 matchall action skbmod set dmac 02:00:00:00:00:05 action connmark zone 3 action simple sdata hi\n" +
			at + "pref 6 matchall action tunnel_key set src_ip 192.0.2.1 dst_ip 192.0.2.2 id 7 dst_port 4789 tos 3 ttl 5 geneve_opts 0102:80:00880022\n" +
			at + "pref 7 matchall action sample rate 10 group 3 trunc 99 action mpls push label 5 ttl 3 protocol mpls_uc\n" +
			at + "pref 8 protocol ip flower action ct zone 5 commit mark 7/0xff nat src addr 192.0.2.7 port 1000-2000 pipe action mirred egress mirror dev lo cookie 0102 action drop hw_stats disabled"},
		{"classic bpf", prio + "tc filter add dev h0 parent 1: protocol ip pref 1 handle 5 bpf bytecode-file /tmp/bytecode classid 1:1"},
	}
	if err := os.WriteFile("/tmp/bytecode", []byte("1,6 0 0 1,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/etc/iproute2", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/etc/iproute2/ematch_map", []byte("1 cmp\n2 nbyte\n3 u32\n4 meta\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			for line := range strings.Lines(tt.onHost) {
				if out, err := w.Host.Try(strings.TrimSpace(line)); err != nil {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
			if before := w.tcRoundTrip(`{"interface":{"name":"net1"}}`, "tc -d qdisc show dev h0"); testing.Verbose() {
				t.Log(before)
			}
			w.Host.Try("tc qdisc del dev h0 root")
			w.Host.Try("tc qdisc del dev h0 clsact")
		})
	}
}
