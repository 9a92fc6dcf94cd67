package v1alpha1

var routeFields = []field{
	{path: "routes", doc: "routes through the interface; one replaces a host route to the same destination in the same table", example: `[]`},
	{path: "routes[].destination", doc: "prefix without host bits", example: `"203.0.113.0/24"`, format: formatPrefix, required: true},
	{
		path: "routes[].gateway", example: `"198.51.100.1"`, format: formatAddress,
		doc: "must be reachable with the interface's addresses; not the network's broadcast address",
	},
	{path: "routes[].source", doc: "preferred source address, one of the interface's", example: `"198.51.100.10"`, format: formatAddress},
	{path: "routes[].scope", doc: "0 universe, 253 link", example: `0`, enum: []string{"0", "253"}},
	{path: "routes[].table", doc: "0 or absent: main; not the local table, 255", example: `100`},
	{
		path: "routes[].metric", example: `100`, min: 1, max: 1<<32 - 1,
		doc: "the lowest is preferred; absent: 0 for IPv4, 1024 for IPv6",
	},
	{
		path: "routes[].mtu", doc: "bytes, for packets to the destination", example: `1400`, min: 68,
		max: 65520, // more is 65520 for the kernel (ip_metrics_convert)
	},
	{path: "routes[].onLink", doc: "the gateway is on the link, though none of the interface's addresses reaches it", example: `true`},
	{
		path: "routes[].type", example: `"unreachable"`, enum: []string{"unicast", "blackhole", "unreachable", "prohibit", "throw"},
		doc: "what happens with the packets; absent: unicast; routes of the other types belong to the pod and not to an interface, and are removed with this one",
	},
	{
		path: "routes[].protocol", example: `186`, min: 3, max: 255,
		doc: "who made the route, as in /etc/iproute2/rt_protos; absent: 4 (static)",
	},
	{path: "routes[].multipath", doc: "gateways that share the traffic, in place of `gateway`", example: `[]`, items: 64},
	{
		path: "routes[].multipath[].gateway", example: `"198.51.100.1"`, format: formatAddress, required: true,
		doc: "must be reachable with the interface's addresses; each one once",
	},
	{path: "routes[].multipath[].weight", doc: "share of the traffic; absent: 1", example: `10`, min: 1, max: 256},
	{path: "routes[].multipath[].onLink", doc: "as `routes[].onLink`", example: `true`},
}
