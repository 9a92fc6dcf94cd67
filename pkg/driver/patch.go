package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patch writes the wanted entries where server-side apply cannot. For an apply
// the API server takes the whole claim through its schema, which sorts the keys
// of opaque parameters. It then refuses its own result as a change of the
// allocation, unless they were sorted before: kubectl sorts them, a program
// that makes them from a Go struct does not. A JSON patch leaves alone what it
// does not name.
func (w *statusWriter) patch(ctx context.Context, claim *resourceapi.ResourceClaim, ours map[string]deviceStatus) error {
	body, err := json.Marshal(patchOf(claim, ours))
	if err != nil {
		return err
	}
	_, err = w.client.ResourceV1().ResourceClaims(claim.Namespace).Patch(ctx, claim.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: v1alpha1.DriverName}, "status")
	return err
}

// patchOf returns what makes our entries of the claim these. It names no entry
// of another driver: those may have fields that this program does not know.
func patchOf(claim *resourceapi.ResourceClaim, ours map[string]deviceStatus) []operation {
	// Of this claim, as it was when its entries were read: else their indices are others.
	all := []operation{{"replace", "/metadata/uid", claim.UID}, {"replace", "/metadata/resourceVersion", claim.ResourceVersion}}
	if len(claim.Status.Devices) == 0 {
		all = append(all, operation{"add", "/status/devices", []any{}})
	}
	left := maps.Clone(ours)
	for i, d := range slices.Backward(claim.Status.Devices) { // from the end, so that a removal moves none that follows
		if d.Driver != v1alpha1.DriverName {
			continue
		}
		path, key := fmt.Sprintf("/status/devices/%d", i), d.Pool+"/"+d.Device
		if s, ok := left[key]; ok {
			all = append(all, operation{"replace", path, s.apply()})
			delete(left, key)
		} else {
			all = append(all, operation{Op: "remove", Path: path})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(left)) {
		all = append(all, operation{"add", "/status/devices/-", left[key].apply()})
	}
	return all
}
