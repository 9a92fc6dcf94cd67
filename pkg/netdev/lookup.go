package netdev

// LinkByName returns the link of the namespace that has this name or altname,
// or ErrNotFound. The standard library's net.InterfaceByName does not find
// altnames, which take a name just as well (`ip link show ALTNAME`).
func (n *NetNS) LinkByName(name string) (Link, error) { return n.conn.linkByName(name) }

// LinkByIndex returns the link of the namespace that has this ifindex, or
// ErrNotFound.
func (n *NetNS) LinkByIndex(index int) (Link, error) { return n.conn.linkByIndex(index) }
