package allocation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockSuffix  = ".lock" // of files beside the store's directory
	nextSuffix  = ".next"
	leaseSuffix = ".leases" // of the second file of a claim
	claimLocks  = "locks"   // directory beside the store's, with a file for each claim

	lockFirst = time.Millisecond // waits for another holder double from here …
	lockLast  = 4 * time.Millisecond
	lockTries = 10 // while the lock is only shared
)

// locks are the locks of a store. That of the store itself is held by one
// goroutine of one process at a time. It is two flock(2) locks: one who waits
// for the second holds the first, so a process that gives the lock back and
// wants it again cannot pass one that waits. A kernel lock ends with its
// process, however that ends.
type locks struct {
	dir        string
	turn       chan struct{} // has one element while someone in this process has a part of it
	next, held *os.File
	claims     string // directory of the claims' locks
}

func newLocks(dir string) (*locks, error) {
	dir = filepath.Clean(dir)
	l := &locks{dir: dir, turn: make(chan struct{}, 1), claims: filepath.Join(filepath.Dir(dir), claimLocks)}
	for _, d := range []string{dir, l.claims} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	for suffix, file := range map[string]**os.File{nextSuffix: &l.next, lockSuffix: &l.held} {
		f, err := os.OpenFile(dir+suffix, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		*file = f
	}
	return l, nil
}

// Lock waits until nobody else, in this process or in another, holds the store,
// and returns the function that gives it back. Whoever changes records holds
// it, for as short a time as that takes; reading needs no lock.
func (l *locks) Lock(ctx context.Context) (unlock func(), err error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the allocation store, which is busy: %w", ctx.Err())
	}
	if err := flock(ctx, l.next); err != nil {
		<-l.turn
		return nil, fmt.Errorf("wait for the allocation store in %s: %w", l.dir, err)
	}
	err = flock(ctx, l.held)
	unflock(l.next)
	if err != nil {
		<-l.turn
		return nil, fmt.Errorf("wait for the allocation store in %s, which another process holds: %w", l.dir, err)
	}
	return func() {
		unflock(l.held)
		<-l.turn
	}, nil
}

// LockClaims waits until nobody else, in this process or in another, holds one
// of the claims, and returns the function that gives them back. Whoever moves
// links of a claim holds it, for as long as that takes; the runtime hook waits
// for it. It is taken before the store's lock, never after it.
func (l *locks) LockClaims(ctx context.Context, uids ...string) (unlock func(), err error) {
	return l.lockClaims(uids, func(f *os.File) error { return flock(ctx, f) })
}

// TryLockClaims is LockClaims for what can be left to whoever holds one of the
// claims: then the error is EWOULDBLOCK.
func (l *locks) TryLockClaims(uids ...string) (unlock func(), err error) {
	return l.lockClaims(uids, tryFlock)
}

// lockClaims locks the claims in the order of their UIDs, so that no two wait
// for each other.
func (l *locks) lockClaims(uids []string, lock func(*os.File) error) (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range slices.Backward(held) {
			f.Close() // which unlocks it
		}
	}
	for _, uid := range slices.Compact(slices.Sorted(slices.Values(uids))) {
		f, err := openLocked(filepath.Join(l.claims, uid), lock)
		if err != nil {
			unlock()
			return nil, fmt.Errorf("wait for claim %s, whose interfaces are being moved: %w", uid, err)
		}
		held = append(held, f)
	}
	return unlock, nil
}

// openLocked opens the file and locks it. A file that was removed while it was
// waited for is not the claim's lock any more.
func openLocked(path string, lock func(*os.File) error) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := lock(f); err != nil {
			f.Close()
			return nil, err
		}
		now, err := os.Stat(path)
		mine, mineErr := f.Stat()
		if err == nil && mineErr == nil && os.SameFile(now, mine) {
			return f, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// TryLockLeases locks the leases of a claim, or returns EWOULDBLOCK while somebody
// has them locked: whoever asks servers for them, which may take seconds. It is
// another lock than the claim's, which is needed to move the links meanwhile.
func (l *locks) TryLockLeases(uid string) (unlock func(), err error) {
	return l.TryLockClaims(uid + leaseSuffix)
}

// ForgetClaim removes the locks of a claim that has no records any more. The
// caller holds the claim.
func (l *locks) ForgetClaim(uid string) error {
	return errors.Join(l.ForgetLeases(uid), l.forget(uid))
}

// ForgetLeases removes the lock of the leases of a claim that has no records any
// more. The caller holds it, or the claim.
func (l *locks) ForgetLeases(uid string) error { return l.forget(uid + leaseSuffix) }

func (l *locks) forget(name string) error {
	if err := os.Remove(filepath.Join(l.claims, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a lock of a claim: %w", err)
	}
	return nil
}

// flock locks a file, or returns ctx's error: flock(2) by itself would wait
// for ever.
func flock(ctx context.Context, f *os.File) error {
	for wait := lockFirst; ; wait = min(2*wait, lockLast) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryFlock locks a file, or returns EWOULDBLOCK while somebody holds it. The
// runtime hook, which looks whether somebody does, shares the lock for an
// instant: that is waited for, but not for long.
func tryFlock(f *os.File) error {
	for tries := lockTries; ; tries-- {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || tries == 0 {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
			return err
		}
		unflock(f)
		time.Sleep(lockFirst)
	}
}

// unflock cannot fail for what is locked.
func unflock(f *os.File) { unix.Flock(int(f.Fd()), unix.LOCK_UN) }
