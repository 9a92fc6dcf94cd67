package attachment

import (
	"context"
	"sync"
)

// jobs are what an engine does in the background. Attaches are known by their
// sandbox: there is one for each at a time, and Detach can stop it.
type jobs struct {
	life    context.Context // until close
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex // guards attaches
	attaches map[string]context.CancelCauseFunc
}

func newJobs() *jobs {
	j := &jobs{attaches: map[string]context.CancelCauseFunc{}}
	j.life, j.end = context.WithCancel(context.Background())
	return j
}

// start runs the attach into a sandbox, and reports whether it did: not if one
// is under way. Its context ends when the sandbox does. What attach returns is
// called when it is under way no more: whoever waits for its locks may start
// the next one.
func (j *jobs) start(sandbox string, attach func(context.Context) (unlock func())) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.attaches[sandbox] != nil {
		return false
	}
	ctx, stop := context.WithCancelCause(context.Background())
	j.attaches[sandbox] = stop
	j.running.Go(func() {
		unlock := attach(ctx)
		j.mu.Lock()
		delete(j.attaches, sandbox)
		j.mu.Unlock()
		unlock()
	})
	return true
}

// stop ends the attach into a sandbox that has ended, if there is one here.
func (j *jobs) stop(sandbox string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if stop := j.attaches[sandbox]; stop != nil {
		stop(errSandboxEnded)
	}
}

// untilClose returns a context that ends with ctx, and when jobs are to end.
func (j *jobs) untilClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(j.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// close lets no job begin to wait, and waits for those under way until ctx ends.
func (j *jobs) close(ctx context.Context) {
	j.end()
	done := make(chan struct{})
	go func() { // ends with the last job
		j.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
