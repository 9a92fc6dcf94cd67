package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/sys/unix"
)

const (
	serverPort6 = 547
	clientPort6 = 546
)

// allServers is All_DHCP_Relay_Agents_and_Servers (RFC 8415, 7.1): clients send all
// messages there, also those for one server.
const allServers = "ff02::1:2"

// conn6 is a socket on one interface.
type conn6 struct {
	*net.UDPConn
	to *net.UDPAddr
}

// answer6 is a message of a server.
type answer6 struct {
	*dhcpv6.Message
	from netip.Addr
}

// client6 is a client of IPv6.
type client6 struct{ Client }

// open opens a socket in the client's namespace. Others may listen on the same
// port, on other interfaces.
func (c client6) open(ctx context.Context) (s conn6, err error) {
	listen := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			set = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, c.Index),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		})
		return errors.Join(err, set)
	}}
	var packets net.PacketConn
	if failed := c.Within(func() { packets, err = listen.ListenPacket(ctx, "udp6", fmt.Sprintf("[::]:%d", clientPort6)) }); failed != nil {
		return s, failed
	}
	if err != nil {
		return s, err
	}
	udp, ok := packets.(*net.UDPConn)
	if !ok {
		packets.Close()
		return s, errors.ErrUnsupported
	}
	return conn6{udp, &net.UDPAddr{IP: net.ParseIP(allServers), Port: serverPort6, Zone: strconv.Itoa(c.Index)}}, nil
}

// message returns a message of the client about its association with an address,
// if that is valid.
func (c client6) message(typ dhcpv6.MessageType, own netip.Addr, server []byte) (*dhcpv6.Message, error) {
	m, err := dhcpv6.NewMessage()
	if err != nil {
		return nil, err
	}
	m.MessageType = typ
	id, err := dhcpv6.DUIDFromBytes(c.duid())
	if err != nil {
		return nil, err
	}
	m.AddOption(dhcpv6.OptClientID(id))
	if len(server) > 0 {
		id, err := dhcpv6.DUIDFromBytes(server)
		if err != nil {
			return nil, err
		}
		m.AddOption(dhcpv6.OptServerID(id))
	}
	ia := &dhcpv6.OptIANA{IaId: c.iaid()}
	if own.IsValid() {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: own.AsSlice()})
	}
	m.AddOption(ia)
	m.AddOption(dhcpv6.OptElapsedTime(0))
	if typ != dhcpv6.MessageTypeRelease {
		m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList))
	}
	return m, nil
}

// ask sends a message until accept accepts an answer, or ctx ends.
func (c client6) ask(ctx context.Context, s conn6, m *dhcpv6.Message, accept func(answer6) (bool, error)) error {
	buf := make([]byte, maxPacket)
	began := time.Now()
	send := func() error {
		m.UpdateOption(dhcpv6.OptElapsedTime(min(time.Since(began), 655*time.Second))) // 16 bits of hundredths
		_, err := s.WriteTo(m.ToBytes(), s.to)
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENETUNREACH) {
			err = errNoLinkLocal
		}
		return err
	}
	return exchange(ctx, s, send, func() (taken bool, err error) {
		n, from, err := s.ReadFromUDPAddrPort(buf)
		if err != nil {
			return false, err
		}
		wrong := guarded(func() error {
			a, err := dhcpv6.MessageFromBytes(buf[:n])
			if err != nil || a.TransactionID != m.TransactionID {
				return nil
			}
			id := a.Options.ClientID()
			if id == nil || string(id.ToBytes()) != string(c.duid()) {
				return nil // another client's
			}
			taken, err = accept(answer6{a, from.Addr().WithZone("")})
			return err
		})
		return taken, wrong
	})
}

var errNoLinkLocal = errors.New("the interface has no link-local IPv6 address to send from")

// acquire goes through SOLICIT, ADVERTISE, REQUEST and REPLY until it has a lease.
func (c client6) acquire(ctx context.Context) (Lease, error) {
	s, err := c.open(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer s.Close()
	var reason error
	for {
		l, err := c.try(ctx, s, &reason)
		if err == nil {
			return l, nil
		}
		select {
		case <-time.After(afterNAK):
		case <-ctx.Done():
			return Lease{}, noLease(err, reason)
		}
	}
}

// try asks for an offer and requests it.
func (c client6) try(ctx context.Context, s conn6, reason *error) (Lease, error) {
	solicit, err := c.message(dhcpv6.MessageTypeSolicit, netip.Addr{}, nil)
	if err != nil {
		return Lease{}, err
	}
	var offer Lease
	since := Uptime()
	err = c.ask(ctx, s, solicit, func(a answer6) (bool, error) {
		if a.MessageType != dhcpv6.MessageTypeAdvertise {
			return false, nil
		}
		l, err := c.accept(a, since)
		if err != nil {
			*reason = err
			return false, nil // another server may have a better one
		}
		offer = l
		return true, nil
	})
	if err != nil {
		return Lease{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	l, err := c.request(ctx, s, dhcpv6.MessageTypeRequest, offer)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		*reason = fmt.Errorf("server %s offers %s and then does not lease it", offer.Server, offer.Address)
	case err != nil:
		*reason = fmt.Errorf("server %s: %w", offer.Server, err)
	}
	return l, err
}

// request asks for the lease, or for more time for it, and returns what the server
// makes of it. A REBIND is for any server.
func (c client6) request(ctx context.Context, s conn6, typ dhcpv6.MessageType, l Lease) (Lease, error) {
	server := l.ServerID
	if typ == dhcpv6.MessageTypeRebind {
		server = nil
	}
	m, err := c.message(typ, l.Address.Addr(), server)
	if err != nil {
		return Lease{}, err
	}
	var got Lease
	since := Uptime()
	err = c.ask(ctx, s, m, func(a answer6) (bool, error) {
		from := a.Options.ServerID()
		if a.MessageType != dhcpv6.MessageTypeReply || from == nil || server != nil && string(from.ToBytes()) != string(server) {
			return false, nil
		}
		if c.refuses(a, l.Address.Addr()) {
			return true, ErrRefused
		}
		n, err := c.accept(a, since)
		if err == nil && n.Address != l.Address {
			err = fmt.Errorf("server %s leases %s in place of %s", n.Server, n.Address, l.Address)
		}
		got = n
		return true, err
	})
	return got, err
}

// extend asks for more time for a lease.
func (c client6) extend(ctx context.Context, l Lease, how Action) (Lease, error) {
	s, err := c.open(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer s.Close()
	typ := dhcpv6.MessageTypeRenew
	if how == Rebind {
		typ = dhcpv6.MessageTypeRebind
	}
	return c.request(ctx, s, typ, l)
}

// release sends a RELEASE, once, and does not wait for its answer.
func (c client6) release(l Lease) error {
	s, err := c.open(context.Background())
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := c.message(dhcpv6.MessageTypeRelease, l.Address.Addr(), l.ServerID)
	if err != nil {
		return err
	}
	s.SetWriteDeadline(time.Now().Add(releaseTime))
	_, err = s.WriteTo(m.ToBytes(), s.to)
	return err
}
