package netdev

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// sizesOf returns the GSO and GRO sizes, IPv4's last.
func sizesOf(s Settings) (all [4]uint32) {
	for _, a := range s.Preserved {
		if i := slices.Index([]uint16{unix.IFLA_GSO_MAX_SIZE, unix.IFLA_GRO_MAX_SIZE, unix.IFLA_GSO_IPV4_MAX_SIZE, unix.IFLA_GRO_IPV4_MAX_SIZE}, a.Type); i >= 0 {
			all[i] = u32(a.Value)
		}
	}
	return all
}

// TestSizes checks the GSO and GRO sizes and the queue length that a config sets in
// the pod, and that the host's come back.
func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		config string
		want   [4]uint32
		queue  int
	}{
		{`{}`, [4]uint32{60000, 60000, 60000, 60000}, 500},
		{`{"gsoMaxSize":185000,"groMaxSize":186000,"txQueueLength":0}`, [4]uint32{185000, 186000, 60000, 60000}, 0},
		{`{"gsoMaxSize":32768,"groMaxSize":65536,"txQueueLength":3}`, [4]uint32{32768, 65536, 32768, 65536}, 3},
		{`{"gsoMaxSize":32768,"gsoIPv4MaxSize":40000,"groIPv4MaxSize":524280}`, [4]uint32{32768, 60000, 40000, 524280}, 500},
		{`{"gsoIPv4MaxSize":1024,"groIPv4MaxSize":1024}`, [4]uint32{60000, 60000, 1024, 1024}, 500},
	} {
		t.Run(tt.config, func(t *testing.T) {
			w := newWorld(t, rich+"\nip link set h0 gso_max_size 60000 gro_max_size 60000", "")
			if l, err := w.host.conn.linkByName("h0"); err != nil || sizesOf(l.Settings)[2] == 0 {
				t.Skipf("needs sizes of IPv4: Linux 6.3 (%v)", err)
			}
			p := w.plan("h0", `{"interface":`+tt.config+`}`)
			a := w.attach(p)[0]
			if got := sizesOf(a.State.Settings); got != tt.want || a.State.QueueLen != tt.queue || len(a.Omitted) > 0 {
				t.Errorf("in the pod: sizes %d, queue length %d, omitted %q; want %d, %d", got, a.State.QueueLen, a.Omitted, tt.want, tt.queue)
			}
			w.detach(p)
			w.asBefore()
			l, err := w.host.conn.linkByName("h0")
			if want := [4]uint32{60000, 60000, 60000, 60000}; err != nil || sizesOf(l.Settings) != want || l.QueueLen != 500 {
				t.Errorf("on the host: sizes %d, queue length %d, %v", sizesOf(l.Settings), l.QueueLen, err)
			}
		})
	}
}

// TestSizesRefused checks the limits that the device and the kernel have.
func TestSizesRefused(t *testing.T) {
	attrs := []Attr{{Type: unix.IFLA_GSO_MAX_SIZE}, {Type: unix.IFLA_GRO_MAX_SIZE}}
	both := append(attrs[:2:2], Attr{Type: unix.IFLA_GSO_IPV4_MAX_SIZE}, Attr{Type: unix.IFLA_GRO_IPV4_MAX_SIZE})
	for _, tt := range []struct {
		attrs  []Attr
		maxTSO int
		config nic.Interface
		want   string
	}{
		{both, 70000, nic.Interface{GSOMaxSize: 70000, GSOIPv4MaxSize: 70000, GROMaxSize: 500000, GROIPv4MaxSize: 500000}, ""},
		{both, 70000, nic.Interface{GSOMaxSize: 70001}, `interface.gsoMaxSize: "70001": the interface takes 70000 at most`},
		{both, 70000, nic.Interface{GSOIPv4MaxSize: 70001}, `interface.gsoIPv4MaxSize: "70001": the interface takes 70000 at most`},
		{attrs, 0, nic.Interface{GROMaxSize: 65537}, `interface.groMaxSize: "65537": the node's kernel takes 65536 at most`},
		{attrs, 70000, nic.Interface{GROIPv4MaxSize: 2000}, `interface.groIPv4MaxSize: "2000": the node's kernel has no gro_ipv4_max_size`},
		{attrs, 70000, nic.Interface{GSOMaxSize: 2000}, ""},
	} {
		original := State{Name: "net1", Settings: Settings{MTU: 1500, Preserved: tt.attrs}}
		_, _, err := Desired(Link{MaxTSO: tt.maxTSO}, original, nic.Config{Interface: tt.config})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got error %v, want %q", tt.config, err, tt.want)
		}
	}
}
