package v1alpha1

var ruleFields = []field{
	{
		path: "interface.sourceRouting", example: `true`,
		doc: "traffic from the interface's addresses leaves by the interface; its default routes are used for nothing else, so that the pod keeps its own",
	},
	{
		path: "rules", example: `[{"source":"198.51.100.10/32","table":100}]`, items: 256,
		doc: "policy rules of the pod (ip-rule(8)), removed with the interface; a list, also an empty one, replaces the host's rules for the interface",
	},
	{
		path: "rules[].priority", example: `1000`, min: 1, max: 1<<32 - 1,
		doc: "the lowest is tried first; the pod's tables local, main and default have 0, 32766 and 32767; absent: 30000 for the first rule of the list, 30001 for the second, …",
	},
	{path: "rules[].source", doc: "of the packet; prefix without host bits", example: `"198.51.100.10/32"`, format: formatPrefix},
	{path: "rules[].destination", doc: "of the packet; prefix without host bits", example: `"203.0.113.0/24"`, format: formatPrefix},
	{path: "rules[].table", doc: "routing table for what the rule selects; 0 or absent: main", example: `100`},
	{
		path: "rules[].fwmark", example: `"0x1/0xff"`, pattern: `(0x[0-9a-fA-F]{1,8}|[0-9]{1,10})(/(0x[0-9a-fA-F]{1,8}|[0-9]{1,10}))?`,
		doc: "firewall mark of the packet, or one with a mask",
	},
	{path: "rules[].iif", doc: "interface in the pod that received the packet, IFNAME for the claim's own; lo: sent by the pod", example: `"net1"`, pattern: `[^\s/]{1,15}`},
	{path: "rules[].oif", doc: "interface in the pod that a socket is bound to, IFNAME for the claim's own", example: `"net1"`, pattern: `[^\s/]{1,15}`},
	{
		path: "rules[].ipProto", example: `"tcp"`, pattern: `tcp|udp|sctp|icmp|icmpv6|[0-9]{1,3}`,
		doc: "transport protocol, or its number",
	},
	{path: "rules[].sourcePorts", doc: "a port from 1 to 65534, or a range", example: `"8000-8099"`, pattern: `[0-9]{1,5}(-[0-9]{1,5})?`},
	{path: "rules[].destinationPorts", doc: "a port from 1 to 65534, or a range", example: `"443"`, pattern: `[0-9]{1,5}(-[0-9]{1,5})?`},
	{path: "rules[].invert", doc: "select what does not match", example: `true`},
	{
		path: "rules[].family", example: `"IPv6"`, enum: []string{"IPv4", "IPv6"},
		doc: "absent: that of the source or destination; without both, one rule for each family that the table has routes of",
	},
	{
		path: "rules[].suppressPrefixLength", example: `0`, min: 0, max: 128,
		doc: "ignore routes of the table with a prefix of this length or shorter; 0: default routes",
	},
}
