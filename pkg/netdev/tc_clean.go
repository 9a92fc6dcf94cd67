package netdev

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// An object is made again from the attributes that the kernel reports of it. For
// some kinds those differ from what a request has, or lack something.

// tcKind is a kind of qdisc or class. A kind that is not in the table is a loss.
type tcKind struct {
	// request turns options that the kernel reports into those of a request; nil: they
	// are the same.
	request func([]byte) []byte
	// lacks returns what the options lack; nil: nothing.
	lacks func([]byte) string
	// nested means that a request needs NLA_F_NESTED, which the kernel does not report.
	nested bool
}

// qdiscKinds are the kinds that can be made again. Not among them are red, choke and
// gred, whose table (TCA_RED_STAB) the kernel does not report, plug, and taprio.
var qdiscKinds = map[string]tcKind{
	"ingress": {}, kindClsact: {}, "noqueue": {}, "pfifo": {}, "bfifo": {}, "pfifo_fast": {}, "pfifo_head_drop": {},
	"mq": {}, "mqprio": {}, "multiq": {}, "prio": {}, "tbf": {}, "hfsc": {}, "drr": {}, "qfq": {}, "ets": {nested: true}, "cbs": {}, "etf": {}, "skbprio": {},
	"fq": {}, "fq_codel": codel(1, 3, 7), "codel": codel(1, 3, 5), "pie": {}, "fq_pie": {}, "hhf": {}, "cake": {}, "sfb": {},
	"htb": {request: htbRequest}, "sfq": {request: sfqRequest}, "netem": {lacks: netemLacks},
}

// classKinds are the qdiscs whose classes somebody makes.
var classKinds = map[string]bool{"htb": true, "hfsc": true, "drr": true, "qfq": true}

// htbRequest sets the version that a request has, and no counter, in TCA_HTB_INIT
// (struct tc_htb_glob: version, rate2quantum, defcls, debug, direct_pkts).
func htbRequest(options []byte) []byte {
	const init, size, directPackets, version = 2, 20, 16, 3
	all, err := rawAttrs(options)
	for _, a := range all {
		if a.is(init) && len(a.Value) >= size {
			binary.NativeEndian.PutUint32(a.Value, version)
			binary.NativeEndian.PutUint32(a.Value[directPackets:], 0)
		}
	}
	if err != nil {
		return options
	}
	return encode(all)
}

// codel is a kind with times as attributes of these types, in us. The kernel counts
// in units of 1024 ns and reports what is left of that after a division, so the time
// that gives the same number of units is the next higher one.
func codel(times ...uint16) tcKind {
	return tcKind{request: func(options []byte) []byte {
		all, err := rawAttrs(options)
		for _, a := range all {
			if slices.ContainsFunc(times, a.is) && len(a.Value) == 4 {
				units := (uint64(u32(a.Value))*1000 + 1023) / 1024
				binary.NativeEndian.PutUint32(a.Value, uint32((units*1024+999)/1000))
			}
		}
		if err != nil {
			return options
		}
		return encode(all)
	}}
}

// sfqRequest zeroes the counters that end struct tc_sfq_qopt_v1. A limit (packets) in
// a request makes the flows not more than that, so one below the flows was never set.
func sfqRequest(options []byte) []byte {
	const limit, flows, counters, size = 8, 16, 48, 72
	options = slices.Clone(options)
	if len(options) >= size {
		clear(options[counters:size])
		if u32(options[limit:]) < u32(options[flows:]) {
			clear(options[limit : limit+4])
		}
	}
	return options
}

// netemLacks finds in struct tc_netem_qopt whether the delay varies, which it does
// by a table that the kernel does not report.
func netemLacks(options []byte) string {
	const jitter = 20
	if len(options) >= jitter+4 && u32(options[jitter:]) != 0 {
		return "the distribution of its delay"
	}
	return ""
}

// tcCleaner turns objects that were read into requests. It collects what is lost.
// Redirects to the link with ifindex from become those to to.
type tcCleaner struct {
	from, to uint32
	losses   []loss
}

func (k *tcCleaner) lost(kind, format string, args ...any) {
	l := loss{kind, fmt.Sprintf(format, args...)}
	if !slices.Contains(k.losses, l) {
		k.losses = append(k.losses, l)
	}
}

// tcKept are the attributes of a message that a request has.
var tcKept = map[uint16]bool{unix.TCA_OPTIONS: true, unix.TCA_STAB: true, unix.TCA_CHAIN: true, unix.TCA_INGRESS_BLOCK: true, unix.TCA_EGRESS_BLOCK: true}

// all returns the requests for those objects that can be made again.
func (k *tcCleaner) all(objects []tcObject) (out []tcObject) {
	for _, o := range objects {
		stats := find(o.Attrs, unix.TCA_STATS2)
		o.Attrs = slices.DeleteFunc(slices.Clone(o.Attrs), func(a Attr) bool { return !tcKept[a.Type&nlaTypeMask] })
		ok := true
		switch o.Type {
		case unix.RTM_NEWTFILTER:
			o, ok = k.filter(o)
		case unix.RTM_NEWQDISC, unix.RTM_NEWTCLASS:
			o.Info = 0 // users of a qdisc; the qdisc of a class
			o, ok = k.qdisc(o)
			k.estimator(o, stats)
		}
		if ok {
			out = append(out, o)
		}
	}
	return out
}

// estimator notes the loss of a rate estimator (TCA_STATS_RATE_EST), of which the
// kernel reports the rate only.
func (k *tcCleaner) estimator(o tcObject, stats []byte) {
	const rateEstimator = 2
	if all, _ := rawAttrs(stats); find(all, rateEstimator) != nil {
		k.lost(nic.LossQdiscs, "rate estimator of %s", o)
	}
}

func (k *tcCleaner) qdisc(o tcObject) (tcObject, bool) {
	const stabBase, stabData, sizeTable = 1, 2, 16 // TCA_STAB_BASE; TCA_STAB_DATA; tsize in struct tc_sizespec
	kind, known := qdiscKinds[o.Kind]
	if !known {
		k.lost(nic.LossQdiscs, "%s", o)
		return o, false
	}
	stab, _ := rawAttrs(find(o.Attrs, unix.TCA_STAB))
	if base := find(stab, stabBase); len(base) >= sizeTable+4 && u32(base[sizeTable:]) != 0 && find(stab, stabData) == nil {
		k.lost(nic.LossQdiscs, "size table (stab) of %s", o)
		o.Attrs = slices.DeleteFunc(o.Attrs, func(a Attr) bool { return a.is(unix.TCA_STAB) })
	}
	if o.Type != unix.RTM_NEWQDISC {
		return o, true
	}
	for i, a := range o.Attrs {
		if !a.is(unix.TCA_OPTIONS) {
			continue
		}
		if kind.nested {
			o.Attrs[i].Type |= unix.NLA_F_NESTED
		}
		if kind.request != nil {
			o.Attrs[i].Value = kind.request(a.Value)
		}
		if kind.lacks != nil {
			if what := kind.lacks(a.Value); what != "" {
				k.lost(nic.LossQdiscs, "%s (%s)", o, what)
			}
		}
	}
	return o, true
}
