package netdev

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// vrf is the VRF in which a link is in a pod. It is set before the addresses: a link
// that is put into it while it is up goes down and up, and loses those of IPv6.
type vrf struct {
	Name  string `json:"name"`
	Table uint32 `json:"table"`
}

var vrfProperties = []property{{
	name: "VRF", inPod: "the config's, else none", after: "none, as before",
	side: sidePod,
	read: func(r *reader, s *State) error {
		if r.want.VRF == nil || r.link.Master == 0 {
			return nil
		}
		l, err := r.conn.linkByIndex(r.link.Master)
		if err == nil && l.Kind == vrfKind {
			s.VRF = &vrf{l.Name, l.vrfTable()}
		}
		return err
	},
	want: func(want *State, _ State, c nic.Config) []string {
		want.VRF = nil
		if v := c.Interface.VRF; v.Name != "" {
			want.VRF = &vrf{v.Name, v.TableNumber()}
		}
		return nil
	},
	check: checkVRF,
	steps: func(l Link, have, want State) []step {
		if want.VRF == nil || have.VRF != nil && *have.VRF == *want.VRF {
			return nil
		}
		what := fmt.Sprintf("put into VRF %s, table %d", want.VRF.Name, want.VRF.Table)
		return []step{{message: message{what: what}, do: func(n *NetNS) outcome {
			err := n.enslave(l, *want.VRF)
			if err != nil {
				err = fmt.Errorf("interface.vrf: %q: %w", want.VRF.Name, err)
			}
			return outcome{changed: true, err: err}
		}}}
	},
}}

// mainTable is the table of routes for which none is named, and of those that the
// kernel adds with addresses.
func (s State) mainTable() uint32 {
	if s.VRF != nil {
		return s.VRF.Table
	}
	return unix.RT_TABLE_MAIN
}

// inTable returns the route in the table that the link has instead of main.
func (s State) inTable(r Route) Route {
	if r.Table == unix.RT_TABLE_MAIN {
		r.Table = s.mainTable()
	}
	return r
}

func checkVRF(_ Link, _ State, c nic.Config, add fault) {
	v := c.Interface.VRF
	if v.Name == "" {
		return
	}
	if err := tryVRF(); err != nil {
		add("interface.vrf.name", v.Name, "the node's kernel has no VRF: %w", err)
	}
}

// triedVRF is set when the kernel was seen to make a VRF.
var triedVRF atomic.Bool

// tryVRF makes a VRF in a namespace of its own, which also loads the kernel's module.
func tryVRF() error {
	if triedVRF.Load() {
		return nil
	}
	var made error
	err := inScratch(func(n *NetNS) { _, made = n.conn.do(vrf{"vrf0", 1}.message(0)) })
	if err = join(err, made); err == nil {
		triedVRF.Store(true)
	}
	return err
}

// enslave puts a link into a VRF of the pod, which it makes if there is none.
func (n *NetNS) enslave(l Link, v vrf) error {
	links, err := n.conn.links()
	if err != nil {
		return err
	}
	for _, o := range links {
		if o.Kind == vrfKind && o.Name != v.Name && o.vrfTable() == v.Table {
			return fmt.Errorf("the VRF %s of the pod has its table %d: %w", o.Name, v.Table, unix.EEXIST)
		}
	}
	dev, err := n.conn.linkByName(v.Name)
	made := errors.Is(err, ErrNotFound)
	if made {
		dev, err = n.makeVRF(v, links)
	}
	switch {
	case err != nil:
		return err
	case dev.Kind != vrfKind || dev.Name != v.Name:
		return fmt.Errorf("%w", n.taken(v.Name, dev))
	case dev.vrfTable() != v.Table:
		return fmt.Errorf("the VRF of this name in the pod has the table %d, not %d: %w", dev.vrfTable(), v.Table, unix.EEXIST)
	}
	ms := append(setFlag(dev.Index, dev.Up, true, unix.IFF_UP, "up"), set(true, l.Index, "put into VRF "+v.Name, masterAttr(dev.Index))...)
	if _, err = n.conn.do(ms...); err != nil && made {
		err = join(err, n.removeVRFs())
	}
	return err
}
