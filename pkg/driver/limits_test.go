package driver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/dhcp"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestNetworkData checks that only addresses are listed that the API server
// takes: in CIDR form, canonical, no IPv4-mapped ones, 16 at most.
func TestNetworkData(t *testing.T) {
	addresses := func(all ...netip.Prefix) netdev.State {
		state := netdev.State{Name: "net1"}
		for _, p := range all {
			state.Addresses = append(state.Addresses, netdev.Address{Prefix: p})
		}
		return state
	}
	got := networkData(addresses(
		netip.MustParsePrefix("192.0.2.1/24"),
		netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.1"), 120),
		netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.1"), 24),
		netip.MustParsePrefix("2001:DB8:0::1/64"),
		netip.PrefixFrom(netip.MustParseAddr("fe80::1%eth0"), 64),
		netip.PrefixFrom(netip.MustParseAddr("2001:db8::3%eth0"), 64),
		netip.MustParsePrefix("::192.0.2.1/96"),
		netip.Prefix{},
	))
	want := []string{"192.0.2.1/24", "2001:db8::1/64", "2001:db8::3/64", "::c000:201/96"}
	if d := cmp.Diff(want, got.IPs); d != "" {
		t.Errorf("ips (-want +got):\n%s", d)
	}
	var many []netip.Prefix
	for i := range 40 {
		many = append(many, netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", i+1)))
	}
	if got := networkData(addresses(many...)).IPs; len(got) != maxIPs {
		t.Errorf("%d addresses are listed, want %d", len(got), maxIPs)
	}
}

// TestDataFits checks that data fits whatever is omitted.
func TestDataFits(t *testing.T) {
	const limit = 10 << 10 // of the API server
	ecmp := "route 198.51.100.0/24" + strings.Repeat(" nexthop via 192.0.2.129 weight 255", 16)
	for name, text := range map[string]string{
		"short": "route 10.0.0.0/8 via 192.0.2.9", "ecmp": ecmp, "escaped": strings.Repeat("\x01<", 500), "runes": strings.Repeat("\u00e4\u20ac", 300), "not UTF-8": strings.Repeat("\xff", 500), "empty": "",
	} {
		for _, count := range []int{0, 1, maxOmitted, maxOmitted + 1, 5000} {
			r := allocation.Record{Attachment: &allocation.Attachment{
				InPod: &netdev.Attached{State: netdev.State{Settings: netdev.Settings{MTU: 1 << 30}}}, Omitted: slices.Repeat([]string{text}, count),
			}}
			const most = 1<<64 - 1
			s := data(r, nic.Statistics{RxBytes: most, RxPackets: most, RxErrors: most, RxDropped: most, TxBytes: most, TxPackets: most, TxErrors: most, TxDropped: most}, nil, time.Now())
			raw, err := json.Marshal(s)
			if err != nil || len(raw) > limit {
				t.Errorf("%d of %s: data has %d bytes, want %d at most (%v)", count, name, len(raw), limit, err)
			}
			named := len(s.Omitted)
			if named > 0 && strings.HasPrefix(s.Omitted[named-1], "and ") {
				named--
				if want := fmt.Sprintf("and %d more", count-named); s.Omitted[named] != want {
					t.Errorf("%d of %s: the last entry is %q, want %q", count, name, s.Omitted[named], want)
				}
			} else if named != count {
				t.Errorf("%d of %s: %d are named", count, name, named)
			}
			for _, l := range s.Omitted {
				if len(l) > maxText || !utf8.ValidString(l) {
					t.Errorf("%d of %s: an entry is %q", count, name, l)
				}
			}
			if name == "ecmp" && named > 0 && (named != min(count, maxOmitted) || !strings.HasPrefix(s.Omitted[0], ecmp[:100]) || !strings.HasSuffix(s.Omitted[0], "…")) {
				t.Errorf("%d of %s: %d are named, the first %q", count, name, named, s.Omitted[0])
			}
		}
	}
}

// TestLeasesFit checks that data fits with all that two servers can send.
func TestLeasesFit(t *testing.T) {
	long := netip.MustParsePrefix("2001:db8:1111:2222:3333:4444:5555:6666/128")
	lease := dhcp.Lease{
		Address: long, Server: long.Addr(), DNS: slices.Repeat([]netip.Addr{long.Addr()}, 8), Search: slices.Repeat([]string{strings.Repeat("x", 253)}, 8),
		Routes:  slices.Repeat([]nic.Route{{Destination: netip.MustParsePrefix("198.51.100.128/28"), Gateway: netip.MustParseAddr("198.51.100.129")}}, 32),
		Ignored: slices.Repeat([]string{"route to 198.51.100.128/28: it is in the network 198.51.100.0/24 of another interface of the pod"}, 16),
	}
	r := allocation.Record{Attachment: &allocation.Attachment{
		InPod: &netdev.Attached{}, Leases: []dhcp.Lease{lease, {Address: long, Server: long.Addr(), DNS: lease.DNS, Search: lease.Search}},
		Omitted: slices.Repeat([]string{"route 10.0.0.0/8 via 192.0.2.9"}, 5000),
	}}
	const most = 1<<64 - 1
	s := data(r, nic.Statistics{RxBytes: most, RxPackets: most, RxErrors: most, RxDropped: most, TxBytes: most, TxPackets: most, TxErrors: most, TxDropped: most}, nil, time.Now())
	if raw, err := json.Marshal(s); err != nil || len(raw) > maxData || len(s.Leases) != 2 {
		t.Errorf("data has %d bytes and %d leases, want %d bytes at most and 2 leases (%v)", len(raw), len(s.Leases), maxData, err)
	}
}

// TestRefusedStatus checks that what the API server refuses of a status is left
// out step by step, and that what it refuses altogether is not tried for ever.
func TestRefusedStatus(t *testing.T) {
	devices := field.NewPath("status", "devices").Index(0)
	invalid := apierrors.NewInvalid(resourceapi.SchemeGroupVersion.WithKind("ResourceClaim").GroupKind(), "c", field.ErrorList{field.Invalid(devices.Child("networkData", "ips").Index(0), "x", "no")})
	forbidden := apierrors.NewInvalid(resourceapi.SchemeGroupVersion.WithKind("ResourceClaim").GroupKind(), "c", field.ErrorList{field.Forbidden(devices, "no")})
	stale := apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", resourceapi.Resource("resourceclaims"), "", "no such path", 0, false)
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name    string
		refuses func(resourceapi.AllocatedDeviceStatus) bool
		with    error
		want    string // reason, interface name, data, length of the message; empty: not written
		err     bool   // it is to be tried again
	}{
		{"nothing", func(resourceapi.AllocatedDeviceStatus) bool { return false }, invalid, "Attached net1 true 5000", false},
		{"networkData", func(d resourceapi.AllocatedDeviceStatus) bool { return d.NetworkData != nil }, invalid, "Attached - true 5000", false},
		{"data", func(d resourceapi.AllocatedDeviceStatus) bool { return d.Data != nil }, invalid, "Attached - false 5000", false},
		{"the message", func(d resourceapi.AllocatedDeviceStatus) bool { return len(d.Conditions[0].Message) > 1000 }, invalid, "Attached - false 256", false},
		{"everything", func(resourceapi.AllocatedDeviceStatus) bool { return true }, invalid, "", false},
		{"for want of rights", func(resourceapi.AllocatedDeviceStatus) bool { return true }, forbidden, "", true},
		{"as stale", func(resourceapi.AllocatedDeviceStatus) bool { return true }, stale, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newStatusWorld(t)
			tries := 0
			w.client.PrependReactor("patch", "resourceclaims", func(action clienttesting.Action) (bool, runtime.Object, error) {
				tries++
				if tt.refuses(patched(t, action.(clienttesting.PatchAction).GetPatch())) {
					return true, nil, tt.with
				}
				return false, nil, nil
			})
			r := w.attach("h0")
			r.Condition.Reason, r.Condition.Message = v1alpha1.ReasonAttached, long
			w.put(w.older, r)
			if err := w.older.sync(w.ctx, w.claim.UID); (err != nil) != tt.err {
				t.Errorf("sync: %v, want it tried again: %v", err, tt.err)
			}
			now, err := w.client.ResourceV1().ResourceClaims("default").Get(w.ctx, "c", metav1.GetOptions{})
			must(t, err)
			if got := summary(now.Status.Devices); got != tt.want {
				t.Errorf("the claim has %q, want %q", got, tt.want)
			}
			if tries > 16 {
				t.Errorf("%d patches", tries)
			}
		})
	}
}

// patched returns the one entry that a patch writes: an apply's, or a JSON
// patch's.
func patched(t *testing.T, patch []byte) (d resourceapi.AllocatedDeviceStatus) {
	t.Helper()
	var claim resourceapi.ResourceClaim
	if json.Unmarshal(patch, &claim) == nil {
		return claim.Status.Devices[0]
	}
	var all []struct {
		Path  string
		Value json.RawMessage
	}
	must(t, json.Unmarshal(patch, &all))
	for _, op := range all {
		if strings.HasPrefix(op.Path, "/status/devices/") {
			must(t, json.Unmarshal(op.Value, &d))
		}
	}
	return d
}

func summary(all []resourceapi.AllocatedDeviceStatus) string {
	if len(all) == 0 {
		return ""
	}
	d, name := all[0], "-"
	if d.NetworkData != nil {
		name = d.NetworkData.InterfaceName
	}
	return fmt.Sprintf("%s %s %v %d", d.Conditions[0].Reason, name, d.Data != nil, len(d.Conditions[0].Message))
}

// TestForeignEntries checks that a patch leaves the entries of other drivers as
// they are, byte for byte, with fields that this program does not know.
func TestForeignEntries(t *testing.T) {
	theirs := []string{
		`{"driver":"gpu.example.com","pool":"p","device":"d0","temperature":[1, 2.50],"data":{"z":1,"a":"\u003c"}}`,
		`{"device":"d1",  "pool":"p","driver":"gpu.example.com","networkData":{"ips":["10.0.0.1/8"],"vlan":7}}`,
	}
	ours := func(device string) string {
		return fmt.Sprintf(`{"driver":%q,"pool":%q,"device":%q}`, v1alpha1.DriverName, nodeName, device)
	}
	for name, devices := range map[string][]string{
		"none":           nil,
		"theirs only":    theirs,
		"ours between":   {theirs[0], ours("h0"), theirs[1]},
		"ours all about": {ours("h1"), theirs[0], ours("h0"), theirs[1], ours("gone"), ours("h1")},
	} {
		t.Run(name, func(t *testing.T) {
			server := &claimServer{devices: devices}
			client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://api", Transport: server})
			must(t, err)
			store, _, err := allocation.Open(t.Context(), t.TempDir()+"/allocations", "boot")
			must(t, err)
			w := newStatusWriter(client, store, nil)
			w.failed(allocation.Ref{Namespace: "default", Name: "c", UID: "uid-c"}, []resourceapi.DeviceRequestAllocationResult{{Pool: nodeName, Device: "h0"}}, fmt.Errorf("no"))
			must(t, w.sync(t.Context(), "uid-c"))
			var left, found []string
			for _, d := range server.devices {
				if strings.Contains(d, "gpu.example.com") {
					left = append(left, d)
				} else {
					var own resourceapi.AllocatedDeviceStatus
					must(t, json.Unmarshal([]byte(d), &own))
					found = append(found, own.Device+" "+fmt.Sprint(len(own.Conditions)))
				}
			}
			var want []string
			if devices != nil {
				want = theirs
			}
			if d := cmp.Diff(want, left); d != "" {
				t.Errorf("the other driver's entries (-want +got):\n%s", d)
			}
			if len(found) == 0 || !slices.Contains(found, "h0 1") || slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, "gone") }) {
				t.Errorf("ours are %q, want h0 with a condition, and none that is not allocated", found)
			}
		})
	}
}

// claimServer has one claim, whose devices' entries it keeps as they are. It
// refuses every server-side apply, as the API server does when the claim's
// parameters are not sorted.
type claimServer struct {
	mu      sync.Mutex // guards devices
	devices []string
}

// RoundTrip implements http.RoundTripper: no network is needed.
func (s *claimServer) RoundTrip(r *http.Request) (*http.Response, error) {
	out := httptest.NewRecorder()
	s.serve(out, r)
	return out.Result(), nil
}

func (s *claimServer) serve(out http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Header().Set("Content-Type", "application/json")
	switch contentType := r.Header.Get("Content-Type"); {
	case r.Method == http.MethodGet:
	case r.Method == http.MethodPatch && strings.HasPrefix(contentType, "application/json-patch"):
		var ops []struct {
			Op, Path string
			Value    json.RawMessage
		}
		if err := json.NewDecoder(r.Body).Decode(&ops); err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		for _, op := range ops {
			s.patch(op.Op, op.Path, op.Value)
		}
	default:
		out.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(out, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"details":{"causes":[{"reason":"FieldValueInvalid","field":"status.allocation","message":"field is immutable"}]}}`)
		return
	}
	results := fmt.Sprintf(`[{"request":"r","driver":%[1]q,"pool":%[2]q,"device":"h0"},{"request":"r","driver":%[1]q,"pool":%[2]q,"device":"h1"}]`, v1alpha1.DriverName, nodeName)
	fmt.Fprintf(out, `{"kind":"ResourceClaim","apiVersion":"resource.k8s.io/v1","metadata":{"namespace":"default","name":"c","uid":"uid-c","resourceVersion":"7"},"spec":{},"status":{"allocation":{"devices":{"results":%s}},"devices":[%s]}}`,
		results, strings.Join(s.devices, ","))
}

// patch carries out what a JSON patch says of status.devices.
func (s *claimServer) patch(op, path string, value json.RawMessage) {
	at, found := strings.CutPrefix(path, "/status/devices")
	switch at = strings.TrimPrefix(at, "/"); {
	case !found:
	case at == "":
		s.devices = nil
	case at == "-":
		s.devices = append(s.devices, string(value))
	default:
		var i int
		fmt.Sscan(at, &i)
		if s.devices = slices.Clone(s.devices); op == "remove" {
			s.devices = slices.Delete(s.devices, i, i+1)
		} else {
			s.devices[i] = string(value)
		}
	}
}
