package nic

import (
	"errors"
	"regexp"
	"strconv"
)

// Bandwidth limits the interface's traffic in the pod; unset: no limit.
type Bandwidth struct {
	Ingress BitRate `json:"ingress,omitempty"` // what the pod receives
	Egress  BitRate `json:"egress,omitempty"`  // what it sends
}

// BitRate is a rate in bits per second as text, such as 100M, in the form of
// Kubernetes' bandwidth annotations.
type BitRate string

var (
	bitRate = regexp.MustCompile(`^([0-9]{1,16}(?:\.[0-9]{1,9})?)(|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)$`)
	units   = map[string]float64{
		"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
		"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50,
	}
	errBitRate = errors.New("must be 1k to 1P bits per second, such as 100M or 2.5G")
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *BitRate) UnmarshalText(text []byte) error {
	*r = BitRate(text)
	if b := r.Bits(); len(text) > 0 && (b < 1e3 || b > 1e15) { // the limits of the annotations
		return errBitRate
	}
	return nil
}

// Bits returns the rate in bits per second, 0 if it is unset or not a rate.
func (r BitRate) Bits() uint64 {
	m := bitRate.FindStringSubmatch(string(r))
	if m == nil {
		return 0
	}
	number, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0
	}
	return uint64(number * units[m[2]])
}
