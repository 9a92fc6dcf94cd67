package netdev

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// The kinds of message that FuzzDecode reads.
const (
	aLink = iota
	anAddress
	aRoute
	aNeighbor
	aNextHop
	aRule
	kinds
)

const fuzzIndex = 3 // ifindex of the link whose routes are looked for

var byValue = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

// FuzzDecode checks that no message of the kernel crashes the driver, that what
// is decoded encodes to the same again, and that a record of it can be read.
func FuzzDecode(f *testing.F) {
	f.Fuzz(roundTrips)
}

// roundTrips fails the test unless what is decoded of the message encodes to
// the same again, and a record of it can be read.
func roundTrips(t *testing.T, kind byte, b []byte) {
	t.Helper()
	var s State
	switch kind % kinds {
	case aLink:
		l, err := decodeLink(b)
		if err != nil {
			return
		}
		s = State{Name: l.Name, Kind: l.Kind, Settings: l.Settings, Programs: l.XDP}
	case anAddress:
		_, a, _, err := decodeAddress(b)
		if err != nil {
			return
		}
		_, again, _, err := decodeAddress(payload(a.message(fuzzIndex, true)))
		if err != nil || !again.equal(a) {
			t.Errorf("%+v encodes to %+v: %v", a, again, err)
		}
		s.Addresses = []Address{a}
	case aRoute:
		rs, err := decodeRoute(b, fuzzIndex)
		if err != nil {
			return
		}
		for _, r := range rs {
			again, err := decodeRoute(payload(r.message(fuzzIndex, true)), fuzzIndex)
			if err != nil || len(again) != 1 || !again[0].equal(r) {
				t.Errorf("%+v encodes to %+v: %v", r, again, err)
			}
		}
		s.Routes = rs
	case aNeighbor:
		_, n, kept, err := decodeNeighbor(b)
		if err != nil || !kept {
			return
		}
		_, again, _, err := decodeNeighbor(payload(n.message(fuzzIndex, true)))
		if err != nil || !again.equal(n) {
			t.Errorf("%+v encodes to %+v: %v", n, again, err)
		}
		s.Neighbors = []Neighbor{n}
	case aNextHop:
		h, err := decodeNextHop(b)
		if err != nil {
			return
		}
		behind(map[uint32]nextHopObject{h.ID: h}, h.ID, fuzzIndex, unix.AF_INET)
		h.Link = 0 // of the moment
		s.NextHopObjects = []nextHopObject{h}
	case aRule:
		r, err := decodeRule(b)
		if err != nil {
			return
		}
		again, err := decodeRule(payload(r.message(true)))
		if err != nil || !r.other && !again.equal(r.policyRule) {
			t.Errorf("%+v encodes to %+v: %v", r, again, err)
		}
		if !r.other {
			s.Rules = []policyRule{r.policyRule}
		}
	}
	l := Link{Index: fuzzIndex}
	for _, when := range []phase{settings, linkUp} {
		for _, st := range slices.Concat(stepsOf(when, sideHost, l, State{}, s), stepsOf(when, sideHost, l, s, State{})) {
			if st.do == nil {
				st.request().Serialize()
			}
		}
		if steps := stepsOf(when, sideHost, l, s, s); len(steps) > 0 {
			t.Errorf("%+v is to be made into itself by: %s", s, steps[0].what)
		}
	}
	if s.recordable() != nil {
		return // no such link is touched
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("%+v cannot be recorded: %v", s, err)
	}
	var again State
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatalf("%s cannot be read: %v", text, err)
	}
	if d := cmp.Diff(s, again, byValue); d != "" {
		t.Errorf("%s is read as another (-want +got):\n%s", text, d)
	}
}

// payload is the message as the kernel would read it, without its header.
func payload(m message) []byte { return m.request().Serialize()[unix.SizeofNlMsghdr:] }

var record = flag.Bool("record", false, "record the seeds of FuzzDecode anew from this kernel")

// TestKernelsOwnMessages checks the same as FuzzDecode on this kernel's messages
// about links, addresses, routes and neighbors with all their attributes, whole
// and broken. With -record they become FuzzDecode's seeds.
func TestKernelsOwnMessages(t *testing.T) {
	h := nstest.New(t)
	h.Lines("ip link set lo up\nip link add h0 index 3 type veth peer name p0\nip link set p0 up\n" + rich + `
		ip addr add 198.51.100.9/24 valid_lft 1000 preferred_lft 500 dev h0
		ip -6 route add 2001:db8:77::/48 nexthop via 2001:db8::8 dev h0 weight 5 nexthop via 2001:db8::9 dev h0
		ip route add 10.77.0.0/16 via inet6 2001:db8::8 dev h0
		ip route add 10.78.0.0/16 encap ip id 7 dst 192.0.2.8 dev h0
		ip route add unreachable 10.79.0.0/16
		ip -6 route add 2001:db8:78::/48 via 2001:db8::8 dev h0 expires 1000
		ip link set h0 xdp off
		ip link add m0 link h0 type macvlan mode private
		ip link add v0 type vxlan id 9 dstport 4789 remote 192.0.2.9
		ip link add b0 type bridge
		ip link set p0 master b0
		ip nexthop add id 1 via 192.0.2.9 dev h0
		ip nexthop add id 2 via 2001:db8::9 dev h0 onlink
		ip nexthop add id 3 blackhole
		ip rule add from 192.0.2.1 to 10.0.0.0/8 fwmark 1/0xff tos 0x10 iif h0 oif lo ipproto tcp sport 1-2 dport 3 uidrange 1-2 suppress_prefixlength 0 suppress_ifgroup 7 lookup 77777
		ip nexthop add id 10 group 1/2
		ip route add 10.91.0.0/16 nhid 10
		ip -6 route add 2001:db8:91::/48 nhid 2
		ip neigh add 192.0.2.78 dev h0 nud stale lladdr 02:00:00:00:00:78 router`)
	n := open(t, h.Path)
	if l, err := n.conn.linkByName("h0"); err != nil || l.Index != fuzzIndex {
		t.Fatalf("h0: %+v, %v", l, err)
	} else if fd, _ := loadProgram(t, progXDP); n.setXDP(l, attachPoints["xdpgeneric"], fd) != nil {
		t.Fatal("no XDP program can be attached")
	}
	for kind, dump := range map[byte]struct {
		name string
		typ  int
		body func(family int) nl.NetlinkRequestData
	}{
		aLink:     {"link", unix.RTM_GETLINK, func(int) nl.NetlinkRequestData { return ifi(0) }},
		anAddress: {"address", unix.RTM_GETADDR, func(f int) nl.NetlinkRequestData { return nl.NewIfAddrmsg(f) }},
		aRoute:    {"route", unix.RTM_GETROUTE, func(f int) nl.NetlinkRequestData { return &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(f)}} }},
		aNextHop:  {"nexthop", unix.RTM_GETNEXTHOP, func(f int) nl.NetlinkRequestData { return nhMsg{family: uint8(f)} }},
		aRule:     {"rule", unix.RTM_GETRULE, func(f int) nl.NetlinkRequestData { return &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(f)}} }},
		aNeighbor: {"neighbor", unix.RTM_GETNEIGH, func(f int) nl.NetlinkRequestData { return ndMsg{family: uint8(f)} }},
	} {
		i := 0
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			payloads, err := n.conn.dump(dump.typ, dump.body(family))
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range payloads {
				i++
				dull := kind == aRoute && b[4] == unix.RT_TABLE_LOCAL || kind == aLink && family != unix.AF_INET
				if !dull {
					seed(t, fmt.Sprintf("%s-%d", dump.name, i), kind, b)
				}
				if i == 3 {
					for name, broken := range broken(b) {
						seed(t, dump.name+"-"+name, kind, broken)
					}
				}
			}
		}
	}
}

// broken returns a message cut off, with attributes of impossible lengths, and
// with what no link here has: virtual functions, nested within nested.
func broken(b []byte) map[string][]byte {
	tail := func(length, typ uint16, value ...byte) []byte {
		a := binary.NativeEndian.AppendUint16(slices.Clone(b[:len(b)&^3]), length)
		return append(binary.NativeEndian.AppendUint16(a, typ), value...)
	}
	vf := nested(unix.IFLA_VFINFO_LIST, nested(1, attr(1, make([]byte, 40)), nested(7, attr(0, make([]byte, 8)))))
	deep := attr(unix.IFLA_AF_SPEC, nil)
	for range 40 {
		outer := nested(unix.IFLA_AF_SPEC)
		outer.AddChild(deep)
		deep = outer
	}
	return map[string][]byte{
		"cut": b[:len(b)-3], "header": b[:8], "no-length": tail(0, 1), "short-length": tail(3, 1), "huge-length": tail(0xffff, 1, 1, 2, 3, 4),
		"vf": append(slices.Clone(b[:len(b)&^3]), vf.Serialize()...), "deep": append(slices.Clone(b[:len(b)&^3]), deep.Serialize()...),
		"nested-cut": tail(12, unix.IFLA_LINKINFO|unix.NLA_F_NESTED, 20, 0, 1, 0, 1, 2, 3, 4), "empty": tail(4, unix.IFLA_AF_SPEC),
	}
}

// seed checks a message, and writes it into the corpus if that is wanted.
func seed(t *testing.T, name string, kind byte, b []byte) {
	t.Helper()
	roundTrips(t, kind, b)
	if !*record {
		return
	}
	text := fmt.Sprintf("go test fuzz v1\nbyte(%q)\n[]byte(%q)\n", kind, b)
	dir := filepath.Join("testdata", "fuzz", "FuzzDecode")
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
