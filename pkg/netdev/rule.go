package netdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// policyRule is one policy rule of a namespace (RTM_NEWRULE, linux/fib_rules.h). Its text
// form is that of ip-rule(8).
type policyRule struct {
	Family      uint8        `json:"family"`
	Priority    uint32       `json:"priority"`
	Source      netip.Prefix `json:"source,omitzero"`
	Destination netip.Prefix `json:"destination,omitzero"`
	Table       uint32       `json:"table"`
	TOS         uint8        `json:"tos,omitempty"`
	IIF         string       `json:"iif,omitempty"`
	OIF         string       `json:"oif,omitempty"`
	Invert      bool         `json:"invert,omitempty"`
	Attrs       []Attr       `json:"attrs,omitempty"`    // other selectors, kept as they are, in the order of their types
	Optional    bool         `json:"optional,omitempty"` // a failure is reported, but is no error
}

// foundRule is a rule as it is in a namespace.
type foundRule struct {
	policyRule
	action   uint8
	protocol uint8 // who made it
	other    bool  // has a selector that we do not know
}

const (
	// ruleProtocol marks the rules, and the routes without a link, that we add to
	// a pod's namespace (`ip rule` shows "proto 77"). Neither the kernel's
	// rtnetlink.h nor iproute2's rt_protos has another use for it.
	ruleProtocol = 77

	frActToTable     = 1 // FR_ACT_TO_TBL
	fibRuleInvert    = 2 // FIB_RULE_INVERT
	sizeofRuleHeader = 12
	fraSportMask     = 28 // FRA_SPORT_MASK, Linux 6.15
	fraDportMask     = 29 // FRA_DPORT_MASK
	noSuppression    = ^uint32(0)
)

// preservedRuleAttrs are the attributes of a rule that are kept as they are, up to
// FRA_DSCP_MASK: linux/fib_rules.h has names for those that unix lacks.
var preservedRuleAttrs = map[uint16]bool{
	unix.FRA_FWMARK: true, unix.FRA_FWMASK: true, unix.FRA_FLOW: true, unix.FRA_TUN_ID: true, unix.FRA_UID_RANGE: true,
	unix.FRA_SUPPRESS_IFGROUP: true, unix.FRA_SUPPRESS_PREFIXLEN: true,
	unix.FRA_IP_PROTO: true, unix.FRA_SPORT_RANGE: true, unix.FRA_DPORT_RANGE: true,
	25: true, 26: true, 27: true, fraSportMask: true, fraDportMask: true, 30: true, // DSCP, flow label and its mask, mask of DSCP
}

// ruleMessage is an RTM_NEWRULE payload in parts.
type ruleMessage struct {
	foundRule
	src, dst netip.Addr
}

var ruleFields = map[uint16]func(*ruleMessage, []byte){
	unix.FRA_SRC:      func(m *ruleMessage, b []byte) { m.src = ipAddr(b) },
	unix.FRA_DST:      func(m *ruleMessage, b []byte) { m.dst = ipAddr(b) },
	unix.FRA_PRIORITY: func(m *ruleMessage, b []byte) { m.Priority = u32(b) },
	unix.FRA_TABLE:    func(m *ruleMessage, b []byte) { m.Table = u32(b) },
	unix.FRA_IIFNAME:  func(m *ruleMessage, b []byte) { m.IIF = text(b) },
	unix.FRA_OIFNAME:  func(m *ruleMessage, b []byte) { m.OIF = text(b) },
	unix.FRA_PROTOCOL: func(m *ruleMessage, b []byte) { m.protocol = u8(b) },
	unix.FRA_L3MDEV:   func(m *ruleMessage, b []byte) { m.other = m.other || u8(b) != 0 },
	unix.FRA_PAD:      func(*ruleMessage, []byte) {},
	unix.FRA_GOTO:     func(*ruleMessage, []byte) {}, // of an action that is not copied
}

// decodeRule reads an RTM_NEWRULE payload.
func decodeRule(b []byte) (foundRule, error) {
	if len(b) < sizeofRuleHeader {
		return foundRule{}, fmt.Errorf("rule message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	// struct fib_rule_hdr: family, dst_len, src_len, tos, table, 2 reserved, action, flags
	m := ruleMessage{foundRule: foundRule{action: b[7], policyRule: policyRule{Family: b[0], TOS: b[3], Table: uint32(b[4]), Invert: u32(b[8:])&fibRuleInvert != 0}}}
	err := each(b[sizeofRuleHeader:], func(typ uint16, v []byte) {
		set := ruleFields[typ]
		switch {
		case set != nil:
			set(&m, v)
		case usualRuleAttr(typ, v):
		case preservedRuleAttrs[typ]:
			m.Attrs = append(m.Attrs, Attr{typ, bytes.Clone(v)})
		default:
			m.other = true
		}
	})
	if b[1] > 0 {
		m.Destination = prefix(m.dst, b[1], b[0])
	}
	if b[2] > 0 {
		m.Source = prefix(m.src, b[2], b[0])
	}
	m.other = m.other || b[1] > 0 && !m.Destination.IsValid() || b[2] > 0 && !m.Source.IsValid()
	m.sort()
	return m.foundRule, err
}

// usualRuleAttr reports whether an attribute has the value that the kernel gives to
// a rule without it.
func usualRuleAttr(typ uint16, v []byte) bool {
	switch typ {
	case unix.FRA_SUPPRESS_PREFIXLEN, unix.FRA_SUPPRESS_IFGROUP:
		return u32(v) == noSuppression
	case fraSportMask, fraDportMask:
		return bytes.Equal(v, []byte{0xff, 0xff})
	}
	return false
}

func (r *policyRule) sort() {
	slices.SortStableFunc(r.Attrs, func(a, b Attr) int { return int(a.Type) - int(b.Type) })
}

// message returns the request that adds the rule as ours, or that removes it.
func (r policyRule) message(add bool) message {
	h := nl.NewRtMsg() // of the same form as struct fib_rule_hdr
	*h = nl.RtMsg{RtMsg: unix.RtMsg{Family: r.Family, Tos: r.TOS, Type: frActToTable}}
	body := []nl.NetlinkRequestData{h, attr(unix.FRA_PRIORITY, nl.Uint32Attr(r.Priority)), attr(unix.FRA_TABLE, nl.Uint32Attr(r.Table)), attr(unix.FRA_PROTOCOL, nl.Uint8Attr(ruleProtocol))}
	if r.Invert {
		h.Flags = fibRuleInvert
	}
	if r.Source.IsValid() {
		h.Src_len = uint8(r.Source.Bits())
		body = append(body, attr(unix.FRA_SRC, r.Source.Addr().AsSlice()))
	}
	if r.Destination.IsValid() {
		h.Dst_len = uint8(r.Destination.Bits())
		body = append(body, attr(unix.FRA_DST, r.Destination.Addr().AsSlice()))
	}
	if r.IIF != "" {
		body = append(body, attr(unix.FRA_IIFNAME, nl.ZeroTerminated(r.IIF)))
	}
	if r.OIF != "" {
		body = append(body, attr(unix.FRA_OIFNAME, nl.ZeroTerminated(r.OIF)))
	}
	for _, a := range r.Attrs {
		body = append(body, attr(int(a.Type), a.Value))
	}
	if !add {
		return message{what: "remove rule " + r.String(), typ: unix.RTM_DELRULE, body: body, already: unix.ENOENT, optional: true}
	}
	return message{what: "add rule " + r.String(), typ: unix.RTM_NEWRULE, flags: unix.NLM_F_CREATE, body: body, optional: r.Optional}
}

// String is the rule as ip(8) writes it, in short.
func (r policyRule) String() string {
	var b strings.Builder
	if r.Invert {
		b.WriteString("not ")
	}
	source := "all"
	if r.Source.IsValid() {
		source = r.Source.String()
	}
	b.WriteString("from " + source)
	if r.Destination.IsValid() {
		fmt.Fprintf(&b, " to %s", r.Destination)
	}
	if r.IIF != "" {
		b.WriteString(" iif " + r.IIF)
	}
	if r.OIF != "" {
		b.WriteString(" oif " + r.OIF)
	}
	for _, a := range r.Attrs {
		if a.Type == unix.FRA_FWMARK {
			fmt.Fprintf(&b, " fwmark %#x", u32(a.Value))
		}
	}
	fmt.Fprintf(&b, " lookup %d priority %d", r.Table, r.Priority)
	return b.String()
}

// equal reports whether the rules select the same for the same table, with the same
// priority.
func (r policyRule) equal(o policyRule) bool {
	same := r.Family == o.Family && r.Priority == o.Priority && r.Source == o.Source && r.Destination == o.Destination && r.Table == o.Table
	return same && r.TOS == o.TOS && r.IIF == o.IIF && r.OIF == o.OIF && r.Invert == o.Invert && slices.EqualFunc(r.Attrs, o.Attrs, Attr.equal)
}

func (r policyRule) is(found foundRule) bool { return r.equal(found.policyRule) }

// lookups returns the rules of the namespace that look up a table and of which we
// know all selectors, of IPv4 and IPv6.
func (c *conn) lookups() ([]foundRule, error) {
	all, err := c.allLookups()
	return slices.DeleteFunc(all, func(r foundRule) bool { return r.other }), err
}

// allLookups returns the rules of the namespace that look up a table, of IPv4 and
// IPv6.
func (c *conn) allLookups() ([]foundRule, error) {
	payloads, err := c.dump(unix.RTM_GETRULE, &nl.RtMsg{})
	if errors.Is(err, unix.EOPNOTSUPP) { // a kernel without CONFIG_FIB_RULES
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	var all []foundRule
	for _, b := range payloads {
		r, err := decodeRule(b)
		if err != nil {
			return nil, fmt.Errorf("list rules: %w", err)
		}
		if (r.Family == unix.AF_INET || r.Family == unix.AF_INET6) && r.action == frActToTable {
			all = append(all, r)
		}
	}
	return all, nil
}

// pair returns two numbers as the kernel takes a range of them, in host byte order.
func pair(first, last uint16) []byte {
	return binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, first), last)
}
