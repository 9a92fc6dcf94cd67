package v1alpha1

import "github.com/dra-netdev/dra-netdev/pkg/netdev/nic"

var addressFields = []field{
	{
		path: "interface.addressPolicy", example: `"Replace"`, enum: []string{nic.PolicyKeep, nic.PolicyReplace, nic.PolicyAdd, nic.PolicyNone},
		doc: "Keep: the host's permanent addresses; Replace: `addresses`, or one of `addressPool`; Add: both, the host's first; None: no addresses, beside the link-local one that " +
			"the kernel makes; absent: Replace with these, else Keep",
	},
	{
		path: "interface.addressing", example: `"Static"`, enum: []string{nic.AddressingStatic, nic.AddressingUnnumbered, nic.AddressingSLAAC, nic.AddressingDHCP},
		doc: "Static: `addresses` or `addressPool`, one of which is required; Unnumbered: as `addressPolicy: None`; SLAAC: an IPv6 address from a router, for which the pod waits, in place of the host's IPv6 addresses; DHCP: as `dhcp: true`",
	},
	{
		path: "interface.addresses", example: `["198.51.100.10/24"]`, format: formatPrefix,
		items: 16, // a claim's status has room for no more (KEP-4817)
		doc:   "in this order; may be link-local; each is a prefix, or an object with `address` and more",
	},
	{path: "interface.addresses[].address", doc: "the address with its prefix length", example: `"2001:db8::10/64"`, format: formatPrefix, required: true},
	{
		path: "interface.addresses[].nodad", example: `true`,
		doc: "IPv6: false: the address goes through duplicate address detection, as with waitForDAD; true: it does not; absent: as waitForDAD says",
	},
	{path: "interface.addresses[].noprefixroute", doc: "add no route to the prefix", example: `true`},
	{
		path: "interface.addresses[].label", example: `"net1:web"`, pattern: `[A-Za-z0-9._:-]{1,15}`,
		doc: "IPv4: the label that `ip addr` shows",
	},
	{path: "interface.addresses[].metric", doc: "of the route to the prefix", example: `100`},
	{
		path: "interface.waitForDAD", example: `true`,
		doc: "IPv6 addresses go through duplicate address detection, 1 to 2 s, before a container starts; a duplicate fails the pod; absent: false, they are used at once",
	},
	{
		path: "interface.disableIPv6", example: `true`,
		doc: "true: the interface has no IPv6 in the pod; false: it has, also if the pod's other interfaces have none; absent: it has if it has IPv6 addresses, " +
			"else as the pod's other interfaces",
	},
	{
		path: "interface.acceptRA", example: `true`,
		doc: "let IPv6 routers give the interface addresses, routes and more (router advertisements); absent: false",
	},
}
