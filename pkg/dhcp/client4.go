package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	requestTime = 5 * time.Second // for the answer to a request that follows an offer
	afterNAK    = time.Second     // before the next try
	maxMessage4 = 1500            // bytes, as we ask servers for
)

// requested4 are the options that the client asks for. RFC 3442 wants the
// classless routes before the router.
var requested4 = []dhcpv4.OptionCode{
	dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter, dhcpv4.OptionInterfaceMTU,
	dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList,
	dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
}

// answer4 is a message of a server.
type answer4 struct {
	*dhcpv4.DHCPv4
	from nic.HardwareAddr
}

// client4 is a client of IPv4.
type client4 struct{ Client }

// open opens a socket in the client's namespace.
func (c client4) open() (p *packets, err error) {
	if failed := c.Within(func() { p, err = openPackets(c.Index) }); failed != nil {
		return nil, failed
	}
	return p, err
}

// message returns a message of the client.
func (c client4) message(typ dhcpv4.MessageType, options ...dhcpv4.Option) (*dhcpv4.DHCPv4, error) {
	id := c.iaid()
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(net.HardwareAddr(c.MAC)), dhcpv4.WithMessageType(typ),
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier(append(append([]byte{255}, id[:]...), c.duid()...)))) // RFC 4361
	if err != nil {
		return nil, err
	}
	if typ != dhcpv4.MessageTypeRelease {
		m.UpdateOption(dhcpv4.OptParameterRequestList(requested4...))
		m.UpdateOption(dhcpv4.OptMaxMessageSize(maxMessage4))
	}
	for _, o := range options {
		m.UpdateOption(o)
	}
	return m, nil
}

// ask sends a request until accept accepts an answer, or ctx ends.
func (c client4) ask(ctx context.Context, p *packets, m *dhcpv4.DHCPv4, from, to netip.Addr, mac nic.HardwareAddr, accept func(answer4) (bool, error)) error {
	buf := make([]byte, maxPacket)
	began := time.Now()
	send := func() error {
		m.NumSeconds = uint16(min(time.Since(began)/time.Second, 1<<16-1))
		return p.send(m.ToBytes(), from, to, mac)
	}
	return exchange(ctx, p, send, func() (taken bool, err error) {
		payload, sender, err := p.receive(buf)
		if err != nil || payload == nil {
			return false, err
		}
		wrong := guarded(func() error {
			a, err := dhcpv4.FromBytes(payload)
			if err != nil || a.OpCode != dhcpv4.OpcodeBootReply || a.TransactionID != m.TransactionID || string(a.ClientHWAddr) != string(c.MAC) {
				return nil // another client's
			}
			taken, err = accept(answer4{a, sender})
			return err
		})
		return taken, wrong
	})
}

// acquire goes through DISCOVER, OFFER, REQUEST and ACK until it has a lease.
func (c client4) acquire(ctx context.Context) (Lease, error) {
	p, err := c.open()
	if err != nil {
		return Lease{}, err
	}
	defer p.Close()
	var reason error // why the last answer did not lead to a lease
	for {
		l, err := c.try(ctx, p, &reason)
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

// noLease is the error for a lease that has not come in time.
func noLease(err, reason error) error {
	switch {
	case reason != nil:
		return reason
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errNoServer
	}
	return fmt.Errorf("%w: %w", errNoServer, err)
}

var errNoServer = errors.New("no DHCP server has answered")

// try asks for an offer and requests it.
func (c client4) try(ctx context.Context, p *packets, reason *error) (Lease, error) {
	discover, err := c.message(dhcpv4.MessageTypeDiscover)
	if err != nil {
		return Lease{}, err
	}
	var offer Lease
	since := Uptime()
	err = c.ask(ctx, p, discover, netip.IPv4Unspecified(), broadcast4, broadcastMAC, func(a answer4) (bool, error) {
		if a.MessageType() != dhcpv4.MessageTypeOffer {
			return false, nil
		}
		l, err := accept4(a, since)
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
	request, err := c.message(dhcpv4.MessageTypeRequest,
		dhcpv4.OptServerIdentifier(offer.Server.AsSlice()), dhcpv4.OptRequestedIPAddress(offer.Address.Addr().AsSlice()))
	if err != nil {
		return Lease{}, err
	}
	request.TransactionID = discover.TransactionID
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	l, err := c.request(ctx, p, request, offer, netip.IPv4Unspecified(), broadcast4, broadcastMAC, false)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		*reason = fmt.Errorf("server %s offers %s and then does not lease it", offer.Server, offer.Address)
	case err != nil:
		*reason = fmt.Errorf("server %s: %w", offer.Server, err)
	}
	return l, err
}

// request sends a REQUEST for the lease and returns what the server makes of it.
func (c client4) request(ctx context.Context, p *packets, m *dhcpv4.DHCPv4, l Lease, from, to netip.Addr, mac nic.HardwareAddr, anyServer bool) (Lease, error) {
	var got Lease
	since := Uptime()
	err := c.ask(ctx, p, m, from, to, mac, func(a answer4) (bool, error) {
		if !anyServer && addr4(a.ServerIdentifier()) != l.Server {
			return false, nil
		}
		switch a.MessageType() {
		case dhcpv4.MessageTypeNak:
			return true, ErrRefused
		case dhcpv4.MessageTypeAck:
			n, err := accept4(a, since)
			if err != nil {
				return true, err
			}
			got = n
			return n.Address.Addr() == l.Address.Addr(), nil
		}
		return false, nil
	})
	return got, err
}

// extend asks for more time for a lease.
func (c client4) extend(ctx context.Context, l Lease, how Action) (Lease, error) {
	p, err := c.open()
	if err != nil {
		return Lease{}, err
	}
	defer p.Close()
	m, err := c.message(dhcpv4.MessageTypeRequest)
	if err != nil {
		return Lease{}, err
	}
	own := l.Address.Addr()
	m.ClientIPAddr = own.AsSlice()
	if how == Rebind || len(l.ServerMAC) == 0 {
		return c.request(ctx, p, m, l, own, broadcast4, broadcastMAC, how == Rebind)
	}
	return c.request(ctx, p, m, l, own, l.Server, l.ServerMAC, false)
}

// release sends a RELEASE, once: there is no answer to it.
func (c client4) release(l Lease) error {
	p, err := c.open()
	if err != nil {
		return err
	}
	defer p.Close()
	m, err := c.message(dhcpv4.MessageTypeRelease, dhcpv4.OptServerIdentifier(l.Server.AsSlice()))
	if err != nil {
		return err
	}
	m.ClientIPAddr = l.Address.Addr().AsSlice()
	mac := l.ServerMAC
	if len(mac) == 0 {
		mac = broadcastMAC
	}
	return p.send(m.ToBytes(), l.Address.Addr(), l.Server, mac)
}

// addr4 returns an IPv4 address, or none.
func addr4(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip.To4())
	return a
}
