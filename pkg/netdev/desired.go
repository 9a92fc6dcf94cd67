package netdev

import (
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	labelLen   = 15 // IFNAMSIZ less the NUL
	minMTUIPv6 = 1280
)

// fault adds a reason why a link cannot be as a config wants it.
type fault func(field string, value any, format string, args ...any)

// Desired applies the config to the original state and returns the state that the
// link is to have in the pod: what the config does not set stays as it was. It
// also returns, in words, the host addresses that stay out of the pod and the host
// routes that are not routable there; they are no error. A config that the link
// cannot have is one. It changes nothing.
func Desired(l Link, original State, c nic.Config) (want State, omitted []string, err error) {
	want = original
	want.Losses = nil
	for _, p := range properties {
		if p.want != nil {
			omitted = append(omitted, p.want(&want, original, c)...)
		}
	}
	accepted, err := original.accept(c, l.Name)
	omitted, errs := append(omitted, accepted...), []error{err}
	add := func(field string, value any, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %q: %w", field, fmt.Sprint(value), fmt.Errorf(format, args...)))
	}
	for _, p := range properties {
		if p.check != nil {
			p.check(l, want, c, add)
		}
	}
	return want, omitted, join(errs...)
}
