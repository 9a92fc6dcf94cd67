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

	"github.com/google/go-cmp/cmp"
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
	for i := range 3 { // once the time of the last change proves something
		time.Sleep(2 * settled)
		older.All()
		a = a.Supersede(fmt.Sprint("s", i))
		if err := newer.Put(a); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]Record{a}, older.All(), byValue); d != "" {
			t.Errorf("change %d, after a pause (-want +got):\n%s", i, d)
		}
		if got, ok := older.Get(a.Key()); !ok || !cmp.Equal(a, got, byValue) {
			t.Errorf("change %d, after a pause: Get: got %v, %v", i, got, ok)
		}
	}
	for i := range 100 {
		if err := newer.Release(a.Key()); err != nil {
			t.Fatal(err)
		}
		if got := older.All(); len(got) != 0 {
			t.Fatalf("release %d: the other store has %v", i, got)
		}
		if err := newer.Put(a); err != nil {
			t.Fatal(err)
		}
		if got := older.All(); len(got) != 1 {
			t.Fatalf("put %d: the other store has %v", i, got)
		}
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

// TestCoarseClock checks that a store sees a change which did not change the
// directory's time, as none does within a tick of the clock of a kernel before
// 6.13.
func TestCoarseClock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "allocations")
	older, newer := open(t, dir, "boot1", 0), open(t, dir, "boot1", 0)
	r := full("c1", "eth1")
	for i := range 20 {
		if err := newer.Put(r); err != nil {
			t.Fatal(err)
		}
		older.All()
		tick := older.changed
		if older.read.Sub(tick) > settled {
			continue // a busy machine: this is no tick any more
		}
		r = r.Supersede(fmt.Sprint(i))
		if err := newer.Put(r); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, tick, tick); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]Record{r}, older.All(), byValue); d != "" {
			t.Fatalf("change %d (-want +got):\n%s", i, d)
		}
	}
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

// TestLockEndsWithItsProcess checks that a killed process leaves no lock, of the
// store or of a claim.
func TestLockEndsWithItsProcess(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "allocations"), "boot1", 0)
	tests := []struct {
		name, file string
		lock       func(context.Context) (func(), error)
	}{
		{"store", s.dir + lockSuffix, s.Lock},
		{"claim", filepath.Join(s.claims, "one"), func(ctx context.Context) (func(), error) { return s.LockClaims(ctx, "one") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			other := holder(t, tt.file)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := tt.lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("what another process holds: got %v, want it to wait until its context ends", err)
			}
			if err := other.Kill(); err != nil {
				t.Fatal(err)
			}
			unlock, err := tt.lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			unlock()
		})
	}
}

// holder returns a process that holds the lock of a file. It ends with the test.
func holder(t *testing.T, file string) *os.Process {
	t.Helper()
	c := exec.Command("flock", "--no-fork", file, "sh", "-c", "echo held; exec sleep 60")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	fmt.Fscanln(out, new(string))
	return c.Process
}

// TestOtherVersionStays checks that a record written by another version, which
// may be at work beside this one, is out of use here, stays as it is, and is
// not written over; and that the store reports that it does not know all.
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
			t.Errorf("got %d records, unreadable ones %v, want the one that can be read, and true", len(got), b.HasUnreadable())
		}
		if err := b.Put(other); err == nil || !strings.Contains(err.Error(), "it is of version 1, want 2") {
			t.Errorf("Put over it: %v", err)
		}
		if text, err := os.ReadFile(file); string(text) != `{"version":1}` {
			t.Errorf("the record is %q, %v", text, err)
		}
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
	const goroutines, each = 8, 10
	var group sync.WaitGroup
	for i, s := range stores {
		for range goroutines {
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
	want := len(stores) * goroutines * each
	for _, s := range stores {
		if now, _ := s.Get(r.Key()); len(now.Pods) != want {
			t.Errorf("got %d changes, want %d", len(now.Pods), want)
		}
	}
	if _, _, err := stores[0].Update(t.Context(), Key{"x", "y", ""}, func(r Record) Record { return r }); !errors.Is(err, ErrNotFound) {
		t.Errorf("Update of no record: %v", err)
	}
}

// BenchmarkFind measures a look at 32 records of which none has changed, which
// every handler of the runtime takes: it is to cost 20 µs at most.
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
