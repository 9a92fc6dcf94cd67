package driver

import (
	"context"
	"encoding/json"
	"slices"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// patch writes the wanted entries where server-side apply cannot. For an apply
// the API server takes the whole claim through its schema, which sorts the keys
// of opaque parameters. It then refuses its own result as a change of the
// allocation, unless they were sorted before: kubectl sorts them, a program
// that makes them from a Go struct does not. A merge patch leaves alone what it
// does not name.
func (w *statusWriter) patch(ctx context.Context, ref allocation.Ref, want map[string]deviceStatus) error {
	claims := w.client.ResourceV1().ResourceClaims(ref.Namespace)
	claim, err := claims.Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	theirs := slices.DeleteFunc(claim.Status.Devices, func(s resourceapi.AllocatedDeviceStatus) bool {
		_, ours := want[s.Pool+"/"+s.Device]
		return ours && s.Driver == inventory.DriverName
	})
	entries := make([]any, 0, len(theirs)+len(want))
	for _, s := range theirs {
		entries = append(entries, s)
	}
	for _, s := range want {
		entries = append(entries, s.apply())
	}
	body, err := json.Marshal(map[string]any{
		// Of this claim, as it was when we read the entries of others.
		"metadata": map[string]any{"uid": ref.UID, "resourceVersion": claim.ResourceVersion},
		"status":   map[string]any{"devices": entries},
	})
	if err != nil {
		return err
	}
	_, err = claims.Patch(ctx, ref.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: inventory.DriverName}, "status")
	return err
}
