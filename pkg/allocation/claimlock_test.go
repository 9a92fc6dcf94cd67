package allocation

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLockClaims checks that claims are locked each for itself, between stores
// as between processes, and that a store which waited for a lock that was removed
// meanwhile gets the new one.
func TestLockClaims(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	a, b := open(t, dir, "boot1", 0), open(t, dir, "boot1", 0)
	unlock, err := a.LockClaims(t.Context(), "two", "one", "two")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{a, b} {
		for _, uid := range []string{"one", "two"} {
			if _, err := s.TryLockClaims("three", uid); !errors.Is(err, unix.EWOULDBLOCK) {
				t.Errorf("TryLockClaims of a locked claim: got %v, want EWOULDBLOCK", err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if _, err := s.LockClaims(ctx, "three", "two"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("LockClaims of a locked claim: got %v, want it to wait until its context ends", err)
		}
		cancel()
		other, err := s.TryLockClaims("three")
		if err != nil {
			t.Fatalf("another claim, which was not to be locked with one of the others: %v", err)
		}
		other()
	}
	got := make(chan func())
	go func() {
		unlock, err := b.LockClaims(t.Context(), "one")
		if err != nil {
			t.Error(err)
		}
		got <- unlock
	}()
	time.Sleep(20 * time.Millisecond) // it waits
	if err := a.ForgetClaim("one"); err != nil {
		t.Error(err)
	}
	unlock()
	second := <-got
	if _, err := os.Stat(filepath.Join(b.claims, "one")); err != nil {
		t.Errorf("the lock of the one that waited: %v", err)
	}
	if _, err := a.TryLockClaims("one"); err == nil {
		t.Error("the one that waited has a lock that is no more")
	}
	second()
}

// TestLockNoClaims checks that a call without claims makes no lock.
func TestLockNoClaims(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "allocations"), "boot1", 0)
	unlock, err := s.LockClaims(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if all, err := os.ReadDir(s.claims); err != nil || len(all) != 0 {
		t.Errorf("locks: got %v, %v, want none", all, err)
	}
}

// TestLockClaimsInOrder checks that those who want the same claims do not wait
// for each other, in whichever order they name them, and that one at a time has
// them, also while their locks are removed.
func TestLockClaimsInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	const each = 20
	var holders, turns atomic.Int32
	var group sync.WaitGroup
	for _, uids := range [][]string{{"a", "b", "c"}, {"c", "b", "a"}, {"b", "c", "b"}, {"b", "a"}} {
		s := open(t, dir, "boot1", 0)
		for range 2 {
			group.Go(func() {
				for i := range each {
					unlock, err := s.LockClaims(ctx, uids...)
					if err != nil {
						t.Error(err)
						return
					}
					if n := holders.Add(1); n != 1 { // all want b
						t.Errorf("%d hold a claim at once", n)
					}
					time.Sleep(time.Millisecond)
					holders.Add(-1) // a forgotten lock is free at once
					if i%2 == 0 {
						if err := s.ForgetClaim("b"); err != nil {
							t.Error(err)
						}
					}
					turns.Add(1)
					unlock()
				}
			})
		}
	}
	group.Wait()
	if got := turns.Load(); got != 4*2*each {
		t.Errorf("got %d turns, want %d", got, 4*2*each)
	}
}

// TestForgetClaim checks that the lock of a claim can be removed, also twice.
func TestForgetClaim(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "allocations"), "boot1", 0)
	unlock, err := s.LockClaims(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for range 2 {
		if err := s.ForgetClaim("one"); err != nil {
			t.Error(err)
		}
	}
	if all, err := os.ReadDir(s.claims); err != nil || len(all) != 0 {
		t.Errorf("locks: got %v, %v, want none", all, err)
	}
}

// TestTryLockBesideHook checks that a runtime hook which looks whether a claim is
// locked, and shares its lock for that, is not taken for one that holds it.
func TestTryLockBesideHook(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "allocations"), "boot1", 0)
	unlock, err := s.LockClaims(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	hook, err := os.Open(filepath.Join(s.claims, "one"))
	if err != nil {
		t.Fatal(err)
	}
	defer hook.Close()
	for i := range 20 {
		if err := unix.Flock(int(hook.Fd()), unix.LOCK_SH); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(2*time.Millisecond, func() { unflock(hook) })
		unlock, err := s.TryLockClaims("one")
		if err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		unlock()
	}
}
