package netdev

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestPodSettings checks that each field of a config's ethtool is of one setting,
// which asks for it by its name.
func TestPodSettings(t *testing.T) {
	var visit func(path string, typ reflect.Type)
	visit = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			field := path + "." + name
			value := map[reflect.Kind]string{reflect.Uint32: "1", reflect.Bool: "true", reflect.Map: `{"x":true}`}
			kind := f.Type.Kind()
			switch kind {
			case reflect.Struct:
				visit(field, f.Type)
				continue
			case reflect.Pointer:
				kind = f.Type.Elem().Kind()
			case reflect.String: // duplex, which is set with the speed
				continue
			case reflect.Map:
				field += ".x"
			}
			config := value[kind]
			for _, p := range slices.Backward(strings.Split(strings.TrimSuffix(field, ".x"), ".")[1:]) {
				config = fmt.Sprintf(`{%q:%s}`, p, config)
			}
			var e nic.Ethtool
			if err := json.Unmarshal([]byte(config), &e); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range podSettings {
				for _, a := range s.asked(e) {
					got = append(got, a.field)
				}
			}
			if d := cmp.Diff([]string{field}, got); d != "" {
				t.Errorf("%s is asked for by (-want +got):\n%s", config, d)
			}
		}
	}
	visit("ethtool", reflect.TypeFor[nic.Ethtool]())
}

// TestEthtoolInPod checks that features and channels are as the config wants them
// in the pod, and as they were on the host afterwards.
func TestEthtoolInPod(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nethtool -K h0 gro on rx-gro-list off", "")
	before := w.hardware()
	p := w.plan("h0", `{"interface":{"name":"net1"},"ethtool":{"channels":{"rx":2,"tx":2},
		"features":{"tso":false,"tx-tcp6-segmentation":true,"generic-receive-offload":false,"rx-gro-list":true,"tx-nocache-copy":true,"lro":false}}}`)
	p.ID = w.attach(p)[0].ID
	shown := w.Pod.Run("ethtool -k net1")
	for _, want := range []string{
		"tx-tcp-segmentation: off", "tx-tcp-ecn-segmentation: off", "tx-tcp6-segmentation: on", "generic-receive-offload: off", "rx-gro-list: on", "tx-nocache-copy: on",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the pod lacks %q:\n%s", want, shown)
		}
	}
	if _, current, _ := strings.Cut(w.Pod.Run("ethtool -l net1"), "Current"); strings.Count(current, "\t2\n") != 2 {
		t.Errorf("channels in the pod:\n%s", current)
	}
	w.attach(p) // again, as after a crash
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	if now := w.hardware(); now != before {
		t.Errorf("hardware settings: got\n%s\nwant\n%s", now, before)
	}
	w.asBefore()
}

// TestEthtoolIsRefused checks that what the interface does not have is refused
// before it is touched, by the name of the field.
func TestEthtoolIsRefused(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	p := w.plan("h0", `{}`)
	_, l, err := Read(context.Background(), w.host, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ ethtool, want string }{
		{`{"features":{"foo":true}}`, `ethtool.features.foo: "true": the interface has no such feature`},
		{`{"features":{"lro":true}}`, `ethtool.features.lro: "true": the interface's driver does not let it change, see ethtool -k: [fixed]`},
		{`{"features":{"rx-all":true}}`, `ethtool.features.rx-all: "true": the interface's driver does not let it change, see ethtool -k: [fixed]`},
		{`{"channels":{"rx":3}}`, `ethtool.channels.rx: "3": the interface takes 2 at most`},
		{`{"channels":{"rx":0}}`, `ethtool.channels.rx: "0": one queue at least must receive`},
		{`{"channels":{"combined":1}}`, `ethtool.channels.combined: "1": the interface takes 0 at most`},
		{`{"rings":{"rx":99999}}`, `ethtool.rings.rx: "99999": the interface has no such setting`},
		{`{"coalesce":{"adaptiveRx":true}}`, `ethtool.coalesce.adaptiveRx: "true": the interface has no such setting`},
		{`{"pause":{"rx":false}}`, `ethtool.pause.rx: "false": the interface has no such setting`},
		{`{"speed":1000}`, `ethtool.speed: "1000": the interface has no such setting`},
		{`{"privateFlags":{"legacy-rx":true}}`, `ethtool.privateFlags.legacy-rx: "true": the interface has no such setting`},
	} {
		var c nic.Config
		if err := json.Unmarshal([]byte(tt.ethtool), &c.Ethtool); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Desired(l, p.Original, c); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got error %v, want %s", tt.ethtool, err, tt.want)
		}
	}
}

// TestEthtoolWithoutEffect checks that a feature which the kernel does not switch on,
// as another that it needs is off, and a request that it refuses each time fail
// the attach, and that one which it refuses only while the link is down does not.
func TestEthtoolWithoutEffect(t *testing.T) {
	for _, tt := range []struct {
		name, ethtool, want string
		refusals            int
	}{
		{"needs another", `{"features":{"tx":false,"tx-tcp-segmentation":true}}`, `ethtool.features.tx-tcp-segmentation: "true": the driver accepted it without effect`, 0},
		{"refused", `{"channels":{"rx":2}}`, `ethtool.channels.rx: "2": set channels: network is down`, 9},
		{"refused at first", `{"channels":{"rx":2}}`, "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up", "")
			before := w.hardware()
			p := w.plan("h0", `{"interface":{"name":"net1"},"ethtool":`+tt.ethtool+`}`)
			left := tt.refusals
			w.pod.conn.failpoint = func(what string) error {
				if what != "set channels" || left == 0 {
					return nil
				}
				left--
				return unix.ENETDOWN
			}
			done, err := Attach(context.Background(), w.host, w.pod, []Plan{p})
			if tt.want == "" && err == nil {
				p.ID = done[0].ID
				w.detach(p)
			} else if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Attach: got error %v, want %s", err, tt.want)
			}
			if now := w.hardware(); now != before {
				t.Errorf("hardware settings: got\n%s\nwant\n%s", now, before)
			}
			w.asBefore()
		})
	}
}

// TestLayLinkSettings checks what is asked of a link that can have 10, 100 and 1000
// Mb/s, and of one that does not know.
func TestLayLinkSettings(t *testing.T) {
	const all, full1000, half100 = 0x3f, 1 << 5, 1 << 2
	can := func(autoneg byte, speed uint32, modes uint32) []byte {
		return put(linkSettings(autoneg, speed, 1, modes|1<<autonegMode), lsSize, all|1<<autonegMode)
	}
	for _, tt := range []struct {
		ethtool    string
		have, want []byte
		err        string
	}{
		{`{"speed":1000}`, can(1, 100, all), can(1, 100, full1000), ""},
		{`{"speed":100,"duplex":"half"}`, can(1, 100, all), can(1, 100, half100), ""},
		{`{"speed":100,"autoneg":false}`, can(1, 1000, all), can(0, 100, all), ""},
		{`{"autoneg":true}`, can(0, 100, 0), can(1, 100, all), ""},
		{`{"autoneg":true}`, can(1, 100, half100), can(1, 100, half100), ""},
		{`{"speed":10000}`, can(1, 100, all), nil, `ethtool.speed: "10000": the interface does not support it, see ethtool`},
		{`{"speed":10000}`, linkSettings(0, 1000, 1, 0), linkSettings(0, 10000, 1, 0), ""},
		{`{"autoneg":true}`, linkSettings(0, 1000, 1, 0), nil, `ethtool.autoneg: "true": the interface does not support it`},
	} {
		var e nic.Ethtool
		if err := json.Unmarshal([]byte(tt.ethtool), &e); err != nil {
			t.Fatal(err)
		}
		got := ""
		linkSettingsInPod.check(Link{}, e, tt.have, func(field string, value any, format string, args ...any) {
			got = fmt.Sprintf(`%s: "%v": %s`, field, value, fmt.Sprintf(format, args...))
		})
		if got != tt.err {
			t.Errorf("%s: check: got %q, want %q", tt.ethtool, got, tt.err)
		}
		if tt.want == nil {
			continue
		}
		if d := cmp.Diff(tt.want, linkSettingsInPod.lay(e, nil, tt.have)); d != "" {
			t.Errorf("%s: (-want +got):\n%s", tt.ethtool, d)
		}
	}
}
