package netdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// How a link chooses the queue of a received packet: by a hash of the packet and
// a table (RSS), or by rules (n-tuple filters).

// Members of struct ethtool_rxfh, by their place. The table and the key follow.
const (
	rssTableSize = 8 // entries of four bytes
	rssKeySize   = 12
	rssFunction  = 16
	rssHeader    = 24

	rssNoChange = ^uint32(0) // ETH_RXFH_INDIR_NO_CHANGE, for the table's size
	rssMaxTable = 1 << 16
	rssMaxKey   = 1 << 10
)

// readRSS asks twice: first for the sizes of the table and the key.
func readRSS(c *conn, l Link) ([]byte, error) {
	size := command(unix.ETHTOOL_GRSSH, rssHeader)
	if err := c.ethtool(l.Name, "get RSS", size); err != nil {
		return nil, err
	}
	table, key := u32(size[rssTableSize:]), u32(size[rssKeySize:])
	if table > rssMaxTable || key > rssMaxKey {
		return nil, unix.EMSGSIZE
	}
	b := command(unix.ETHTOOL_GRSSH, rssHeader+4*int(table)+int(key))
	copy(b[rssTableSize:rssFunction], size[rssTableSize:])
	return b, c.ethtool(l.Name, "get RSS", b)
}

// diffRSS sets only what differs: once a table is set, the number of channels
// cannot go below what it uses.
func diffRSS(have, want []byte) ([]change, error) {
	if err := sameSize(have, want, rssHeader); err != nil {
		return nil, err
	}
	entries, keySize := u32(want[rssTableSize:]), u32(want[rssKeySize:])
	key := rssHeader + 4*int(entries)
	if !bytes.Equal(have[rssTableSize:rssFunction], want[rssTableSize:rssFunction]) || entries > rssMaxTable || key+int(keySize) != len(want) {
		return nil, fmt.Errorf("a table of %d entries: %w", entries, errOtherForm)
	}
	if bytes.Equal(have, want) {
		return nil, nil
	}
	request := bytes.Clone(want[:rssHeader])
	if have[rssFunction] == want[rssFunction] {
		request[rssFunction] = 0 // ETH_RSS_HASH_NO_CHANGE
	}
	if bytes.Equal(have[rssHeader:key], want[rssHeader:key]) {
		binary.NativeEndian.PutUint32(request[rssTableSize:], rssNoChange)
	} else {
		request = append(request, want[rssHeader:key]...)
	}
	if bytes.Equal(have[key:], want[key:]) {
		binary.NativeEndian.PutUint32(request[rssKeySize:], 0)
	} else {
		request = append(request, want[key:]...)
	}
	return []change{ethtoolChange("set RSS", unix.ETHTOOL_SRSSH, request)}, nil
}

// flowTypes are the flow types whose hashed fields can be set (TCP_V4_FLOW …
// ESP_V6_FLOW, IPV4_FLOW … GTPU_EH_UL_V6_FLOW). All drivers that have such fields
// support the first.
var flowTypes = []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28}

const flowHashSize = 16 // struct ethtool_rxnfc up to and with its data

// readFlowHash returns one struct for each flow type that the link answers.
func readFlowHash(c *conn, l Link) ([]byte, error) {
	var all []byte
	for _, flow := range flowTypes {
		b := command(unix.ETHTOOL_GRXFH, flowHashSize)
		binary.NativeEndian.PutUint32(b[4:], flow)
		err := c.ethtool(l.Name, "get hashed fields", b)
		if err != nil && flow == flowTypes[0] {
			return nil, err
		}
		if err == nil {
			all = append(all, b...)
		}
	}
	return all, nil
}

func diffFlowHash(have, want []byte) ([]change, error) {
	if err := sameSize(have, want, 0); err != nil {
		return nil, err
	}
	if len(want)%flowHashSize != 0 {
		return nil, fmt.Errorf("hashed fields of %d bytes: %w", len(want), errOtherForm)
	}
	var changes []change
	for i := 0; i < len(want); i += flowHashSize {
		if w := want[i : i+flowHashSize]; !bytes.Equal(have[i:i+flowHashSize], w) {
			what := fmt.Sprintf("set hashed fields of flow type %d", u32(w[4:]))
			changes = append(changes, ethtoolChange(what, unix.ETHTOOL_SRXFH, bytes.Clone(w)))
		}
	}
	return changes, nil
}

// Members of struct ethtool_rxnfc, by their place.
const (
	rxData      = 8
	rxRule      = 16  // struct ethtool_rx_flow_spec
	rxContext   = 184 // rss_context, which is rule_cnt in other requests
	rxLocations = 188
	rxSize      = 192
	// rule is the part that is recorded of each: the flow specification and
	// its RSS context; the location is part of it.
	ruleSize     = rxContext + 4 - rxRule
	ruleLocation = 160
)

const (
	rulesHeader  = 8       // number of rules, and whether locations are the driver's to choose
	maxRules     = 1024    // that are recorded
	maxLocations = 1 << 16 // that are read
	locSpecial   = 1 << 31 // RX_CLS_LOC_SPECIAL
	locAny       = ^uint32(0)
)

var errTooManyRules = errors.New("are more than are recorded, and were not compared")

// readRules returns the number of n-tuple rules and the rules; if there are too
// many, only their locations, or nothing more.
func readRules(c *conn, l Link) ([]byte, error) {
	b := command(unix.ETHTOOL_GRXCLSRLCNT, rxSize)
	if err := c.ethtool(l.Name, "count n-tuple rules", b); err != nil {
		return nil, err
	}
	count, special := u32(b[rxContext:]), u32(b[rxData:])&locSpecial
	value := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, count), special)
	if count == 0 || count > maxLocations {
		return value, nil
	}
	all := command(unix.ETHTOOL_GRXCLSRLALL, max(rxSize, rxLocations+4*int(count)))
	binary.NativeEndian.PutUint32(all[rxContext:], count)
	if err := c.ethtool(l.Name, "list n-tuple rules", all); err != nil {
		return nil, err
	}
	locations := all[rxLocations : rxLocations+4*int(count)]
	if count > maxRules {
		return append(value, locations...), nil
	}
	for at := range slices.Chunk(locations, 4) {
		r := command(unix.ETHTOOL_GRXCLSRULE, rxSize)
		copy(r[rxRule+ruleLocation:], at)
		if err := c.ethtool(l.Name, "get n-tuple rule", r); err != nil {
			return nil, err
		}
		value = append(value, r[rxRule:rxRule+ruleSize]...)
	}
	return value, nil
}

// rule is an n-tuple rule: struct ethtool_rx_flow_spec and its RSS context.
type rule [ruleSize]byte

func (r rule) location() uint32 { return u32(r[ruleLocation:]) }

func (r rule) at(location uint32) rule {
	binary.NativeEndian.PutUint32(r[ruleLocation:], location)
	return r
}

// decodeRules returns the rules of a value, or, where cut, rules of which only
// the locations are known.
func decodeRules(b []byte) (rules []rule, special, cut bool, err error) {
	if len(b) < rulesHeader {
		return nil, false, false, fmt.Errorf("n-tuple rules of %d bytes: %w", len(b), errOtherForm)
	}
	count, special := int(u32(b)), u32(b[4:]) != 0
	b = b[rulesHeader:]
	switch cut = count > maxRules; {
	case !cut && len(b) == ruleSize*count:
		for r := range slices.Chunk(b, ruleSize) {
			rules = append(rules, rule(r))
		}
	case cut && len(b) == 4*count:
		for at := range slices.Chunk(b, 4) {
			rules = append(rules, rule{}.at(u32(at)))
		}
	default:
		err = fmt.Errorf("%d n-tuple rules of %d bytes: %w", count, len(b), errOtherForm)
	}
	return rules, special, cut, err
}

// diffRules deletes the rules that are not wanted, and then adds those that are
// missing.
func diffRules(have, want []byte) ([]change, error) {
	haveRules, _, haveCut, err := decodeRules(have)
	if err != nil {
		return nil, err
	}
	wantRules, special, wantCut, err := decodeRules(want)
	switch {
	case err != nil:
		return nil, err
	case wantCut:
		return nil, fmt.Errorf("%d %w", len(wantRules), errTooManyRules)
	}
	// A location is a rule's priority, unless the driver chooses it.
	known := func(rules []rule) map[rule]bool {
		all := map[rule]bool{}
		for _, r := range rules {
			if special {
				r = r.at(locAny)
			}
			all[r] = true
		}
		return all
	}
	existing, wanted := known(haveRules), known(wantRules)
	var changes []change
	for _, r := range haveRules {
		if special && wanted[r.at(locAny)] || wanted[r] && !haveCut {
			continue
		}
		request := make([]byte, rxSize)
		binary.NativeEndian.PutUint32(request[rxRule+ruleLocation:], r.location())
		changes = append(changes, ethtoolChange(fmt.Sprintf("delete n-tuple rule %d", r.location()), unix.ETHTOOL_SRXCLSRLDEL, request))
	}
	for _, r := range wantRules {
		what := fmt.Sprintf("add n-tuple rule %d", r.location())
		if special {
			r = r.at(locAny)
		}
		if existing[r] && !haveCut {
			continue
		}
		request := make([]byte, rxSize)
		copy(request[rxRule:], r[:])
		changes = append(changes, ethtoolChange(what, unix.ETHTOOL_SRXCLSRLINS, request))
	}
	return changes, nil
}
