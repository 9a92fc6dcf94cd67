package driver

import (
	"context"
	"encoding/json"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// patch writes the wanted entries where server-side apply cannot. For an apply
// the API server takes the whole claim through its schema, which sorts the keys
// of opaque parameters. It then refuses its own result as a change of the
// allocation, unless they were sorted before: kubectl sorts them, a program
// that makes them from a Go struct does not. A merge patch leaves alone what it
// does not name.
func (w *statusWriter) patch(ctx context.Context, claim *resourceapi.ResourceClaim, ours map[string]deviceStatus) error {
	var entries []any
	for _, s := range claim.Status.Devices {
		if s.Driver != inventory.DriverName {
			entries = append(entries, s)
		}
	}
	for _, s := range ours {
		entries = append(entries, s.apply())
	}
	body, err := json.Marshal(map[string]any{
		// Of this claim, as it was when the entries of others were read.
		"metadata": map[string]any{"uid": claim.UID, "resourceVersion": claim.ResourceVersion},
		"status":   map[string]any{"devices": entries},
	})
	if err != nil {
		return err
	}
	_, err = w.client.ResourceV1().ResourceClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: inventory.DriverName}, "status")
	return err
}
