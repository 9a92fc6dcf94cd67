package nic

// What interface.allowLoss can name.
const (
	LossQdiscs  = "qdiscs"
	LossFilters = "filters"
	LossRDMA    = "rdma"
)

// Losses are the kinds of settings of the host that the driver may be unable to
// restore, and what each includes. A config that does not accept a loss is refused
// before anything is touched.
var Losses = map[string]string{
	LossQdiscs:  "`tc qdisc`, `tc class`",
	LossFilters: "`tc filter` with their actions",
	LossRDMA:    "RDMA devices in software (rxe, siw), which the kernel deletes when their interface leaves",
}
