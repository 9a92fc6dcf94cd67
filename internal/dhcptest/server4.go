// Package dhcptest is a DHCP server for tests, in a network namespace of theirs,
// which does what a test wants: also what no server should.
package dhcptest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// Server4 is a DHCPv4 server. The fields may be changed while it runs, by Set.
type Server4 struct {
	conn net.PacketConn
	self netip.Addr

	mu sync.Mutex // guards what follows
	// Lease is what it leases to the first client, and to others the addresses
	// that follow.
	Lease   netip.Prefix
	Time    time.Duration // of a lease
	Options []Option      // of each OFFER and ACK, after its own
	Silent  bool          // answers nothing
	NAK     bool          // refuses requests
	heard   []string      // "DISCOVER", "REQUEST 192.0.2.5"
	clients map[string]netip.Addr
	message []*dhcpv4.DHCPv4
}

// Serve4 starts a server on the link of the namespace, nil being the process's
// own, in which it has the address. It ends with the test.
func Serve4(t testing.TB, ns *nstest.NS, link, self, lease string, time time.Duration) *Server4 {
	t.Helper()
	s := &Server4{self: netip.MustParseAddr(self), Lease: netip.MustParsePrefix(lease), Time: time, clients: map[string]netip.Addr{}}
	var err error
	in(ns, func() { s.conn, err = listen(context.Background(), "udp4", ":67", link) })
	if err != nil {
		t.Fatalf("listen for DHCP on %s: %v", link, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		s.conn.Close()
		<-done
	})
	return s
}

func in(ns *nstest.NS, f func()) {
	if ns == nil {
		f()
		return
	}
	ns.Do(f)
}

// listen listens on one link, in the calling thread's namespace.
func listen(ctx context.Context, network, address, link string) (net.PacketConn, error) {
	var failed error
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(unix.BindToDevice(int(fd), link),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		})
		return errors.Join(err, failed)
	}}
	return lc.ListenPacket(ctx, network, address)
}

// Option is an option of a message.
type Option = dhcpv4.Option

// Routes returns the option of classless routes: "203.0.113.0/24 192.0.2.254".
func Routes(routes ...string) Option {
	var all []*dhcpv4.Route
	for _, r := range routes {
		to, gateway, _ := strings.Cut(r, " ")
		_, dest, err := net.ParseCIDR(to)
		if err != nil {
			panic(err)
		}
		all = append(all, &dhcpv4.Route{Dest: dest, Router: net.ParseIP(gateway).To4()})
	}
	return dhcpv4.OptClasslessStaticRoute(all...)
}

// Router returns the option of a default router.
func Router(a string) Option { return dhcpv4.OptRouter(net.ParseIP(a)) }

// DNS returns the option of a DNS server.
func DNS(a string) Option { return dhcpv4.OptDNS(net.ParseIP(a)) }

// Search returns the option of search domains.
func Search(domains ...string) Option {
	return dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: domains})
}

// MTU returns the option of the interface's MTU.
func MTU(mtu uint16) Option {
	return dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, binary.BigEndian.AppendUint16(nil, mtu))
}

// Set changes the server.
func (s *Server4) Set(change func(*Server4)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// Heard returns what clients have sent since the last call, in short.
func (s *Server4) Heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard
	s.heard = nil
	return h
}

// Messages returns all that clients have sent.
func (s *Server4) Messages() []*dhcpv4.DHCPv4 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.message)
}

func (s *Server4) serve() {
	buf := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := dhcpv4.FromBytes(buf[:n])
		if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest {
			continue
		}
		answer := s.answer(m)
		if answer == nil {
			continue
		}
		to := &net.UDPAddr{IP: net.IPv4bcast, Port: 68}
		if udp, ok := from.(*net.UDPAddr); ok && !udp.IP.IsUnspecified() {
			to = udp
		}
		s.conn.WriteTo(answer.ToBytes(), to)
	}
}

// answer returns what the server has to say to a message, or nil.
func (s *Server4) answer(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted, _ := netip.AddrFromSlice(m.RequestedIPAddress().To4())
	if !m.ClientIPAddr.IsUnspecified() {
		wanted, _ = netip.AddrFromSlice(m.ClientIPAddr.To4())
	}
	text := m.MessageType().String()
	if wanted.IsValid() {
		text = fmt.Sprintf("%s %s", text, wanted)
	}
	s.heard, s.message = append(s.heard, text), append(s.message, m)
	id := string(m.Options.Get(dhcpv4.OptionClientIdentifier))
	typ := dhcpv4.MessageTypeOffer
	switch m.MessageType() {
	case dhcpv4.MessageTypeRelease:
		delete(s.clients, id)
		return nil
	case dhcpv4.MessageTypeRequest:
		typ = dhcpv4.MessageTypeAck
	}
	if _, known := s.clients[id]; !known {
		own := s.Lease.Addr()
		for range len(s.clients) {
			own = own.Next()
		}
		s.clients[id] = own
	}
	if s.Silent {
		return nil
	}
	if refused := s.NAK || wanted.IsValid() && !s.leases(id, wanted); refused && typ == dhcpv4.MessageTypeAck {
		a, _ := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(s.self.AsSlice())))
		return a
	}
	own := s.clients[id]
	a, _ := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(typ), dhcpv4.WithYourIP(own.AsSlice()),
		dhcpv4.WithNetmask(net.CIDRMask(s.Lease.Bits(), 32)), dhcpv4.WithLeaseTime(uint32(s.Time/time.Second)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(s.self.AsSlice())))
	for _, o := range s.Options {
		a.UpdateOption(o)
	}
	return a
}

// Move has the server lease another range, and refuse what it has leased.
func (s *Server4) Move(lease netip.Prefix) {
	s.Lease = lease
	clear(s.clients)
}

// leases reports whether the server leases the address to the client.
func (s *Server4) leases(id string, a netip.Addr) bool { return s.clients[id] == a }
