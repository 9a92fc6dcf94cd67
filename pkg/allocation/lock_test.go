package allocation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTwoStores checks that two processes with one store see each other's
// records at once, and take turns. A second Store in this process has a lock
// of its own, as another process has (flock(2)).
func TestTwoStores(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	older, newer := open(t, dir, "boot1", 0), open(t, dir, "boot1", 0)
	a := full("c1", "eth1")
	if err := older.Put(a); err != nil {
		t.Fatal(err)
	}
	if got := newer.InSandbox("s1"); len(got) != 1 {
		t.Fatalf("the other store has %v", got)
	}
	// Many changes of one size within the resolution of a file's times.
	for i := range 100 {
		attachment := *a.Attachment
		attachment.Sandbox.ID = fmt.Sprintf("s%03d", i)
		a.Attachment = &attachment
		if err := newer.Put(a); err != nil {
			t.Fatal(err)
		}
		if got := older.InSandbox(a.Attachment.Sandbox.ID); len(got) != 1 {
			t.Fatalf("change %d: the other store has %v", i, older.All())
		}
	}
	if err := newer.Release(a.Key()); err != nil {
		t.Fatal(err)
	}
	if got := older.All(); len(got) != 0 {
		t.Errorf("after Release the other store has %v", got)
	}

	unlock, err := older.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Store{older, newer} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if _, err := b.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock of a locked store: got %v, want it to wait until its context ends", err)
		}
		cancel()
	}
	time.AfterFunc(30*time.Millisecond, unlock)
	unlock, err = newer.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestLockIsFair checks that who waits gets the store, however often another
// process takes it meanwhile.
func TestLockIsFair(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	const hold = 10 * time.Millisecond // as long as a move takes, about
	greedy, patient := open(t, dir, "boot1", 0), open(t, dir, "boot1", 0)
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := make(chan struct{}), make(chan int)
	begun := sync.OnceFunc(func() { close(started) })
	go func() { // ends with ctx
		turns := 0
		for ctx.Err() == nil {
			if unlock, err := greedy.Lock(ctx); err == nil {
				begun()
				time.Sleep(hold)
				unlock() // and takes it again at once
				turns++
			}
		}
		ended <- turns
	}()
	<-started
	for i := range 20 {
		wait, stop := context.WithTimeout(ctx, 2*time.Second)
		unlock, err := patient.Lock(wait)
		stop()
		if err != nil {
			t.Fatalf("turn %d: %v", i, err)
		}
		time.Sleep(hold)
		unlock()
	}
	cancel()
	if turns := <-ended; turns < 10 {
		t.Errorf("the other one had %d turns: the test tests nothing", turns)
	}
}

// TestLockEndsWithItsProcess checks that a killed process leaves no lock.
func TestLockEndsWithItsProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	b := open(t, dir, "boot1", 0)
	c := exec.Command("flock", "--no-fork", dir+lockSuffix, "sh", "-c", "echo held; exec sleep 60")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fscanln(out, new(string))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Lock(ctx); err == nil {
		t.Fatal("the store was locked twice")
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	unlock, err := b.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestOtherVersionStays checks that a record written by another version, which
// may be at work beside this one, is out of use here, stays as it is, and is
// not written over; and that the store says that it does not know all.
func TestOtherVersionStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	b := open(t, dir, "boot1", 0)
	if err := b.Put(full("c1", "eth1")); err != nil {
		t.Fatal(err)
	}
	if b.HasUnreadable() {
		t.Error("a store that has all its records has unreadable ones")
	}
	other := full("c2", "eth2")
	file := b.Path(other.Key())
	if err := os.WriteFile(file, []byte(`{"version":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Store{b, open(t, dir, "boot1", 1)} {
		if got := b.All(); len(got) != 1 || !b.HasUnreadable() {
			t.Errorf("got %d records, doubtful %v, want the one that can be read, and doubt", len(got), b.HasUnreadable())
		}
		if err := b.Put(other); err == nil || !strings.Contains(err.Error(), "it is of version 1, want 2") {
			t.Errorf("Put over it: %v", err)
		}
		if text, err := os.ReadFile(file); string(text) != `{"version":1}` {
			t.Errorf("the record is %q, %v", text, err)
		}
	}
}

// TestLockClaims checks that claims are locked each for itself, between stores
// as between processes, and that whoever waited for a lock that was removed
// meanwhile gets the new one.
func TestLockClaims(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	a, b := open(t, dir, "boot1", 0), open(t, dir, "boot1", 0)
	unlock, err := a.LockClaims(t.Context(), "two", "one", "two")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{a, b} {
		if _, err := s.TryLockClaims("three", "one"); err == nil {
			t.Error("a claim was locked twice")
		}
		other, err := s.TryLockClaims("three")
		if err != nil {
			t.Fatalf("another claim: %v", err)
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
	if _, err := a.TryLockClaims("one"); err == nil {
		t.Error("the one that waited has a lock that is no more")
	}
	second()
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

// TestUpdate checks that no change is lost that others make at the same time.
func TestUpdate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	stores := []*Store{open(t, dir, "boot1", 0), open(t, dir, "boot1", 0)}
	r := full("c1", "eth1")
	r.Pods = nil
	if err := stores[0].Put(r); err != nil {
		t.Fatal(err)
	}
	const each = 20
	var group sync.WaitGroup
	for i, s := range stores {
		for range 2 {
			group.Go(func() {
				for range each {
					if _, _, err := s.Update(t.Context(), r.Key(), func(r Record) Record {
						r.Pods = append(r.Pods, Ref{Name: fmt.Sprint(i)})
						return r
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
	if now, _ := stores[0].Get(r.Key()); len(now.Pods) != 4*each {
		t.Errorf("got %d changes, want %d", len(now.Pods), 4*each)
	}
	if _, _, err := stores[0].Update(t.Context(), Key{"x", "y", ""}, func(r Record) Record { return r }); !errors.Is(err, ErrNotFound) {
		t.Errorf("Update of no record: %v", err)
	}
}

// BenchmarkFind measures a look at 32 records of which none has changed: what
// every handler of the runtime does.
func BenchmarkFind(b *testing.B) {
	s, _, err := Open(b.Context(), filepath.Join(b.TempDir(), "allocations"), "boot")
	if err != nil {
		b.Fatal(err)
	}
	for i := range 32 {
		if err := s.Put(full("c1", fmt.Sprintf("eth%d", i))); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(2 * settled)
	s.All()
	for b.Loop() {
		s.OfPod("nobody")
	}
}
