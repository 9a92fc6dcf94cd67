package driver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// function returns a device that is, or belongs to, the physical function pf.
func function(name, address, pf string) inventory.Device {
	d := inventory.Device{Name: name, PF: pf, Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{}}
	d.Attributes["resource.kubernetes.io/pciBusID"] = resourceapi.DeviceAttribute{StringValue: new(address)}
	return d
}

// TestFunctionsTogether checks that a physical function is not offered while a claim
// has one of its virtual ones, nor those while a claim has it, and that all are
// offered when the claim has ended.
func TestFunctionsTogether(t *testing.T) {
	pf, vf0, vf1, other := function("pf", "0000:af:00.1", "0000:af:00.1"), function("vf0", "0000:af:01.0", "0000:af:00.1"),
		function("vf1", "0000:af:01.1", "0000:af:00.1"), function("other", "0000:af:00.0", "0000:af:00.0")
	live := []inventory.Device{other, pf, vf0, vf1}
	held := func(devices ...inventory.Device) (all []allocation.Record) {
		for _, d := range devices {
			all = append(all, allocation.Record{Claim: allocation.Ref{UID: "u"}, Device: d})
		}
		return all
	}
	for name, tt := range map[string]struct {
		records []allocation.Record
		want    map[string]string // why a device is not offered
	}{
		"nobody has any":                 {nil, nil},
		"a claim has a virtual function": {held(vf0), map[string]string{"pf": "its virtual function vf0 is allocated"}},
		"a claim has the physical one":   {held(pf), map[string]string{"vf0": "its physical function pf is allocated", "vf1": "its physical function pf is allocated"}},
		"a claim has both":               {held(pf, vf0), map[string]string{"vf1": "its physical function pf is allocated"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for _, d := range withHeld(live, tt.records) {
				if d.Skipped != "" {
					got[d.Name] = d.Skipped
				}
			}
			if tt.want == nil {
				tt.want = map[string]string{}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("not offered (-want +got):\n%s", diff)
			}
			if live[1].Skipped != "" {
				t.Error("the scan's devices were changed")
			}
		})
	}
}

// TestFunctionsOfTwoClaims checks that two claims which were allocated at the same
// time do not get a physical function and a virtual one of it, in either order.
func TestFunctionsOfTwoClaims(t *testing.T) {
	w := newWorld(t, "")
	devices := map[string]inventory.Device{"h0": function("h0", "0000:af:00.1", "0000:af:00.1"), "p0": function("p0", "0000:af:01.0", "0000:af:00.1")}
	for first, second := range map[string]string{"h0": "p0", "p0": "h0"} {
		a, b := w.claim("a"+first, first, `{"interface":{"name":"net1"}}`, "web"), w.claim("b"+first, second, `{"interface":{"name":"net2"}}`, "other")
		must(t, w.prepare(a))
		record := w.driver.store.OfClaim(string(a.UID))[0]
		link := record.Device.Link
		record.Device = devices[first]
		record.Device.Link = link
		must(t, w.driver.store.Put(record))
		must(t, w.prepare(b)) // its device is no function as far as the driver knows
		late := w.driver.store.OfClaim(string(b.UID))[0]
		w.unprepare(b)
		link = late.Device.Link
		late.Device = devices[second]
		late.Device.Link = link
		want := map[string]string{"p0": "device p0: its physical function h0 is allocated to another claim", "h0": "device h0: its virtual function p0 is allocated to another claim"}[second]
		refused(t, w.driver.engine.Prepare(w.ctx, []allocation.Record{late}), want)
		both := late
		both.Claim, both.Pods = record.Claim, record.Pods
		both.Config.VF = nic.VF{LinkState: "enable"}
		refused(t, w.driver.engine.Prepare(w.ctx, []allocation.Record{record, both}), "vf.linkState")
		w.unprepare(a)
		must(t, w.driver.engine.Prepare(w.ctx, []allocation.Record{late}))
		w.unprepare(b)
	}
	w.restored()
}
