package main

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

// TestWait checks that a container waits for interfaces that are on their way,
// whichever driver moves them, and no longer than it must.
func TestWait(t *testing.T) {
	const work = 150 * time.Millisecond
	tests := []struct {
		name string
		// moves is what the driver does, with the claim locked, once the container
		// waits.
		moves func(t *testing.T, store *allocation.Store, r allocation.Record, move func() allocation.Record)
		want  string
	}{
		{"arrives", func(t *testing.T, store *allocation.Store, _ allocation.Record, move func() allocation.Record) {
			put(t, store, move())
		}, ""},
		{"given up", func(t *testing.T, store *allocation.Store, r allocation.Record, _ func() allocation.Record) {
			put(t, store, r.GiveUp())
		}, "was not moved"},
		{"restored", func(t *testing.T, store *allocation.Store, r allocation.Record, _ func() allocation.Record) {
			put(t, store, r.Untouched().AttachFailed(errors.New("no room"), time.Now()))
		}, "was not moved into this pod's network namespace: no room"},
		{"driver killed, and the next one finishes", func(t *testing.T, store *allocation.Store, _ allocation.Record, move func() allocation.Record) {
			done := move()
			time.AfterFunc(work, func() { put(t, store, done) }) // the lock is free meanwhile
		}, ""},
		{"time is up", func(t *testing.T, store *allocation.Store, r allocation.Record, _ func() allocation.Record) {
			a := *r.Attachment
			a.Deadline = time.Now().Add(-grace)
			r.Attachment = &a
			put(t, store, r)
		}, "in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host, pod := nstest.New(t), nstest.New(t)
			first, move := attaching(t, host, pod, "h0")
			_, moveSecond := attaching(t, host, pod, "h1")
			there := moveSecond()
			store := storeOf(t, first, there)
			unlock, err := store.LockClaims(t.Context(), "u")
			if err != nil {
				t.Fatal(err)
			}
			started, done := time.Now(), make(chan struct{})
			go func() {
				defer close(done)
				time.Sleep(work)
				tt.moves(t, store, first, move)
				unlock()
			}()
			expect(t, run(container(t, pod), store.Path(there.Key()), store.Path(first.Key())), tt.want)
			if took := time.Since(started); took < work || took > 5*time.Second {
				t.Errorf("it took %v, want more than %v and little more", took, work)
			}
			<-done
		})
	}
}

// TestWaitEnds checks how long a container waits for an interface that does not
// arrive.
func TestWaitEnds(t *testing.T) {
	const slack = 500 * time.Millisecond // of a busy machine
	never := time.Hour
	tests := []struct {
		name     string
		deadline time.Duration // of the attach, from now
		end      time.Duration // of the hook, from now
		locked   bool          // by a driver that is at work
		want     time.Duration // that it waits
	}{
		{"no driver, deadline passes", 100 * time.Millisecond, never, false, 100 * time.Millisecond},
		{"no driver, deadline has passed", -time.Millisecond, never, false, 0},
		{"driver at work, deadline passes", 100 * time.Millisecond, never, true, 100*time.Millisecond + grace},
		{"driver at work, deadline has passed", 100*time.Millisecond - grace, never, true, 100 * time.Millisecond},
		{"driver at work, grace has passed", -grace, never, true, 0},
		{"driver at work, deadline far away", never, 100 * time.Millisecond, true, 100 * time.Millisecond},
		{"no driver, deadline far away", never, 100 * time.Millisecond, false, 100 * time.Millisecond},
	}
	host, pod := nstest.New(t), nstest.New(t)
	r, _ := attaching(t, host, pod, "h0")
	ns := open(t, pod)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := storeOf(t)
			if tt.locked {
				unlock, err := store.LockClaims(t.Context(), "u")
				if err != nil {
					t.Fatal(err)
				}
				defer unlock()
			}
			started := time.Now()
			r, a := r, *r.Attachment
			a.Deadline = started.Add(tt.deadline)
			r.Attachment = &a
			put(t, store, r)
			expect(t, await(ns, store.Path(r.Key()), started.Add(tt.end)), "in time")
			if took := time.Since(started); took < tt.want || took > tt.want+slack {
				t.Errorf("it took %v, want %v and little more", took, tt.want)
			}
			if made, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(store.Path(r.Key()))), claimLocks, "*")); err != nil || len(made) > 0 != tt.locked {
				t.Errorf("locks: %v, %v, want the driver's only", made, err)
			}
		})
	}
}

// TestWaitIsOne checks that the hook's time is one for all records.
func TestWaitIsOne(t *testing.T) {
	host, pod := nstest.New(t), nstest.New(t)
	first, move := attaching(t, host, pod, "h0")
	second, _ := attaching(t, host, pod, "h1")
	store := storeOf(t, first, second)
	there := move()
	const late = 100 * time.Millisecond
	time.AfterFunc(late, func() { put(t, store, there) })
	ns, end := open(t, pod), time.Now().Add(3*late)
	started := time.Now()
	refused, err := awaitAll(ns, []string{store.Path(first.Key()), store.Path(second.Key())}, end)
	expect(t, err, "interface h1 was not moved")
	if refused != store.Path(second.Key()) {
		t.Errorf("refused is %q, want the second record", refused)
	}
	if took := time.Since(started); took < 3*late || took > 3*late+500*time.Millisecond {
		t.Errorf("it took %v, want %v", took, 3*late)
	}
}

// TestWaitOutlivesDriver checks that a container waits on when the driver that
// moves its interfaces is killed, and passes once the next one has finished.
func TestWaitOutlivesDriver(t *testing.T) {
	host, pod := nstest.New(t), nstest.New(t)
	r, move := attaching(t, host, pod, "h0")
	store := storeOf(t, r)
	lock := filepath.Join(filepath.Dir(filepath.Dir(store.Path(r.Key()))), claimLocks, "u")
	driver := start(t, "flock", "--no-fork", lock, "sh", "-c", "echo; exec sleep 60")
	if _, err := store.TryLockClaims("u"); err == nil {
		t.Fatal("the claim is not locked: the test tests nothing")
	}
	state := container(t, pod)
	passed := make(chan error, 1)
	go func() { passed <- run(state, store.Path(r.Key())) }()
	waits := func(while string) {
		t.Helper()
		select {
		case err := <-passed:
			t.Fatalf("%s: the hook has ended: %v", while, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	waits("the driver is at work")
	if err := driver.Kill(); err != nil {
		t.Fatal(err)
	}
	waits("no driver is there")
	unlock, err := store.LockClaims(t.Context(), "u")
	if err != nil {
		t.Fatal(err)
	}
	waits("the next driver is at work")
	put(t, store, move())
	unlock()
	expect(t, <-passed, "")
}
