package dhcp

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Client leases addresses for one interface.
type Client struct {
	// Index is the interface's index in its namespace, MAC its hardware address.
	Index int
	MAC   nic.HardwareAddr
	// Name is by what servers know the client, in all its life: they see a hash
	// of it.
	Name string
	// Within runs a function on a thread that is in the interface's namespace.
	Within func(func()) error
}

// ErrRefused means that the server does not extend a lease: its address must not
// be used any more.
var ErrRefused = errors.New("the server does not extend the lease")

// Acquire leases an address. It tries until ctx ends: then the error says what
// was wrong with the answers that came, if any did.
func (c Client) Acquire(ctx context.Context, f Family) (Lease, error) {
	if f == IPv6 {
		return client6{c}.acquire(ctx)
	}
	return client4{c}.acquire(ctx)
}

// Extend asks for more time for a lease: its server, or with Rebind any. The
// error is ErrRefused if a server says that the lease has ended.
func (c Client) Extend(ctx context.Context, l Lease, how Action) (Lease, error) {
	if l.Family == IPv6 {
		return client6{c}.extend(ctx, l, how)
	}
	return client4{c}.extend(ctx, l, how)
}

// Release gives a lease back. It waits for nothing: a server that does not hear
// of it gets the address back when the lease ends.
func (c Client) Release(l Lease) error {
	switch {
	case !l.Address.IsValid():
		return nil
	case l.Family == IPv6:
		return client6{c}.release(l)
	}
	return client4{c}.release(l)
}

// duidUUID is the type of a DUID that is a UUID (RFC 6355).
const duidUUID = 4

// duid is the client's DUID, and iaid the number of its only association.
func (c Client) duid() []byte {
	sum := sha256.Sum256([]byte(c.Name))
	return append(binary.BigEndian.AppendUint16(nil, duidUUID), sum[:16]...)
}

func (c Client) iaid() [4]byte {
	sum := sha256.Sum256([]byte(c.Name))
	return [4]byte(sum[16:20])
}

const (
	firstWait = time.Second     // for an answer, before the request is sent again; then twice as long each
	lastWait  = 8 * time.Second // from then on
	pollWait  = 100 * time.Millisecond

	releaseTime = 200 * time.Millisecond // for a full queue of the interface's
)

// socket is where messages go and come from.
type socket interface {
	SetReadDeadline(time.Time) error
	Close() error
}

// exchange sends a request, again and again, until take has taken what came of
// it or ctx ends. take reads the next message; what is no answer it passes over
// with taken being false. send may fail for a while, as until the interface is
// up: the last such error is the result if it ends like that.
func exchange(ctx context.Context, s socket, send func() error, take func() (taken bool, err error)) error {
	stop := context.AfterFunc(ctx, func() { s.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		failed := send()
		until := time.Now().Add(wait)
		if failed != nil {
			until, wait = time.Now().Add(pollWait), firstWait/2
		}
		end, ends := ctx.Deadline()
		if ends && end.Before(until) {
			until = end
		}
		if err := s.SetReadDeadline(until); err != nil {
			return err
		}
		for ctx.Err() == nil {
			taken, err := take()
			if taken {
				return err
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil && failed == nil { // as ENETDOWN: the interface may come back
				failed = err
			}
		}
		over := ctx.Err()
		if over == nil && ends && !time.Now().Before(end) { // the context's own timer may be late
			over = context.DeadlineExceeded
		}
		switch {
		case over != nil && failed != nil:
			return failed
		case over != nil:
			return over
		}
	}
}

// guarded runs f, which reads what a server has sent, and makes an error of a
// panic: no message may end the process.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("message cannot be read: %v", p)
		}
	}()
	return f()
}

// hardware returns a copy of a hardware address.
func hardware(b []byte) nic.HardwareAddr { return nic.HardwareAddr(slices.Clone(b)) }
