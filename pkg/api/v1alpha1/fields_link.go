package v1alpha1

const (
	minPacketSize = 1024      // the kernel takes less, depending on its configuration
	maxPacketSize = 8 * 65535 // GSO_MAX_SIZE, GRO_MAX_SIZE
	// maxQueueLength limits the kernel's memory: pfifo_fast has 24 bytes for each
	// packet and queue.
	maxQueueLength = 100_000
)

// linkFields are settings of the kernel for one interface.
var linkFields = []field{
	{
		path: "interface.gsoMaxSize", example: `185000`, min: minPacketSize, max: maxPacketSize,
		doc: "bytes, within the device's limit (`ip -d link`: tso_max_size): the largest packet that the interface takes from the kernel; up to 65536 also that of IPv4",
	},
	{
		path: "interface.groMaxSize", example: `185000`, min: minPacketSize, max: maxPacketSize,
		doc: "bytes: the largest packet that is made of received ones; up to 65536 also that of IPv4",
	},
	{
		path: "interface.gsoIPv4MaxSize", example: `65536`, min: minPacketSize, max: maxPacketSize,
		doc: "as gsoMaxSize, of IPv4; Linux 6.3 or later",
	},
	{
		path: "interface.groIPv4MaxSize", example: `65536`, min: minPacketSize, max: maxPacketSize,
		doc: "as groMaxSize, of IPv4; Linux 6.3 or later",
	},
	{path: "interface.txQueueLength", example: `2000`, min: 0, max: maxQueueLength, doc: "packets in the transmit queue (txqueuelen)"},
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
	{
		path: "interface.disableEbpfPrograms", example: `true`,
		doc: "keep the host's XDP and tcx programs out of the pod; they are attached again on the host",
	},
	{path: "interface.bandwidth", doc: "limits of the interface's traffic in the pod, in bits per second as text: 1k to 1P, also with Ki, Mi, …", example: `{}`},
	{
		path: "interface.bandwidth.ingress", example: `"100M"`, pattern: bitRatePattern,
		doc: "of what the pod receives: packets wait in an additional interface of the pod, an ifb",
	},
	{path: "interface.bandwidth.egress", example: `"1G"`, pattern: bitRatePattern, doc: "of what the pod sends"},
	{path: "interface.vrf", doc: "put the interface into a VRF of the pod, which is made if there is none of the name; its routes without a table are then in the VRF's", example: `{}`},
	{
		path: "interface.vrf.name", example: `"blue"`, pattern: `[A-Za-z0-9._-]{1,15}`,
		doc: "of the VRF, as an interface's; interfaces of a pod that name the same are in one",
	},
	{path: "interface.vrf.table", doc: "its routing table; 0 or absent: 1000 to 1999, from the name; not main, default or local (253 to 255)", example: `100`},
}

// bitRatePattern is the form of a nic.BitRate, which has limits too.
const bitRatePattern = `[0-9]{1,16}(\.[0-9]{1,9})?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?`
