package driver

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
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

// refusal is what such a file holds, and its name.
type refusal struct {
	Pod       allocation.Ref `json:"pod"` // as the runtime named it; not set by every one
	Container string         `json:"container"`
	Reason    string         `json:"reason"`
	Time      time.Time      `json:"time"`

	claimUID, device string
}

// readRefusals returns what the runtime hook refused since the last time, and
// removes it.
func readRefusals(ctx context.Context, stateDir string) []refusal {
	dir := filepath.Join(stateDir, refusalDir)
	entries, _ := os.ReadDir(dir) // there is none before the first refusal
	var all []refusal
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
			klog.FromContext(ctx).Error(err, "Failed to read what the runtime hook refused", "file", path)
			continue
		}
		r.claimUID, r.device, _ = strings.Cut(strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), "_")
		all = append(all, r)
	}
	return all
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
