package netdev

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestSysctlsInThePod checks that what a config asks for is set in the pod, of this
// interface only, and that both namespaces are as before afterwards.
func TestSysctlsInThePod(t *testing.T) {
	w := newWorld(t, rich+`
		sysctl -qw net.ipv4.conf.h0.rp_filter=1 net.ipv6.conf.h0.hop_limit=77 net.ipv4.conf.h0.arp_ignore=2`, "")
	p := w.plan("h0", `{"interface":{"name":"net1","forwarding":true,"arpIgnore":1,"arpAnnounce":2,"sysctls":{
		"net.ipv4.conf.IFNAME.rp_filter":"2","net.ipv6.conf.IFNAME.accept_ra_defrtr":"0","net.ipv6.conf.IFNAME.use_tempaddr":"-1",
		"net.ipv4.neigh.IFNAME.gc_stale_time":"77","net.ipv6.neigh.IFNAME.retrans_time_ms":"1234","net.ipv6.conf.IFNAME.mtu":"1400",
		"net.ipv6.conf.IFNAME.router_solicitation_interval":"9"}}}`)
	a := w.attach(p)[0]
	var omitted []string
	settings := map[string]string{
		"net.ipv4.conf.net1.forwarding": "1", "net.ipv6.conf.net1.forwarding": "1",
		"net.ipv4.conf.net1.arp_ignore": "1", "net.ipv4.conf.net1.arp_announce": "2", "net.ipv4.conf.net1.rp_filter": "2",
		"net.ipv6.conf.net1.accept_ra_defrtr": "0", "net.ipv6.conf.net1.use_tempaddr": "-1", "net.ipv6.conf.net1.mtu": "1400",
		"net.ipv4.neigh.net1.gc_stale_time": "77", "net.ipv6.conf.net1.router_solicitation_interval": "9",
		"net.ipv4.conf.lo.forwarding": "0", "net.ipv6.conf.all.forwarding": "0",
		"net.ipv6.conf.net1.hop_limit": "64",
	}
	if known("net.ipv6.conf.IFNAME.force_forwarding") {
		settings["net.ipv6.conf.net1.force_forwarding"], settings["net.ipv6.conf.default.force_forwarding"] = "1", "0"
	} else { // before Linux 6.17
		omitted = []string{"interface.forwarding: the node's kernel has no net.ipv6.conf.IFNAME.force_forwarding"}
	}
	if !slices.Equal(w.omitted, omitted) || len(a.Omitted) > 0 {
		t.Errorf("omitted: %q, %q, want %q", w.omitted, a.Omitted, omitted)
	}
	for name, want := range settings {
		if got := strings.TrimSpace(w.Pod.Run("sysctl -n " + name)); got != want {
			t.Errorf("%s is %q in the pod, want %q", name, got, want)
		}
	}
	w.detach(p)
	w.asBefore()
}

// TestSysctlStepFails checks that an attach whose setting fails, or is not what it
// was set to, is undone.
func TestSysctlStepFails(t *testing.T) {
	w := newWorld(t, rich, "")
	p := w.plan("h0", `{"interface":{"name":"net1","sysctls":{"net.ipv4.conf.IFNAME.rp_filter":"2"}}}`)
	f := w.watch(nil)
	f.fail = func(n int) bool { return f.seen[n] == "set net.ipv4.conf.net1.rp_filter 2" }
	_, err := Attach(context.Background(), w.host, w.pod, []Plan{p})
	w.unwatch()
	if err == nil || !strings.Contains(err.Error(), "set net.ipv4.conf.net1.rp_filter 2") {
		t.Errorf("got error %v, want one that names the setting", err)
	}
	w.asBefore()
	p.Want.Sysctls = map[string]string{"net.ipv4.conf.IFNAME.no_such_thing": "1"}
	_, err = Attach(context.Background(), w.host, w.pod, []Plan{p})
	if err == nil || !strings.Contains(err.Error(), "no_such_thing") {
		t.Errorf("got error %v, want one that names the setting", err)
	}
	w.asBefore()
}

// TestSysctlsRefused checks that Prepare refuses what the kernel would refuse in the
// pod.
func TestSysctlsRefused(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal(err)
	}
	original, l, err := Read(context.Background(), w.host, Identify(l, "nd-test-0"))
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		`{"sysctls":{"net.ipv4.conf.IFNAME.no_such_thing":"1"}}`:                                              `interface.sysctls.net.ipv4.conf.IFNAME.no_such_thing: "1": the node's kernel has no such setting`,
		`{"sysctls":{"net.ipv6.conf.IFNAME.addr_gen_mode":"9"}}`:                                              `interface.sysctls.net.ipv6.conf.IFNAME.addr_gen_mode: "9": the node's kernel refuses it: invalid argument`,
		`{"sysctls":{"net.ipv6.conf.IFNAME.mc_forwarding":"1"}}`:                                              `mc_forwarding: "1": the node's kernel refuses it: permission denied`,
		`{"sysctls":{"net.ipv4.conf.IFNAME.rp_filter":"99999999999"}}`:                                        `rp_filter: "99999999999": the node's kernel refuses it: invalid argument`,
		`{"sysctls":{"net.ipv6.conf.IFNAME.mtu":"1400"},"mtu":1300}`:                                          `net.ipv6.conf.IFNAME.mtu: "1400": the interface's own MTU is 1300`,
		`{"sysctls":{"net.ipv6.conf.IFNAME.hop_limit":"9"},"mtu":1200}`:                                       `hop_limit: "9": the interface has no IPv6 with an MTU of 1200`,
		`{"sysctls":{"net.ipv4.neigh.IFNAME.retrans_time":"9","net.ipv4.neigh.IFNAME.retrans_time_ms":"90"}}`: `retrans_time: "9": net.ipv4.neigh.IFNAME.retrans_time_ms is the same setting: set one of them`,
		`{"sysctls":{"net.ipv6.conf.IFNAME.disable_ipv6":"1"},"addresses":["2001:db8::7/64"]}`:                `disable_ipv6: "1": the interface has IPv6 addresses in the pod`,
		`{"forwarding":true,"mtu":1200}`:                                                                      "",
	} {
		c, err := v1alpha1.Decode(v1alpha1.Parameters{Raw: []byte(`{"interface":` + config + `}`)})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = Desired(l, original, c)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", config, err, want)
		}
	}
	w.asBefore()
}

// TestSameSysctl checks which values are equal for the kernel.
func TestSameSysctl(t *testing.T) {
	for _, tt := range []struct {
		name, have, want string
		same             bool
	}{
		{"hop_limit", "1", "01", true},
		{"hop_limit", "1", "2", false},
		{"hop_limit", "", "0", false},
		{"retrans_time_ms", "1232", "1234", true},
		{"retrans_time_ms", "1200", "1234", false},
		{"mldv1_unsolicited_report_interval", "9996", "10000", true},
		{"locktime", "1", "2", true},
		{"ucast_solicit", "1", "2", false},
	} {
		if got := sameSysctl("net.ipv6.conf.IFNAME."+tt.name, tt.have, tt.want); got != tt.same {
			t.Errorf("%s %q and %q: same %t, want %t", tt.name, tt.have, tt.want, got, tt.same)
		}
	}
}
