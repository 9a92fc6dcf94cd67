package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// The runtime hook leaves a file for each container that it refuses, named as
// the record that it was given (cmd/dra-netdev-hook/refusal.go): crun passes
// on nothing of what the hook says, and the driver may have been away.
const (
	refusalDir        = "refusals"
	refusalSize       = 8 << 10 // bytes of a file, at most
	refusalsAtOnce    = 32      // reported in a round
	unfinishedRefusal = "."     // how files begin until they are renamed
)

// refusal is what such a file holds.
type refusal struct {
	Pod       allocation.Ref `json:"pod"` // as the runtime has told it; not set by every one
	Container string         `json:"container"`
	Reason    string         `json:"reason"`
	Time      time.Time      `json:"time"`
}

// reportRefusals reports what the runtime hook has refused since the last time,
// each in an event of its pod.
func (d *Driver) reportRefusals(ctx context.Context) {
	dir := filepath.Join(d.cfg.StateDir, refusalDir)
	entries, _ := os.ReadDir(dir) // there is none before the first refusal
	for _, e := range entries[:min(len(entries), refusalsAtOnce)] {
		path := filepath.Join(dir, e.Name())
		if info, err := e.Info(); err != nil || strings.HasPrefix(e.Name(), unfinishedRefusal) && time.Since(info.ModTime()) < time.Minute {
			continue
		}
		r, err := readRefusal(path)
		if removed := os.Remove(path); removed != nil {
			continue // another instance has reported it
		}
		if err != nil {
			klog.FromContext(ctx).Error(err, "Failed to read what the runtime hook has refused", "file", path)
			continue
		}
		claimUID, device, _ := strings.Cut(strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), "_")
		a, ok := d.find(claimUID, device)
		if !ok {
			a.Claim.UID, a.Device.Name = claimUID, device
		}
		klog.FromContext(ctx).Info("The runtime hook refused a container", "pod", klog.KRef(r.Pod.Namespace, r.Pod.Name), "container", r.Container, "device", device, "at", r.Time, "reason", r.Reason)
		d.events.refused(a, r)
	}
}

func readRefusal(path string) (r refusal, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, refusalSize))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// refused reports a refusal in an event of the pod, or of the node where the
// pod is not known. A pod of another namespace than the claim's has nothing to
// do with it.
func (n *eventRecorder) refused(a allocation.Record, r refusal) {
	a.PodUID = r.Pod.UID
	if r.Pod.UID != "" && r.Pod.Name != "" && !a.ReservedFor(r.Pod.UID) {
		a.Pods = nil
		if a.Claim.Name == "" || a.Claim.Namespace == r.Pod.Namespace {
			a.Pods = []allocation.Ref{r.Pod}
		}
	}
	var related runtime.Object
	if a.Claim.Name != "" {
		claim := &resourceapi.ResourceClaim{}
		claim.Namespace, claim.Name, claim.UID = a.Claim.Namespace, a.Claim.Name, types.UID(a.Claim.UID)
		related = claim
	}
	note := fmt.Sprintf("device %s: container %s was refused at %s: %s", a.Device.Name, r.Container, r.Time.UTC().Format(time.RFC3339), r.Reason)
	n.recorder.Eventf(n.about(a), related, corev1.EventTypeWarning, v1alpha1.ReasonContainerRefused, "Start", "%s", cut(note, maxNote))
}
