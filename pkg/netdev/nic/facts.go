package nic

// Facts are what the kernel answers about a link only when it is asked for that
// link by itself. The zero value means that nothing is known.
type Facts struct {
	Speed       int      // Mb/s, as negotiated; without a carrier the most that the link supports
	Duplex      string   // "full" or "half"; empty without a carrier
	Firmware    string   // version of the hardware's firmware
	EswitchMode string   // of the switch between a physical function and its virtual ones: "legacy", "switchdev"
	Filters     []string // names of the eBPF filters of tc, at ingress and then at egress
	Programs    []string // names of the tcx programs, likewise
	EBPF        bool     // has eBPF programs: such filters, tcx or XDP
}
