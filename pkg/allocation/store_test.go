package allocation

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

var byValue = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// full returns an attached record with every kind of field.
func full(claim, device string) Record {
	zero := uint32(0)
	state := netdev.State{
		Name: "eth1", Settings: netdev.Settings{MTU: 9000, MAC: nic.HardwareAddr{2, 0, 0, 0, 0, 1}, AltNames: []string{"enp3s0"}, Up: true},
		Addresses: []netdev.Address{{Prefix: netip.MustParsePrefix("192.0.2.1/24"), Preferred: &zero, Metric: 5}},
		Routes:    []netdev.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.0.2.254"), Table: 254, Extra: []netdev.Attr{{Type: 8, Value: []byte{1}}}}},
		Neighbors: []netdev.Neighbor{{Address: netip.MustParseAddr("2001:db8::1"), MAC: nic.HardwareAddr{2, 0, 0, 0, 0, 2}}},
	}
	r := Record{
		Claim: Ref{"default", "nic", claim}, Pods: []Ref{{"default", "web", "pod-" + claim}}, Request: "nic", Pool: "n1",
		Device: inventory.Device{Name: device, Link: netdev.Link{Name: "eth1", Index: 3, Kind: "veth"}},
		Config: nic.Config{Interface: nic.Interface{Name: "net1"}},
	}
	return r.Begin(Sandbox{ID: "s1", PodUID: "pod-" + claim, NetNS: "/run/netns/x", Cookie: 7, PodLink: PodLink{Index: 2, Lower: 9}}, r.ID(), state, []string{"a route"}, then.Add(time.Minute), then).
		AttachDone(netdev.Attached{ID: r.ID(), State: state, Base: nic.Statistics{RxBytes: 1}}, then)
}

var then = time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)

func open(t *testing.T, dir, boot string, wantFaults int) *Store {
	t.Helper()
	b, faults, err := Open(t.Context(), dir, boot)
	if err != nil {
		t.Fatal(err)
	}
	if len(faults) != wantFaults {
		t.Fatalf("Open: got faults %v, want %d", faults, wantFaults)
	}
	return b
}

func TestStoreOutlivesProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	b := open(t, dir, "boot1", 0)
	x, y := full("c1", "eth1"), full("c2", "eth2")
	y = y.Untouched()
	for _, a := range []Record{y, x, x} {
		if err := b.Put(a); err != nil {
			t.Fatal(err)
		}
	}
	killed := filepath.Join(dir, "."+x.Key().File()+"123")
	if err := os.WriteFile(killed, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, "boot1", 0)
	if _, err := os.Stat(killed); err == nil {
		t.Error("the file of a killed Put is still there")
	}
	if d := cmp.Diff([]Record{x, y}, again.All(), byValue); d != "" {
		t.Errorf("All (-want +got):\n%s", d)
	}
	if got := again.InSandbox("s1"); len(got) != 1 || got[0].Claim.UID != "c1" {
		t.Errorf("InSandbox: got %v", got)
	}
	for name, got := range map[string][]Record{"OfPod": again.OfPod("pod-c2"), "OfClaim": again.OfClaim("c2")} {
		if d := cmp.Diff([]Record{y}, got, byValue); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if got, ok := again.Get(y.Key()); !ok || !cmp.Equal(y, got, byValue) {
		t.Errorf("Get: got %v, %v", got, ok)
	}
	if got, ok := again.Get(Key{"c2", "eth1", ""}); ok {
		t.Errorf("Get of no record: got %v", got)
	}
	y.Released = true
	if err := again.Put(y); err != nil {
		t.Fatal(err)
	}
	if got := again.OfPod("pod-c2"); len(got) != 0 {
		t.Errorf("OfPod, the claim has ended: got %v", got)
	}
	for range 2 { // the second time there is nothing to release
		if err := again.Release(x.Key()); err != nil {
			t.Fatal(err)
		}
	}
	if got := open(t, dir, "boot1", 0).All(); len(got) != 1 || got[0].Claim.UID != "c2" {
		t.Errorf("after Release: got %v", got)
	}
}

// TestBadRecords checks that a record that cannot be used is named with its
// file and fault, and does not keep the others from being served.
func TestBadRecords(t *testing.T) {
	tests := []struct {
		name, text, want string
		otherBoot        bool
	}{
		{"empty", "", "it is not a record (0 bytes)", false},
		{"cut off", `{"version":2,"bootID":"boot1","record":{"claim":{"na`, "it is not a record", false},
		{"other version", `{"version":1}`, "it is of version 1, want 2", false},
		{"other boot", `{"version":2,"bootID":"boot0","record":{"claim":{"name":"x","uid":"x"},"device":{"name":"y"}}}`, `it is of boot "boot0", this is boot "boot1"`, true},
		{"no claim", `{"version":2,"bootID":"boot1","record":{}}`, "it names no claim", false},
		{"other name", `{"version":2,"bootID":"boot1","record":{"claim":{"name":"x","uid":"x"},"device":{"name":"z"}}}`, "do not fit its name", false},
		{"no sandbox", `{"version":2,"bootID":"boot1","record":{"claim":{"name":"x","uid":"x"},"device":{"name":"y"},"attachment":{"original":{"name":"a","mtu":1}}}}`, "it contradicts itself", false},
		{"two states", `{"version":2,"bootID":"boot1","record":{"claim":{"name":"x","uid":"x"},"device":{"name":"y"},"attachment":{"sandbox":{"id":"s"},"inPod":{},"deadline":"2026-01-01T00:00:00Z"}}}`, "it contradicts itself", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := open(t, dir, "boot1", 0).Put(full("c1", "eth1")); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "x_y.json")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			b, faults, err := Open(t.Context(), dir, "boot1")
			if err != nil || len(faults) != 1 || !strings.Contains(faults[0].Error(), tt.want) || !strings.Contains(faults[0].Error(), file) {
				t.Errorf("Open: got faults %v, error %v, want one with %q", faults, err, tt.want)
			}
			if got := b.All(); len(got) != 1 {
				t.Errorf("got %d good records, want 1", len(got))
			}
			if strings.Contains(tt.want, "of version") {
				return // TestOtherVersionStays
			}
			if b.HasUnreadable() == tt.otherBoot {
				t.Errorf("there are unreadable records: %v", !tt.otherBoot)
			}
			if open(t, dir, "boot1", 0).HasUnreadable() == tt.otherBoot {
				t.Error("opened again, the store has forgotten that it cannot read all")
			}
			kept, err := os.ReadFile(file + quarantined)
			if tt.otherBoot && err == nil {
				t.Errorf("the record of another boot is kept: %q", kept)
			}
			if !tt.otherBoot && (err != nil || string(kept) != tt.text) {
				t.Errorf("quarantined: %q, %v, want %q", kept, err, tt.text)
			}
		})
	}
}

// TestSeeds checks that the fuzzer's seeds are what they are for: as many as can
// be read are, and each other one has the fault that its name is about.
func TestSeeds(t *testing.T) {
	const dir = "testdata/fuzz/FuzzDecode"
	want := map[string]string{
		"attaching": "", "boot": "", "dot": "", "empty-lists": "", "full": "", "no-attached": "", "no-attachment": "", "path": "",
		"bad-prefix": "invalid Prefix", "cut": "unexpected end of JSON input", "empty": "0 bytes", "huge-index": "9223372036854775808",
		"no-version": "version 0", "null": "version 0", "two-states": "contradicts itself", "version": "version 3",
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		quoted := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(text)), "go test fuzz v1\n[]byte("), ")")
		seed, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		fault, known := want[f.Name()]
		_, _, err = decode([]byte(seed))
		if !known || (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: got error %v, want %q", f.Name(), err, fault)
		}
		delete(want, f.Name())
	}
	if len(want) > 0 {
		t.Errorf("no seeds: %v", want)
	}
}

// FuzzDecode checks that no record ends the driver, and that one which can be
// read is the same after a Put and an Open.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		a, boot, err := decode(text)
		if err != nil {
			return
		}
		name := a.Key().File()
		if strings.ContainsAny(name, "/\x00") || len(name) > 200 || strings.HasPrefix(name, ".") {
			return // a file system's limits and ours, not the record's
		}
		b := open(t, filepath.Join(t.TempDir(), "allocations"), boot, 0)
		if err := b.Put(a); err != nil {
			t.Fatalf("decoded but cannot be put: %v", err)
		}
		if d := cmp.Diff([]Record{a}, open(t, b.dir, boot, 0).All(), byValue, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("read again (-want +got):\n%s", d)
		}
	})
}
