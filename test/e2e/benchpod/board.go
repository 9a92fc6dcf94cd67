package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// board is a state that one goroutine keeps up to date and others wait on. A
// waiter gets the time of the event that made its condition true, not that of
// its own waking.
type board[S any] struct {
	mu      sync.Mutex // guards what is below
	state   S
	err     error // why there are no more events
	waiters map[*waiter[S]]bool
}

type waiter[S any] struct {
	ok   func(S) bool
	done chan outcome // has room for the one value that it gets
}

type outcome struct {
	at  time.Time
	err error
}

func newBoard[S any](empty S) *board[S] {
	return &board[S]{state: empty, waiters: map[*waiter[S]]bool{}}
}

// change applies one event that was seen at a time.
func (b *board[S]) change(at time.Time, event func(S)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	event(b.state)
	for w := range b.waiters {
		if w.ok(b.state) {
			w.done <- outcome{at: at}
			delete(b.waiters, w)
		}
	}
}

// fail ends all waiting, now and later.
func (b *board[S]) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	for w := range b.waiters {
		w.done <- outcome{err: err}
		delete(b.waiters, w)
	}
}

// expect begins to wait for a condition, and returns what waits for its end. A
// condition that holds already is met now.
func (b *board[S]) expect(ok func(S) bool) func(ctx context.Context, what string) (time.Time, error) {
	w := &waiter[S]{ok, make(chan outcome, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		w.done <- outcome{err: b.err}
	case ok(b.state):
		w.done <- outcome{at: time.Now()}
	default:
		b.waiters[w] = true
	}
	return func(ctx context.Context, what string) (time.Time, error) {
		select {
		case o := <-w.done:
			return o.at, o.err
		case <-ctx.Done():
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.waiters, w)
			return time.Time{}, fmt.Errorf("%s did not happen: %w", what, ctx.Err())
		}
	}
}

// view returns what f makes of the state.
func view[S, T any](b *board[S], f func(S) T) T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return f(b.state)
}
