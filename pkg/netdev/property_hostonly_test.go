package netdev

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shownBy returns what commands print on the host, each line sorted into its place: the
// kernel lists what was added last first.
func (w *world) shownBy(commands ...string) string {
	w.t.Helper()
	var all []string
	for _, c := range commands {
		lines := strings.Split(w.Host.Run(c), "\n")
		slices.Sort(lines)
		all = append(all, "# "+c)
		all = append(all, lines...)
	}
	return strings.Join(all, "\n")
}

// TestHostOnly checks that what the kernel removes from a link that leaves the host is
// there again after the detach, exactly, also if a detach is repeated, and is absent
// in the pod.
func TestHostOnly(t *testing.T) {
	for _, tt := range []struct {
		name, onHost, link string
		show               []string
		inPod              string // a command that prints nothing of it in the pod
		marks              string
	}{
		{
			name: "neighbor tables", show: []string{"cat /proc/sys/net/ipv4/neigh/h0/mcast_resolicit /proc/sys/net/ipv4/neigh/h0/unres_qlen", "sysctl -a --pattern neigh.h0"},
			onHost: "sysctl -qw net.ipv4.neigh.h0.gc_stale_time=99 net.ipv4.neigh.h0.mcast_resolicit=4 net.ipv4.neigh.h0.base_reachable_time_ms=12344 net.ipv6.neigh.h0.retrans_time_ms=1500" +
				" net.ipv4.neigh.h0.unres_qlen_bytes=9999 net.ipv4.neigh.h0.ucast_solicit=9 net.ipv6.neigh.h0.app_solicit=1 net.ipv4.neigh.h0.locktime=50 net.ipv4.neigh.h0.proxy_qlen=7",
			inPod: "sysctl net.ipv4.neigh.net1.gc_stale_time net.ipv6.neigh.net1.app_solicit", marks: "= 99|= 1\n",
		},
		{
			name: "IPv6 token", show: []string{"ip token get dev h0"},
			onHost: "ip token set ::5 dev h0", inPod: "ip token get dev net1", marks: "::5",
		},
		{
			name: "a multicast address with its group", show: []string{"ip address show dev h0", "ip maddress show dev h0"},
			onHost: "ip addr add 239.9.9.9/24 dev h0 autojoin\nip addr add ff0e::9/64 dev h0 autojoin\nip addr add 192.0.2.1/24 dev h0",
		},
		{
			name: "proxy neighbors", show: []string{"ip neigh show proxy", "ip -6 neigh show proxy"},
			onHost: "ip neigh add proxy 192.0.2.77 dev h0\nip neigh add proxy 192.0.2.78 dev h0 protocol static\nip -6 neigh add proxy 2001:db8::77 dev h0 router\nip neigh add proxy 192.0.2.79 dev p0",
			inPod:  "ip neigh show proxy", marks: "192.0.2",
		},
		{
			name: "FDB entries and multicast addresses", show: []string{"bridge fdb show dev h0", "ip maddress show dev h0"},
			onHost: "bridge fdb add 02:00:00:00:00:99 dev h0 self permanent\nbridge fdb add 01:80:c2:00:00:0e dev h0 self permanent\nbridge fdb add 01:00:5e:00:00:05 dev h0 self permanent\n" +
				"ip maddress add 01:00:5e:01:02:03 dev h0\nip maddress add 01:02:03:04:05:06 dev h0\nip addr add 192.0.2.1/24 dev h0\nip addr add 2001:db8::1/64 dev h0 nodad",
			inPod: "bridge fdb show dev net1", marks: "02:00:00:00:00:99|01:80:c2|01:02:03|01:00:5e:00:00:05",
		},
		{
			name: "next hop objects", show: []string{"ip nexthop show", "ip -4 route", "ip -6 route"},
			onHost: "ip link add x type veth peer name y\nip link set x up\nip link set y up\nip addr add 192.0.2.1/24 dev h0\nip addr add 2001:db8::1/64 dev h0 nodad\nip nexthop add id 7 via 192.0.2.9 dev h0\nip nexthop add id 8 dev h0\nip nexthop add id 9 via 2001:db8::9 dev h0 onlink\n" +
				"ip nexthop add id 3 group 7/8,3\nip nexthop add id 11 dev x\nip nexthop add id 12 group 7/11\nip nexthop add id 13 via 192.0.2.8 dev h0\nip route add 10.1.0.0/16 nhid 13\nip nexthop add id 14 blackhole",
			inPod: "ip nexthop show", marks: "id",
		},
		{
			name: "VXLAN", link: "h5", show: []string{"bridge fdb show dev h5"},
			onHost: "ip addr add 192.0.2.1/24 dev h0\nip link add h5 link h0 type vxlan id 9 dstport 4789 remote 192.0.2.9\nip link set h5 up\n" +
				"bridge fdb add 02:00:00:00:00:99 dev h5 dst 192.0.2.7 self permanent\nbridge fdb append 00:00:00:00:00:00 dev h5 dst 192.0.2.8 vni 7 self permanent",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\n"+tt.onHost, "")
			before := w.shownBy(tt.show...)
			link := or(tt.link, "h0")
			p := w.plan(link, `{"interface":{"name":"net1"}}`)
			p.ID = w.attach(p)[0].ID
			if tt.inPod != "" {
				got := w.Pod.Run(tt.inPod)
				for mark := range strings.SplitSeq(tt.marks, "|") {
					if strings.Contains(got, mark) {
						t.Errorf("the pod has %q:\n%s", mark, got)
					}
				}
			}
			if tt.link != "" {
				w.Pod.Lines("bridge fdb add 02:00:00:00:00:66 dev net1 dst 192.0.2.6 self permanent\nbridge fdb del 02:00:00:00:00:99 dev net1 self")
			}
			for range 2 {
				if result := w.detach(p)[0]; len(result.Unset) > 0 {
					t.Errorf("Detach: got %+v", result)
				}
				d := ""
				for range 50 { // the kernel joins its own groups later
					if d = cmp.Diff(before, w.shownBy(tt.show...)); d == "" {
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
				if d != "" {
					t.Errorf("the host (-before +now):\n%s", d)
				}
			}
			w.Host.Same(w.hostBefore, "the host")
		})
	}
}

// TestQueues checks that the settings of queues are restored that a pod changed, added
// or lost with a queue, and that they are as on the host in the pod.
func TestQueues(t *testing.T) {
	w := newWorld(t, "ip link del h0\nip link add h0 numrxqueues 3 numtxqueues 3 type veth peer name p0 numrxqueues 3 numtxqueues 3\nip link set p0 up\nethtool -L h0 rx 3 tx 3\nip link set h0 up", "")
	host := map[string]string{
		"queues/rx-0/rps_cpus": "1", "queues/rx-2/rps_flow_cnt": "64", "queues/tx-1/xps_cpus": "2", "queues/tx-2/xps_cpus": "1", "gro_flush_timeout": "20000",
	}
	if done := w.host.setSysfs("h0", host); done.err != nil || len(done.refused) > 0 {
		t.Fatalf("set: %+v", done)
	}
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	a := w.attach(p)[0]
	if d := cmp.Diff(host, a.Queues); d != "" {
		t.Errorf("recorded (-want +got):\n%s", d)
	}
	p.ID, p.Original.Queues = a.ID, a.Queues
	if in, err := w.pod.sysfsSettings("net1", xpsLater); err != nil || in["queues/rx-0/rps_cpus"] != "1" {
		t.Errorf("in the pod: %v, %v", in, err)
	}
	w.Pod.Run("ethtool -L net1 rx 1 tx 1")
	if done := w.pod.setSysfs("net1", map[string]string{"queues/rx-0/rps_cpus": "3", "queues/rx-0/rps_flow_cnt": "32", "gro_flush_timeout": "7"}); done.err != nil || len(done.refused) > 0 {
		t.Fatalf("set in the pod: %+v", done)
	}
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	if now, err := w.host.sysfsSettings("h0", xpsLater); err != nil || !cmp.Equal(host, now) {
		t.Errorf("on the host: %v (-want +got):\n%s", err, cmp.Diff(host, now))
	}
	w.Host.Same(w.hostBefore, "the host")
	w.host.withSysfs(func(links string) error {
		if got := readSysfs(links+"/h0", 0); got[xpsUnread] == "" || got["queues/tx-1/xps_cpus"] != "" || got["queues/rx-0/rps_cpus"] != "1" {
			t.Errorf("without time for XPS: got %v", got)
		}
		return nil
	})
	unread := map[string]string{xpsUnread: "true", "gro_flush_timeout": "5"}
	if done := w.host.setSysfs("h0", unread); len(done.refused) != 1 || done.refused[0].err != errNotRead {
		t.Errorf("XPS that was not read: got %+v", done)
	}
	if now, _ := w.host.sysfsSettings("h0", xpsLater); now["queues/tx-1/xps_cpus"] != "2" || now["gro_flush_timeout"] != "5" || now["queues/rx-0/rps_cpus"] != "" {
		t.Errorf("XPS that was not read: got %v", now)
	}
	w.Host.Run("ethtool -L h0 rx 1 tx 1")
	if done := w.host.setSysfs("h0", host); len(done.refused) == 0 || done.refused[0].err != errNoQueue {
		t.Errorf("queues that are gone: got %+v", done.refused)
	}
}
