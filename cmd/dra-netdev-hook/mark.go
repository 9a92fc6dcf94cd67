package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// marks is the directory, beside that of the records, in which the hook leaves
// the ID of each container that it runs for; see pkg/driver/seenhooks.go. The
// driver makes it.
const marks = "hookruns"

// leaveMark shows the driver that the runtime runs this hook. There are 256
// marks, one over the other. Without one the driver lets containers wait
// longer, so an error is nothing to fail them for.
func leaveMark(container state, record string) {
	if container.ID == "" || !filepath.IsAbs(record) {
		return
	}
	sum := sha256.Sum256([]byte(container.ID))
	path := filepath.Join(filepath.Dir(filepath.Dir(record)), marks, fmt.Sprintf("%02x", sum[0]))
	_ = os.WriteFile(path, []byte(container.ID), 0o600)
}
