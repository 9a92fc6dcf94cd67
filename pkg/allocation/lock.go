package allocation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockSuffix = ".lock" // of files beside the book's directory
	nextSuffix = ".next"

	lockFirst = time.Millisecond // waits for another process double from here …
	lockLast  = 4 * time.Millisecond
)

// lock is held by one goroutine of one process at a time. It is two flock(2)
// locks: whoever waits for the second holds the first, so a process that
// gives the lock back and wants it again cannot pass one that waits. A kernel
// lock ends with its process, however that ends.
type lock struct {
	turn       chan struct{} // has one element while someone in this process has a part of it
	next, held *os.File
}

func newLock(dir string) (*lock, error) {
	l := &lock{turn: make(chan struct{}, 1)}
	for suffix, file := range map[string]**os.File{nextSuffix: &l.next, lockSuffix: &l.held} {
		f, err := os.OpenFile(filepath.Clean(dir)+suffix, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		*file = f
	}
	return l, nil
}

// Lock waits until nobody else, in this process or in another, holds the book,
// and returns the function that gives it back. Whoever changes the book, or
// the links that it speaks of, holds it; reading needs no lock.
func (b *Store) Lock(ctx context.Context) (unlock func(), err error) {
	l := b.lock
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the book, which is busy: %w", ctx.Err())
	}
	if err := flock(ctx, l.next); err != nil {
		<-l.turn
		return nil, fmt.Errorf("wait for the book in %s: %w", b.dir, err)
	}
	err = flock(ctx, l.held)
	unflock(l.next)
	if err != nil {
		<-l.turn
		return nil, fmt.Errorf("wait for the book in %s, which another process holds: %w", b.dir, err)
	}
	return func() {
		unflock(l.held)
		<-l.turn
	}, nil
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

// unflock cannot fail for what is locked.
func unflock(f *os.File) { unix.Flock(int(f.Fd()), unix.LOCK_UN) }
