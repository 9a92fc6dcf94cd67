package dhcp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	serverPort4 = 67
	clientPort4 = 68
	ipHeader    = 20
	udpHeader   = 8
	maxPacket   = 2048 // bytes; what is longer is cut, and does not decode
	ttl         = 64
)

var (
	broadcastMAC = nic.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcast4   = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// packets is a packet socket (packet(7)) on one interface: IPv4 without an
// address, and past the pod's packet filters and sockets.
type packets struct {
	file  *os.File
	raw   syscall.RawConn
	index int
}

// filter takes whole UDP packets to the client's port, from an IP header on: a
// flood of others costs the kernel little and us nothing.
var filter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9},                        // protocol
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 6}, // else drop
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6},                        // fragment
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x3fff, Jt: 4},
	{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // length of the header
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},  // destination port
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: clientPort4, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: maxPacket},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// openPackets opens a packet socket on the interface with this index, in the
// namespace of the calling thread.
func openPackets(index int) (*packets, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "dhcp")
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		file.Close()
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: index}); err != nil {
		file.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &packets{file, raw, index}, nil
}

// SetReadDeadline implements socket.
func (p *packets) SetReadDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }

// Close implements socket.
func (p *packets) Close() error { return p.file.Close() }

// send sends a UDP packet from the client's to a server's port. It does not wait
// long.
func (p *packets) send(payload []byte, from, to netip.Addr, mac nic.HardwareAddr) error {
	p.file.SetWriteDeadline(time.Now().Add(releaseTime))
	link := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: p.index, Halen: uint8(len(mac))}
	copy(link.Addr[:], mac)
	packet := encode4(payload, from, to)
	var err error
	if failed := p.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), packet, 0, link)
		return !errors.Is(err, unix.EAGAIN)
	}); failed != nil {
		return failed
	}
	return err
}

// receive returns the payload of the next packet and who sent it. A packet that
// is none of DHCP has no payload.
func (p *packets) receive(buf []byte) (payload []byte, from nic.HardwareAddr, err error) {
	var n int
	var sender unix.Sockaddr
	if failed := p.raw.Read(func(fd uintptr) bool {
		n, sender, err = unix.Recvfrom(int(fd), buf, 0)
		return !errors.Is(err, unix.EAGAIN)
	}); failed != nil {
		return nil, nil, failed
	}
	if err != nil {
		return nil, nil, err
	}
	if link, ok := sender.(*unix.SockaddrLinklayer); ok && link.Halen == 6 {
		from = hardware(link.Addr[:6])
	}
	return decode4(buf[:n]), from, nil
}

// encode4 puts a payload into a UDP and an IPv4 packet.
func encode4(payload []byte, from, to netip.Addr) []byte {
	b := make([]byte, ipHeader+udpHeader, ipHeader+udpHeader+len(payload))
	b[0], b[8], b[9] = 0x45, ttl, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(cap(b)))
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(b[:ipHeader], 0))
	udp := b[ipHeader:]
	size := uint16(udpHeader + len(payload))
	binary.BigEndian.PutUint16(udp, clientPort4)
	binary.BigEndian.PutUint16(udp[2:], serverPort4)
	binary.BigEndian.PutUint16(udp[4:], size)
	b = append(b, payload...)
	pseudo := uint32(size) + unix.IPPROTO_UDP + sum(b[12:ipHeader]) // both addresses
	if c := checksum(b[ipHeader:], pseudo); c != 0 {
		binary.BigEndian.PutUint16(b[ipHeader+6:], c)
	} else {
		binary.BigEndian.PutUint16(b[ipHeader+6:], 0xffff) // 0 would mean that there is none
	}
	return b
}

// decode4 returns the payload of a UDP packet from a server's to the client's
// port, or nil. The checksum of UDP is not looked at: of packets from the same
// machine it is not computed yet.
func decode4(b []byte) []byte {
	if len(b) < ipHeader || b[0]>>4 != 4 {
		return nil
	}
	header, size := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < ipHeader || size > len(b) || size < header+udpHeader || b[9] != unix.IPPROTO_UDP {
		return nil
	}
	udp := b[header:size]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if binary.BigEndian.Uint16(udp) != serverPort4 || binary.BigEndian.Uint16(udp[2:]) != clientPort4 || length < udpHeader || length > len(udp) {
		return nil
	}
	return udp[udpHeader:length]
}

// sum adds up 16-bit words.
func sum(b []byte) (s uint32) {
	for len(b) >= 2 {
		s += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte, s uint32) uint16 {
	s += sum(b)
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
