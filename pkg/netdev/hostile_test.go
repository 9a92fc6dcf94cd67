package netdev

import (
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// hardware is what ethtool(8) and tc(8) print of h0.
func (w *world) hardware() string {
	return w.Host.Run("ethtool -k h0") + w.Host.Run("ethtool -l h0")
}

// TestHostilePod checks that the link is restored, whatever a pod's root does to
// it.
func TestHostilePod(t *testing.T) {
	tests := []struct {
		name, inPod string
		gone        string // link that must not be in the pod afterwards
	}{
		{name: "sizes", inPod: "ip link set net1 gso_max_size 20000\nip link set net1 gso_max_segs 7\nip link set net1 gro_max_size 30000"},
		{name: "features", inPod: "ethtool -K net1 tso off gro on tx-nocache-copy on"},
		{name: "channels", inPod: "ethtool -L net1 rx 2 tx 2"},
		{name: "link mode", inPod: "ip link set net1 mode dormant"},
		{name: "flags", inPod: "ip link set net1 dynamic on trailers off promisc off allmulticast off multicast off arp off"},
		{name: "broadcast address", inPod: "ip link set net1 broadcast 02:00:00:00:00:01"},
		{name: "altnames of host links", inPod: "ip link property add dev net1 altname p0 altname eth7\nip link property del dev net1 altname enp3s0f0"},
		{name: "altname is the host's name", inPod: "ip link property add dev net1 altname h0"},
		{name: "everything of a link", inPod: "ip link set net1 mtu 1300 alias x txqueuelen 1 group 9\nip link set net1 address 02:00:00:00:00:66\nip link set net1 down\nip link set net1 name h0"},
		{name: "addresses, routes, neighbors", inPod: "ip addr flush dev net1\nip addr add 10.5.5.5/24 dev net1\nip -6 addr add 2001:db8:5::5/64 dev net1\nip route add 10.99.0.0/16 via 10.5.5.6\nip route add default dev net1 table 9\nip rule add iif net1 table 9\nip neigh add 10.5.5.7 lladdr 02:00:00:00:00:07 dev net1\nip maddr add 01:00:5e:00:00:99 dev net1\nbridge fdb add 02:00:00:00:00:98 dev net1 self"},
		{name: "sysctls", inPod: "sysctl -qw net.ipv6.conf.net1.disable_ipv6=1 net.ipv4.conf.net1.arp_ignore=8 net.ipv4.conf.net1.forwarding=1 net.ipv6.neigh.net1.retrans_time_ms=99999"},
		{name: "tbf", inPod: "tc qdisc add dev net1 root tbf rate 1mbit burst 10k latency 10ms"},
		{name: "htb, ingress and filters", inPod: "tc qdisc add dev net1 root handle 1: htb default 1\ntc class add dev net1 parent 1: classid 1:1 htb rate 1mbit\ntc qdisc add dev net1 ingress\ntc filter add dev net1 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev lo"},
		{name: "port of a bridge", inPod: "ip link add br0 type bridge\nip link set net1 master br0\nip link set br0 up\nbridge link set dev net1 learning off"},
		{name: "macvlan that takes all", inPod: "ip link add m0 link net1 type macvlan mode passthru\nip link set m0 up", gone: "m0"},
		{name: "macvlan under another", inPod: "ip link add m0 link net1 type macvlan mode bridge\nip link add m1 link net1 type macvlan\nip link set m0 up", gone: "m0"},
		{name: "vxlan", inPod: "ip link add v0 type vxlan id 7 dev net1 dstport 4789\nip link set v0 up", gone: "v0"},
		{name: "mirrored to from another link", inPod: "ip link add x type ifb\nip link set x up\ntc qdisc add dev x ingress\ntc filter add dev x parent ffff: protocol all u32 match u32 0 0 action mirred egress mirror dev net1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rich, "")
			before := w.hardware()
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			p.ID = w.attach(p)[0].ID
			w.Pod.Lines(tt.inPod)
			if result := w.detach(p)[0]; result.HostNameTaken || result.Missing || result.Name != "h0" || result.Final == nil || len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			w.Host.Same(w.hostBefore, "the host")
			if now := w.hardware(); now != before {
				t.Errorf("hardware settings: got\n%s\nwant\n%s", now, before)
			}
			if tt.gone == "" {
				return
			}
			if out, err := w.Pod.Try("ip link show " + tt.gone); err == nil {
				t.Errorf("the pod still has a link on the host's:\n%s", out)
			}
		})
	}
}

// TestHostsOwnSettings checks that the host's settings are restored after the pod
// changed them, and not the defaults of a new link.
func TestHostsOwnSettings(t *testing.T) {
	w := newWorld(t, "ip link set h0 mode dormant dynamic on\nip link set h0 up gso_max_size 30000\nip link set h0 gro_max_size 40000\nethtool -K h0 tso off gro on\nethtool -L h0 rx 2 tx 2", "")
	before := w.hardware()
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	w.Pod.Lines("ip link set net1 gso_max_size 65536\nip link set net1 gro_max_size 65536\nip link set net1 dynamic off mode default\nethtool -K net1 tso on gro off\nethtool -L net1 rx 1 tx 1")
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	w.Host.Same(w.hostBefore, "the host")
	if now := w.hardware(); now != before {
		t.Errorf("hardware settings: got\n%s\nwant\n%s", now, before)
	}
}

// TestKindOptions checks that options which only links of a kind have are
// restored.
func TestKindOptions(t *testing.T) {
	for _, tt := range []struct{ make, inPod string }{
		{"type macvlan mode bridge", "ip link set net5 type macvlan mode private"},
		{"type vxlan id 9 dstport 4789 remote 192.0.2.9 ageing 100", "ip link set net5 type vxlan id 9 ageing 7"},
	} {
		t.Run(tt.make, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0\nip link add h5 link h0 "+tt.make+"\nip link set h5 up", "")
			p := w.plan("h5", `{"interface":{"name":"net5"}}`)
			p.ID = w.attach(p)[0].ID
			w.Pod.Lines(tt.inPod)
			if result := w.detach(p)[0]; len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			w.Host.Same(w.hostBefore, "the host")
		})
	}
}

// TestPairInPod checks that a link's peer is not taken for an upper device.
func TestPairInPod(t *testing.T) {
	w := newWorld(t, "ip link add h5 type veth peer name h6\nip link set h5 up\nip link set h6 up", "")
	h, p := w.plan("h5", `{"interface":{"name":"net1"}}`), w.plan("h6", `{"interface":{"name":"net2"}}`)
	for i, a := range w.attach(h, p) {
		[]*Plan{&h, &p}[i].ID = a.ID
	}
	w.detach(h)
	w.Pod.Run("ip link show net2")
	w.detach(p)
	w.asBefore()
}

// TestPairIndexTaken checks that both ends of a pair are attached to a pod in
// which their indices are taken, and restored.
func TestPairIndexTaken(t *testing.T) {
	w := newWorld(t, "ip link add h5 index 50 type veth peer name h6 index 60\nip link set h5 up\nip link set h6 up", "ip link add x index 50 type ifb\nip link add y index 60 type ifb")
	h, p := w.plan("h5", `{"interface":{"name":"net1"}}`), w.plan("h6", `{"interface":{"name":"net2"}}`)
	for i, a := range w.attach(h, p) {
		[]*Plan{&h, &p}[i].ID = a.ID
	}
	w.detach(h, p)
	w.asBefore()
}

// TestOtherNamespace checks that a link which the pod moved to a namespace of its
// own is missing, restored when it is back in the pod, and gone with that
// namespace if it is of a kind that the kernel destroys with it.
func TestOtherNamespace(t *testing.T) {
	start := func(t *testing.T) (w *world, p Plan, child *world) {
		w = newWorld(t, rich, "")
		p = w.plan("h0", `{"interface":{"name":"net1"}}`)
		p.ID = w.attach(p)[0].ID
		child = &world{t: t, Pod: nstest.New(t)}
		w.Pod.Run("ip link set net1 netns " + child.Pod.Path)
		if result := w.detach(p)[0]; !result.Missing {
			t.Errorf("Detach while it is away: got %+v", result)
		}
		return w, p, child
	}
	t.Run("comes back", func(t *testing.T) {
		w, p, child := start(t)
		child.Pod.Run("ip link set net1 name eth5 netns " + w.Pod.Path)
		if result := w.detach(p)[0]; result.Missing || result.Name != "h0" {
			t.Errorf("Detach: got %+v", result)
		}
		w.asBefore()
	})
	t.Run("ends with its namespace", func(t *testing.T) {
		w, p, child := start(t)
		child.Pod.Close()
		w.gone("p0")
		if result := w.detach(p)[0]; !result.Missing {
			t.Errorf("Detach: got %+v", result)
		}
	})
	t.Run("the pod's namespace ends", func(t *testing.T) {
		w := newWorld(t, rich, "")
		p := w.plan("h0", `{"interface":{"name":"net1"}}`)
		p.ID = w.attach(p)[0].ID
		w.pod.Close()
		w.Pod.Close()
		w.gone("p0")
		w.pod = nil
		if result := w.detach(p)[0]; !result.Missing {
			t.Errorf("Detach: got %+v", result)
		}
	})
}
