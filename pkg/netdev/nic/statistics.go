package nic

// Statistics are the eight counters of an interface, in packets or bytes.
type Statistics struct {
	RxBytes   uint64 `json:"rxBytes"`
	RxPackets uint64 `json:"rxPackets"`
	RxErrors  uint64 `json:"rxErrors"`
	RxDropped uint64 `json:"rxDropped"`
	TxBytes   uint64 `json:"txBytes"`
	TxPackets uint64 `json:"txPackets"`
	TxErrors  uint64 `json:"txErrors"`
	TxDropped uint64 `json:"txDropped"`
}

// Since returns what was counted after base was read. A counter that went
// back (its driver was reset) counts from zero.
func (s Statistics) Since(base Statistics) Statistics {
	sub := func(now, then uint64) uint64 {
		if now < then {
			return now
		}
		return now - then
	}
	return Statistics{
		RxBytes: sub(s.RxBytes, base.RxBytes), RxPackets: sub(s.RxPackets, base.RxPackets),
		RxErrors: sub(s.RxErrors, base.RxErrors), RxDropped: sub(s.RxDropped, base.RxDropped),
		TxBytes: sub(s.TxBytes, base.TxBytes), TxPackets: sub(s.TxPackets, base.TxPackets),
		TxErrors: sub(s.TxErrors, base.TxErrors), TxDropped: sub(s.TxDropped, base.TxDropped),
	}
}
