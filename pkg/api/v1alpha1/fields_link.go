package v1alpha1

// linkFields are settings of the kernel for one interface.
var linkFields = []field{
	{
		path: "interface.forwarding", example: `true`,
		doc: "forward packets that arrive by the interface, IPv4 and IPv6; IPv6 needs Linux 6.17, or `net.ipv6.conf.all.forwarding` in the pod",
	},
	{
		path: "interface.arpIgnore", example: `1`, enum: []string{"0", "1", "2", "3", "8"}, // ip-sysctl.rst: 4 to 7 are reserved
		doc: "arp_ignore: which ARP requests are answered",
	},
	{
		path: "interface.arpAnnounce", example: `2`, enum: []string{"0", "1", "2"},
		doc: "arp_announce: which source address ARP requests have",
	},
	{
		path: "interface.sysctls", example: `{"net.ipv4.conf.IFNAME.rp_filter": "2"}`, items: 64,
		pattern: `net\.ipv[46]\.(conf|neigh)\.IFNAME\.[a-z0-9_]{1,40}`,
		doc:     "settings of the interface below /proc/sys/net, by their name with the word IFNAME in the place of the interface's; numbers, as texts",
	},
}
