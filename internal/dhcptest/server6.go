package dhcptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// Server6 is a DHCPv6 server with one address to lease. The fields may be changed
// while it runs, by Set.
type Server6 struct {
	conn net.PacketConn
	id   dhcpv6.DUID

	mu     sync.Mutex // guards what follows
	Lease  netip.Addr
	Time   time.Duration // valid; preferred for as long
	DNS    netip.Addr
	Search string
	Silent bool // answers nothing
	Deny   bool // knows of no lease
	heard  []string
}

// Serve6 starts a server on the link of the namespace, nil being the process's
// own. It ends with the test.
func Serve6(t testing.TB, ns *nstest.NS, link, lease string, time time.Duration) *Server6 {
	t.Helper()
	s := newServer6(lease, time)
	var err error
	in(ns, func() { s.conn, err = listen6(link) })
	if err != nil {
		t.Fatalf("listen for DHCPv6 on %s: %v", link, err)
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

// Run6 is a server on a link of the process's own namespace for as long as the
// process runs.
func Run6(link, lease string, time time.Duration) (err error) {
	s := newServer6(lease, time)
	if s.conn, err = listen6(link); err != nil {
		return err
	}
	s.serve()
	return errors.New("the server has ended")
}

func newServer6(lease string, time time.Duration) *Server6 {
	return &Server6{Lease: netip.MustParseAddr(lease), Time: time, id: &dhcpv6.DUIDOpaque{Type: 9, Data: []byte("test")}}
}

// listen6 listens on one link to what clients send to all servers, in the calling
// thread's namespace.
func listen6(link string) (net.PacketConn, error) {
	l, err := net.InterfaceByName(link)
	if err != nil {
		return nil, err
	}
	group := &unix.IPv6Mreq{Multiaddr: netip.MustParseAddr("ff02::1:2").As16(), Interface: uint32(l.Index)}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(unix.BindToDevice(int(fd), link), unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, group))
		})
		return errors.Join(err, failed)
	}}
	return lc.ListenPacket(context.Background(), "udp6", "[::]:547")
}

// Set changes the server.
func (s *Server6) Set(change func(*Server6)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// Heard returns what clients have sent since the last call, in short.
func (s *Server6) Heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard
	s.heard = nil
	return h
}

func (s *Server6) serve() {
	buf := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := dhcpv6.MessageFromBytes(buf[:n])
		if err != nil {
			continue
		}
		if a := s.answer(m); a != nil {
			s.conn.WriteTo(a.ToBytes(), from)
		}
	}
}

// answer returns what the server has to say to a message, or nil.
func (s *Server6) answer(m *dhcpv6.Message) *dhcpv6.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := m.Options.OneIANA()
	if asked == nil {
		return nil
	}
	text := m.MessageType.String()
	if own := asked.Options.OneAddress(); own != nil {
		text = fmt.Sprintf("%s %s", text, own.IPv6Addr)
	}
	s.heard = append(s.heard, text)
	if s.Silent {
		return nil
	}
	a := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: m.TransactionID}
	if m.MessageType == dhcpv6.MessageTypeSolicit {
		a.MessageType = dhcpv6.MessageTypeAdvertise
	}
	a.AddOption(dhcpv6.OptClientID(m.Options.ClientID()))
	a.AddOption(dhcpv6.OptServerID(s.id))
	ia := &dhcpv6.OptIANA{IaId: asked.IaId}
	if extends := m.MessageType == dhcpv6.MessageTypeRenew || m.MessageType == dhcpv6.MessageTypeRebind; s.Deny && extends {
		ia.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoBinding, StatusMessage: "none\n"})
	} else {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: s.Lease.AsSlice(), PreferredLifetime: s.Time, ValidLifetime: s.Time})
	}
	a.AddOption(ia)
	if s.DNS.IsValid() {
		a.AddOption(dhcpv6.OptDNS(s.DNS.AsSlice()))
	}
	if s.Search != "" {
		a.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{s.Search}}))
	}
	return a
}
