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
)

// TestTwoBooks holds that two processes with one book see each other's
// records at once, and take turns. A second Book in this process has a lock
// of its own, as another process has (flock(2)).
func TestTwoBooks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	older, newer := open(t, dir, "boot1", 0), open(t, dir, "boot1", 0)
	a := full("c1", "eth1")
	if err := older.Put(a); err != nil {
		t.Fatal(err)
	}
	if got := newer.InSandbox("s1"); len(got) != 1 {
		t.Fatalf("the other book has %v", got)
	}
	// Many changes of one size within the resolution of a file's times.
	for i := range 100 {
		a.Sandbox = fmt.Sprintf("s%03d", i)
		if err := newer.Put(a); err != nil {
			t.Fatal(err)
		}
		if got := older.InSandbox(a.Sandbox); len(got) != 1 {
			t.Fatalf("change %d: the other book has %v", i, older.All())
		}
	}
	if err := newer.Release(a); err != nil {
		t.Fatal(err)
	}
	if got := older.All(); len(got) != 0 {
		t.Errorf("after Release the other book has %v", got)
	}

	unlock, err := older.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Store{older, newer} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if _, err := b.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock of a locked book: got %v, want it to wait until its context ends", err)
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

// TestLockIsFair holds that who waits gets the book, however often another
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

// TestLockEndsWithItsProcess holds that a killed process leaves no lock.
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
		t.Fatal("the book was locked twice")
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

// TestOtherVersionStays holds that a record written by another version, which
// may be at work beside this one, is out of use here, stays as it is, and is
// not written over; and that the book says that it does not know all.
func TestOtherVersionStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	b := open(t, dir, "boot1", 0)
	if err := b.Put(full("c1", "eth1")); err != nil {
		t.Fatal(err)
	}
	if b.HasUnreadable() {
		t.Error("a book that has all its records is in doubt")
	}
	other := full("c2", "eth2")
	file := b.Path(other)
	if err := os.WriteFile(file, []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Store{b, open(t, dir, "boot1", 1)} {
		if got := b.All(); len(got) != 1 || !b.HasUnreadable() {
			t.Errorf("got %d records, doubtful %v, want the one that can be read, and doubt", len(got), b.HasUnreadable())
		}
		if err := b.Put(other); err == nil || !strings.Contains(err.Error(), "is of version 2, want 1") {
			t.Errorf("Put over it: %v", err)
		}
		if text, err := os.ReadFile(file); string(text) != `{"version":2}` {
			t.Errorf("the record is %q, %v", text, err)
		}
	}
}
