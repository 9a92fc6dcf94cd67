package netdev

// atMostLower are the kinds of link whose MTU is at most that of their lower
// device, though their own limit is higher.
var atMostLower = map[string]bool{"macvlan": true, "macvtap": true, "vlan": true}

// oneMACEach are the kinds of which no two on one lower device may have the same
// hardware address, nor that of the lower device.
var oneMACEach = map[string]bool{"macvlan": true, "macvtap": true}

// ofLower adds the limits that the lower device sets for links of some kinds: its
// MTU at most, and a hardware address that neither it nor another link on it has.
func (n *NetNS) ofLower(l Link) (Link, error) {
	if !atMostLower[l.Kind] || l.Lower == 0 || l.LowerNetNSID != -1 {
		return l, nil
	}
	links, err := n.conn.links()
	for _, o := range links {
		lower := o.Index == l.Lower
		if lower && (l.MaxMTU == 0 || o.MTU < l.MaxMTU) {
			l.MaxMTU = o.MTU
		}
		sibling := o.Index != l.Index && o.Lower == l.Lower && o.LowerNetNSID == -1
		if oneMACEach[l.Kind] && (lower || sibling && oneMACEach[o.Kind]) {
			l.TakenMACs = append(l.TakenMACs, o.MAC)
		}
	}
	return l, err
}
