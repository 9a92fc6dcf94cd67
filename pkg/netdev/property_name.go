package netdev

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The name is set by the move itself; the row renames a link that has another
// name since.
var nameProperties = []property{{
	name:  "name",
	inPod: "the config's, else the host's own; one that cannot be used in a pod (`eth0`, or with other characters) becomes `net0`, `net1`, …",
	want: func(want *State, _ State, c nic.Config) []string {
		if c.Interface.Name != "" {
			want.Name = c.Interface.Name
		}
		return nil
	},
	check: func(_ Link, want State, _ nic.Config, add fault) {
		if err := nic.CheckName(want.Name); err != nil {
			add("interface.name", want.Name, "%w: the name on the host is kept when none is set; set interface.name", err)
		}
	},
	steps: func(l Link, have, want State) []step {
		if have.Name == want.Name {
			return nil
		}
		return []step{{message: message{what: "rename to " + want.Name}, do: func(n *NetNS) outcome {
			_, err := n.rename(l, want.Name)
			return outcome{changed: true, err: err}
		}}}
	},
}}

// rename gives a link another name and returns it as it is then, also on an error.
// A kernel before 6.2 renames no link that is up: then the link is set down, and
// converge restores what it loses by that, and sets it up again.
func (n *NetNS) rename(l Link, name string) (Link, error) {
	if l.Name == name {
		return l, nil
	}
	if slices.Contains(l.AltNames, name) { // even the link's own altname is in the way
		if _, err := n.conn.do(altName(l.Index, name, false)); err != nil {
			return l, err
		}
	}
	ms := set(true, l.Index, "rename to "+name, attr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, err := n.conn.do(ms...)
	if errors.Is(err, unix.EBUSY) && l.Up {
		_, err = n.conn.do(append(setFlag(l.Index, l.Up, false, unix.IFF_UP, "up"), ms...)...)
	}
	now, lookup := n.conn.linkByIndex(l.Index)
	if lookup != nil {
		return l, join(err, lookup)
	}
	return now, err
}

// fallbackName is a unique name for a link that is on its way back to the host, or
// whose own name is taken there; always the same for the same tag.
func fallbackName(tag string) string {
	return fmt.Sprintf("nd%x", sha256.Sum256([]byte(tag)))[:labelLen]
}

var altNameProperties = []property{{
	name: "alternative names, in their order",
	inPod: "as on the host, but one that is taken in the pod (as `eth0`) or is the name of another interface of the claim's pod: " +
		"that is named in `data.omitted`",
	steps: func(l Link, have, want State) []step {
		same := 0
		for same < min(len(have.AltNames), len(want.AltNames)) && have.AltNames[same] == want.AltNames[same] {
			same++
		}
		var ms []message
		// Names after the first difference are removed and added again.
		for _, a := range have.AltNames[same:] {
			m := altName(l.Index, a, false)
			m.optional = slices.Contains(want.AltNames, a) // it is only out of order
			ms = append(ms, m)
		}
		for _, a := range want.AltNames[same:] {
			m := altName(l.Index, a, true)
			m.optional = true // another link may have it meanwhile
			ms = append(ms, m)
		}
		return messages(ms...)
	},
}}

// altName adds or removes an alternative name, see `ip link property`.
func altName(index int, name string, add bool) message {
	m := message{what: "add altname " + name, typ: unix.RTM_NEWLINKPROP, flags: unix.NLM_F_CREATE | unix.NLM_F_APPEND | unix.NLM_F_EXCL}
	if !add {
		m = message{what: "remove altname " + name, typ: unix.RTM_DELLINKPROP}
	}
	m.body = []nl.NetlinkRequestData{ifi(index), nested(unix.IFLA_PROP_LIST, attr(unix.IFLA_ALT_IFNAME, nl.ZeroTerminated(name)))}
	return m
}
