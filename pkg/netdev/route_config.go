package netdev

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Routes of a config.

var typeNames = map[uint8]nic.RouteType{
	unix.RTN_UNICAST: nic.Unicast, unix.RTN_BLACKHOLE: nic.Blackhole, unix.RTN_UNREACHABLE: nic.Unreachable, unix.RTN_PROHIBIT: nic.Prohibit, unix.RTN_THROW: nic.Throw,
}

func typeOf(name nic.RouteType) uint8 {
	for typ, n := range typeNames {
		if n == name {
			return typ
		}
	}
	return unix.RTN_UNICAST
}

// routeOf returns a route of the config.
func routeOf(u nic.Route) Route {
	r := Route{
		Destination: u.Destination, Gateway: u.Gateway, PrefSource: u.Source, Table: tableOf(u), Scope: u.Scope, Metric: u.Metric,
		OnLink: u.OnLink, Type: typeOf(u.Type), Protocol: cmp.Or(u.Protocol, unix.RTPROT_STATIC),
	}
	for _, h := range u.Multipath {
		r.NextHops = append(r.NextHops, nextHop{Gateway: h.Gateway, Weight: h.Weight, OnLink: h.OnLink})
	}
	if u.MTU != 0 {
		r.Extra = []Attr{{unix.RTA_METRICS, attr(unix.RTAX_MTU, nl.Uint32Attr(uint32(u.MTU))).Serialize()}}
	}
	if r.deviceless() {
		r.Protocol = ruleProtocol
	} else if r.direct() && u.Destination.Addr().Is4() {
		r.Scope = unix.RT_SCOPE_LINK // what a route without a gateway has, and ip(8) sets
	}
	if u.Destination.Addr().Is6() {
		r.Metric = cmp.Or(r.Metric, metricUser6)
	}
	return r
}

func tableOf(r nic.Route) uint32 { return cmp.Or(r.Table, unix.RT_TABLE_MAIN) }

func checkRoutes(_ Link, want State, c nic.Config, add fault) {
	for i, u := range c.Routes {
		field, r := fmt.Sprintf("routes[%d]", i), want.inTable(routeOf(u))
		if r.deviceless() {
			continue
		}
		checkRoute(want, field, r, add)
		for j, h := range r.NextHops {
			hop := r
			hop.Gateway, hop.OnLink, hop.NextHops = h.Gateway, h.OnLink, nil
			checkGateway(want, fmt.Sprintf("%s.multipath[%d].gateway", field, j), hop, add)
		}
	}
}

// checkRoute reports why a link in state s cannot have a route of the config.
func checkRoute(s State, field string, r Route, add fault) {
	address, brought := s.brings(r)
	no6 := s.no6(r.Destination.Addr())
	switch {
	case no6 != "":
		add(field+".destination", r.Destination, "%s", no6)
	case r.PrefSource.IsValid() && !s.has(r.PrefSource):
		add(field+".source", r.PrefSource, "the interface does not have this address")
	case brought && !address.satisfies(r):
		add(field+".destination", r.Destination, "the kernel adds this route with the interface's address %s", address.Prefix)
	default:
		checkGateway(s, field+".gateway", r, add)
	}
}

func checkGateway(s State, field string, r Route, add fault) {
	if !r.OnLink && !s.reaches(r.Gateway, r.Table) {
		add(field, r.Gateway, "the interface's addresses do not reach the gateway")
	} else if why := s.noGateway(r); why != "" {
		add(field, r.Gateway, "%s", why)
	}
}

// addDeviceless adds those of the routes that are missing to a pod's namespace, and
// checks that they are there then.
func (n *NetNS) addDeviceless(want []Route) outcome {
	have, err := n.conn.deviceless()
	if err != nil {
		return outcome{err: err}
	}
	var ms []message
	for _, r := range want {
		if !slices.ContainsFunc(have, r.equal) {
			r.Exclusive = true
			ms = append(ms, r.message(0, true))
		}
	}
	if len(ms) == 0 {
		return outcome{}
	}
	if _, err := n.conn.do(ms...); err != nil {
		return outcome{err: err}
	}
	if have, err = n.conn.deviceless(); err != nil {
		return outcome{err: err}
	}
	var errs []error
	for _, r := range want {
		if !slices.ContainsFunc(have, r.equal) {
			errs = append(errs, fmt.Errorf("not as wanted afterwards: add route %s", r))
		}
	}
	return outcome{err: join(errs...)}
}

// removeDeviceless removes routes of ours without a link from a pod's namespace, and
// returns what the kernel refused.
func (n *NetNS) removeDeviceless(routes []Route) ([]failure, error) {
	var ms []message
	for _, r := range routes {
		m := r.message(0, false)
		m.already, m.optional = unix.ESRCH, true
		ms = append(ms, m)
	}
	return n.conn.do(ms...)
}

// deviceless returns the routes without a link that we have added to the namespace. Of
// IPv6 the kernel shows them with lo.
func (c *conn) deviceless() ([]Route, error) {
	var all []Route
	for fam, index := range map[uint8]int{unix.AF_INET: 0, unix.AF_INET6: loopbackIndex} {
		payloads, err := c.dump(unix.RTM_GETROUTE, &nl.RtMsg{RtMsg: unix.RtMsg{Family: fam}})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, b := range payloads {
			rs, err := decodeRoute(b, index)
			if err != nil {
				return nil, fmt.Errorf("list routes: %w", err)
			}
			all = append(all, slices.DeleteFunc(rs, func(r Route) bool { return !r.deviceless() || r.Protocol != ruleProtocol })...)
		}
	}
	return all, nil
}
