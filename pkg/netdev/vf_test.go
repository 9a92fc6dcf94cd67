package netdev

import (
	"encoding/binary"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestVFFields checks that each field of nic.VF has a row, and that its value goes to
// the kernel's form and back.
func TestVFFields(t *testing.T) {
	var all nic.VF
	if err := json.Unmarshal([]byte(`{"vlan":100,"qos":3,"proto":"802.1ad","spoofCheck":false,"trust":true,"minTxRate":10,"maxTxRate":20,"linkState":"disable","mac":"02:00:00:00:00:07"}`), &all); err != nil {
		t.Fatal(err)
	}
	typ := reflect.TypeFor[nic.VF]()
	for i := range typ.NumField() {
		if reflect.ValueOf(all).Field(i).IsZero() {
			t.Errorf("%s is not set in this test", typ.Field(i).Name)
		}
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if !slices.ContainsFunc(vfFields, func(f vfField) bool { return f.name == name }) {
			t.Errorf("%s has no row", name)
		}
	}
	if got := vfAsked(all); len(got) != len(vfFields) {
		t.Errorf("%d fields are set, want %d", len(got), len(vfFields))
	}
	if diff := cmp.Diff(all, asVF(all, all)); diff != "" {
		t.Errorf("there and back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(nic.VF{Trust: new(true)}, asVF(all, nic.VF{Trust: new(false)})); diff != "" {
		t.Errorf("what is set in both (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(nic.VF{}, asVF(nic.VF{}, all)); diff != "" {
		t.Errorf("nothing was known (-want +got):\n%s", diff)
	}
}

// kernelVF returns a virtual function as the kernel reports it.
func kernelVF(t *testing.T, number uint32, settings func(v *nic.VF), without ...uint16) vf {
	t.Helper()
	vlan := binary.NativeEndian.AppendUint32(nl.Uint32Attr(number), 0)
	vlan = append(binary.NativeEndian.AppendUint32(vlan, 0), 0x81, 0, 0, 0)
	f := vf{number: number, attrs: map[uint16][]byte{
		unix.IFLA_VF_MAC: append(nl.Uint32Attr(number), make([]byte, 32)...), unix.IFLA_VF_VLAN_LIST: attr(1, vlan).Serialize(),
		unix.IFLA_VF_RATE: append(nl.Uint32Attr(number), make([]byte, 8)...), unix.IFLA_VF_TRUST: append(nl.Uint32Attr(number), make([]byte, 4)...),
		unix.IFLA_VF_SPOOFCHK: append(nl.Uint32Attr(number), 255, 255, 255, 255), unix.IFLA_VF_LINK_STATE: append(nl.Uint32Attr(number), make([]byte, 4)...),
	}}
	var v nic.VF
	settings(&v)
	for _, field := range vfFields {
		field.put(v, f.attrs[field.typ])
	}
	for _, typ := range without {
		delete(f.attrs, typ)
	}
	return f
}

// TestVFLay checks which attributes are set, with what, and that settings which share
// an attribute keep each other.
func TestVFLay(t *testing.T) {
	names := map[uint16]string{}
	for _, s := range vfSettings {
		names[s.typ] = s.name
	}
	for name, tt := range map[string]struct {
		have    func(*nic.VF)
		without []uint16
		asked   string
		want    []string
		unknown []string
		after   func(*nic.VF) // beside have
	}{
		"nothing": {asked: `{}`},
		"as it is": {have: func(v *nic.VF) { v.VLAN, v.Trust = new(7), new(true) }, asked: `{"vlan":7,"trust":true,"linkState":"auto","mac":"00:00:00:00:00:00"}`,
			after: func(v *nic.VF) {}},
		"trust comes first": {asked: `{"mac":"02:00:00:00:00:01","trust":true}`, want: []string{"trust", "hardware address"},
			after: func(v *nic.VF) { v.Trust, v.MAC = new(true), nic.HardwareAddr{2, 0, 0, 0, 0, 1} }},
		"VLAN keeps its priority": {have: func(v *nic.VF) { v.VLAN, v.QoS, v.Proto = new(7), new(3), "802.1ad" }, asked: `{"vlan":8}`, want: []string{"VLAN"},
			after: func(v *nic.VF) { v.VLAN = new(8) }},
		"protocol alone": {have: func(v *nic.VF) { v.VLAN = new(7) }, asked: `{"vlan":7,"proto":"802.1ad"}`, want: []string{"VLAN"},
			after: func(v *nic.VF) { v.Proto = "802.1ad" }},
		"maximum keeps the minimum": {have: func(v *nic.VF) { v.MinTxRate = new(5) }, asked: `{"maxTxRate":9}`, want: []string{"rates"},
			after: func(v *nic.VF) { v.MaxTxRate = new(9) }},
		"what is unknown is set": {asked: `{"spoofCheck":true}`, want: []string{"spoof checking"}, after: func(v *nic.VF) { v.SpoofCheck = new(true) }},
		"what the driver lacks":  {without: []uint16{unix.IFLA_VF_RATE, unix.IFLA_VF_TRUST}, asked: `{"minTxRate":0,"trust":true,"linkState":"enable"}`, want: []string{"link state"}, unknown: []string{"trust", "minTxRate"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.have == nil {
				tt.have = func(*nic.VF) {}
			}
			var asked nic.VF
			if err := json.Unmarshal([]byte(tt.asked), &asked); err != nil {
				t.Fatal(err)
			}
			f := kernelVF(t, 3, tt.have, tt.without...)
			before := f.settings()
			attrs, unknown := f.lay(asked)
			var got, lacks []string
			for _, a := range attrs {
				got = append(got, names[a.Type])
				f.attrs[a.Type] = a.Value
				if a.Type != unix.IFLA_VF_VLAN_LIST && u32(a.Value) != 3 {
					t.Errorf("%s is of VF %d, want 3", names[a.Type], u32(a.Value))
				}
			}
			for _, field := range unknown {
				lacks = append(lacks, field.name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.unknown, lacks); diff != "" {
				t.Errorf("unknown (-want +got):\n%s", diff)
			}
			if tt.after != nil {
				tt.after(&before)
				if diff := cmp.Diff(before, f.settings()); diff != "" {
					t.Errorf("afterwards (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestCheckVF checks what a link cannot have, by field.
func TestCheckVF(t *testing.T) {
	const function, pf = "0000:af:01.2", "0000:af:00.1"
	known := kernelVF(t, 0, func(v *nic.VF) { v.MinTxRate, v.MaxTxRate = new(50), new(100) }).settings()
	ether := Link{Name: "h0", Encapsulation: "ether", Settings: Settings{MAC: make(nic.HardwareAddr, 6)}}
	for name, tt := range map[string]struct {
		vf     *vfState
		config string
		want   string // empty: none
	}{
		"no virtual function":         {nil, `{"vlan":7,"trust":true}`, `vf.trust: "true": the interface is not a virtual function; vf.vlan: "7": the interface is not a virtual function`},
		"and nothing is asked":        {nil, `{}`, ""},
		"its PF is elsewhere":         {&vfState{Function: function, PF: pf}, `{"linkState":"enable"}`, `vf.linkState: "enable": the host has no interface of its physical function 0000:af:00.1 that sets it`},
		"all that the driver has":     {&vfState{Function: function, PF: pf, Settings: known}, `{"vlan":7,"qos":1,"proto":"802.1q","trust":false,"linkState":"auto","mac":"02:00:00:00:00:01","minTxRate":1,"maxTxRate":2}`, ""},
		"what it has not":             {&vfState{Function: function, PF: pf, Settings: known}, `{"spoofCheck":false}`, `vf.spoofCheck: "false": the driver of its physical function 0000:af:00.1 does not have it`},
		"minimum above the maximum":   {&vfState{Function: function, PF: pf, Settings: known}, `{"minTxRate":101}`, `vf.minTxRate: "101": must be at most the maximum, 100`},
		"maximum below the minimum":   {&vfState{Function: function, PF: pf, Settings: known}, `{"maxTxRate":49}`, `vf.minTxRate: "50": must be at most the maximum, 49`},
		"no maximum":                  {&vfState{Function: function, PF: pf, Settings: known}, `{"maxTxRate":0}`, ""},
		"what is not asked has limit": {&vfState{Function: function, PF: pf, Settings: known}, `{"vlan":1}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var c nic.Config
			if err := json.Unmarshal([]byte(tt.config), &c.VF); err != nil {
				t.Fatal(err)
			}
			want, _, err := Desired(ether, State{Name: "h0", VF: tt.vf, Settings: ether.Settings}, c)
			if got := textOf(err); got != tt.want {
				t.Errorf("got error %q, want %q", got, tt.want)
			}
			if c.VF.MAC != nil && want.MAC.String() != c.VF.MAC.String() {
				t.Errorf("hardware address in the pod: got %s, want %s", want.MAC, c.VF.MAC)
			}
		})
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestVFIsAsItWas checks which settings are restored: those that the config asked for,
// and no others.
func TestVFIsAsItWas(t *testing.T) {
	original := State{Name: "h0", VF: &vfState{Function: "0000:af:01.2", PF: "0000:af:00.1", Settings: kernelVF(t, 0, func(v *nic.VF) { v.VLAN, v.Trust = new(5), new(true) }).settings()}}
	want, _, err := Desired(Link{}, original, nic.Config{VF: nic.VF{VLAN: new(7), Trust: new(false)}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(nic.VF{VLAN: new(5), Trust: new(true)}, original.asOriginal(want).VF.Asked); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	raw, err := json.Marshal(original)
	if err != nil {
		t.Fatal(err)
	}
	var back State
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(original.VF, back.VF); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}
