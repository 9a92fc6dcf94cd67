package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A refusal is left for the driver, which reports it in an event of the pod:
// not every runtime passes on what its hooks write to their standard error
// (crun does not). The file is beside the record that the hook was given, in a
// directory that is root's alone; see pkg/driver/refusals.go.
const (
	refusalDir  = "refusals" // beside the directory of the records
	maxRefusals = 128        // files: the driver may be away for long
	maxReason   = 900        // bytes, of 1,024 of an event's note
	maxName     = 253        // bytes of a name
)

// refusal is what such a file holds. Its name is the record's.
type refusal struct {
	Pod       podRef    `json:"pod"`
	Container string    `json:"container"`
	Reason    string    `json:"reason"`
	Time      time.Time `json:"time"`
}

type podRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// podAnnotations are what runtimes write into the state of a pod's container.
var podAnnotations = []struct{ namespace, name, uid, container string }{
	{"io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-uid", "io.kubernetes.cri.container-name"}, // containerd
	{"io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.pod.uid", "io.kubernetes.container.name"},                             // CRI-O
}

// leave writes the refusal of a container, in one step, over an older one for
// the same record.
func leave(container state, record, reason string) error {
	r := refusal{Container: container.ID, Reason: head(reason, maxReason), Time: time.Now().UTC().Truncate(time.Second)}
	for _, keys := range podAnnotations {
		if uid := container.Annotations[keys.uid]; uid != "" {
			r.Pod = podRef{head(container.Annotations[keys.namespace], maxName), head(container.Annotations[keys.name], maxName), head(uid, maxName)}
			if name := container.Annotations[keys.container]; name != "" {
				r.Container = name
			}
			break
		}
	}
	r.Container = head(r.Container, maxName)
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(filepath.Dir(record)), refusalDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, filepath.Base(record))
	others, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if _, first := os.Lstat(path); first != nil && len(others) >= maxRefusals {
		return fmt.Errorf("%s has %d refusals that it has not reported yet", dir, len(others))
	}
	f, err := os.CreateTemp(dir, ".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// head returns the first bytes of s, at most max.
func head(s string, max int) string { return s[:min(len(s), max)] }
