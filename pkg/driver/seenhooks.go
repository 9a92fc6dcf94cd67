package driver

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

const (
	// hookRunsDir is where the runtime hook leaves the ID of each container that
	// it has run for (cmd/dra-netdev-hook), below the state directory.
	hookRunsDir = "hookruns"
	maxExpected = 64 // containers whose hook has not been seen to run yet
)

// seenHooks knows which runtime handlers (RuntimeClass.handler) run OCI hooks.
// Not every one does, and a container of one that does not would begin without
// its interfaces: so a handler counts only once its hook has been seen to run
// since this process started. It is safe for use by several goroutines.
type seenHooks struct {
	dir string

	mu       sync.Mutex        // guards what follows
	run      map[string]bool   // handlers whose hook has run
	expected map[string]string // handler by ID of a container that has the hook
}

func newSeenHooks(stateDir string) *seenHooks {
	return &seenHooks{dir: filepath.Join(stateDir, hookRunsDir), run: map[string]bool{}, expected: map[string]string{}}
}

// expect notes that a container of a handler has the hook.
func (s *seenHooks) expect(containerID, handler string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run[handler] {
		return
	}
	if len(s.expected) >= maxExpected { // a mark may be lost: the handler waits once more
		clear(s.expected)
	}
	s.expected[containerID] = handler
}

// seen reports whether the hook of a handler has been seen to run.
func (s *seenHooks) seen(handler string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run[handler] {
		return true
	}
	for id, of := range s.expected {
		if of != handler {
			continue
		}
		if text, err := os.ReadFile(filepath.Join(s.dir, hookMark(id))); err == nil && string(text) == id {
			s.run[handler] = true
			delete(s.expected, id)
		}
	}
	return s.run[handler]
}

// hookMark is the name of the file that the hook of a container leaves. There
// are 256, so that they need no clearing away.
func hookMark(containerID string) string {
	sum := sha256.Sum256([]byte(containerID))
	return fmt.Sprintf("%02x", sum[0])
}
