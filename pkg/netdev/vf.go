package netdev

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	pciBus = "pci"
	// pciFunctions are the PCI functions. They are the same in each sysfs.
	pciFunctions = "/sys/bus/pci/devices"
	// vfResetTime is how long a driver may refuse a setting of a virtual function
	// that it resets after the one before.
	vfResetTime = 2 * time.Second
	vfResetPoll = 50 * time.Millisecond
)

// physicalFunction returns the PCI address of the physical function that a function
// is a virtual one of, and its number there; "" if it is none.
func physicalFunction(function string) (pf string, number int) {
	target, err := os.Readlink(path.Join(pciFunctions, function, "physfn"))
	if err != nil {
		return "", 0
	}
	pf = path.Base(target)
	all, _ := filepath.Glob(path.Join(pciFunctions, pf, "virtfn*"))
	for _, link := range all {
		if target, err := os.Readlink(link); err != nil || path.Base(target) != function {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimPrefix(path.Base(link), "virtfn")); err == nil {
			return pf, n
		}
	}
	return "", 0
}

func isVF(function string) bool {
	pf, _ := physicalFunction(function)
	return pf != ""
}

// virtualFunction returns what is set for a link that is a virtual function, or nil.
// Where its physical function cannot be asked nothing is known, and a config that asks
// for anything is refused.
func (n *NetNS) virtualFunction(l Link) *vfState {
	if l.ParentBus != pciBus || l.Kind != "" {
		return nil
	}
	pf, number := physicalFunction(l.Parent)
	if pf == "" {
		return nil
	}
	s := &vfState{Function: l.Parent, PF: pf}
	if _, f, err := n.vfOf(pf, number); err == nil {
		s.Settings = f.settings()
	}
	return s
}

// vfOf returns the link that sets the virtual functions of a physical one, and a
// virtual function as it reports it, or ErrNotFound. In switchdev mode other links
// have the same parent device.
func (n *NetNS) vfOf(pf string, number int) (Link, vf, error) {
	links, err := n.conn.links()
	if err != nil {
		return Link{}, vf{}, err
	}
	var at Link
	var found vf
	for _, l := range links {
		if l.Parent != pf || l.ParentBus != pciBus || l.Kind != "" {
			continue
		}
		b, err := readVFs(n.conn, l)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENODEV) {
			continue
		}
		all, err2 := decodeVFs(b)
		if err := join(err, err2); err != nil {
			return at, found, fmt.Errorf("get the virtual functions of %s: %w", l.Name, err)
		}
		for _, f := range all {
			if int(f.number) != number {
				continue
			}
			if at.Index != 0 {
				return at, found, fmt.Errorf("%s and %s both set the virtual functions of %s: %w", at.Name, l.Name, pf, ErrNotFound)
			}
			at, found = l, f
		}
	}
	if at.Index == 0 {
		return at, found, fmt.Errorf("interface of the physical function %s in %s: %w", pf, n, ErrNotFound)
	}
	return at, found, nil
}

// vfFailure is a setting of a virtual function that is not as wanted.
type vfFailure struct {
	field vfField
	err   error
}

// setVF sets what is asked of a virtual function, and reads it back.
func (n *NetNS) setVF(s vfState) (failures []vfFailure, changed bool, err error) {
	pf, number := physicalFunction(s.Function)
	if pf == "" {
		return nil, false, fmt.Errorf("virtual function %s: %w", s.Function, os.ErrNotExist)
	}
	l, have, err := n.vfOf(pf, number)
	if err != nil {
		return nil, false, err
	}
	asked := vfAsked(s.Asked)
	fail := func(typ uint16, err error) {
		for _, f := range asked {
			if f.typ == typ {
				failures = append(failures, vfFailure{f, fmt.Errorf("set VF %d of %s: %w", number, l.Name, err)})
			}
		}
	}
	attrs, unknown := have.lay(s.Asked)
	for _, f := range unknown {
		failures = append(failures, vfFailure{f, unix.EOPNOTSUPP})
	}
	failed := map[uint16]bool{}
	for _, a := range attrs {
		if err := n.setVFAttr(l, number, a); err != nil {
			failed[a.Type] = true
			fail(a.Type, err)
		}
	}
	if len(attrs) == 0 {
		return failures, false, nil
	}
	if _, have, err = n.vfOf(pf, number); err != nil {
		return failures, true, err
	}
	attrs, _ = have.lay(s.Asked)
	for _, a := range attrs {
		if !failed[a.Type] {
			fail(a.Type, errNoEffect)
		}
	}
	return failures, true, nil
}

// setVFAttr makes one request, again while the driver resets the virtual function.
func (n *NetNS) setVFAttr(pf Link, number int, a Attr) error {
	info := nested(unix.IFLA_VFINFO_LIST, nested(unix.IFLA_VF_INFO, attr(int(a.Type), a.Value)))
	m := message{what: fmt.Sprintf("set VF %d", number), typ: unix.RTM_NEWLINK}
	m.body = append(m.body, ifi(pf.Index), info)
	for end := time.Now().Add(vfResetTime); ; time.Sleep(vfResetPoll) {
		err := n.conn.batch([]message{m})[0]
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EAGAIN) || time.Now().After(end) {
			return err
		}
	}
}

// setForPod sets what a config asks for. An error names each field with its value.
func (n *NetNS) setForPod(s *vfState) error {
	if s == nil || len(vfAsked(s.Asked)) == 0 {
		return nil
	}
	failures, _, err := n.setVF(*s)
	errs := []error{err}
	for _, f := range failures {
		errs = append(errs, fmt.Errorf("vf.%s: \"%v\": %w", f.field.name, f.field.show(s.Asked), f.err))
	}
	if err != nil {
		errs[0] = fmt.Errorf("vf: %w", err)
	}
	return join(errs...)
}

// restoreVF sets what is asked, which was there before. A failure is an error, for the
// next pod must not get what this one had, except that of a hardware address that the
// physical function had not given: not every driver can take it back. A virtual
// function that does not exist has nothing to be restored.
func (n *NetNS) restoreVF(s vfState) outcome {
	failures, changed, err := n.setVF(s)
	if errors.Is(err, os.ErrNotExist) {
		return outcome{}
	}
	done := outcome{changed: changed || err != nil || len(failures) > 0}
	errs := []error{err}
	for _, f := range failures {
		what := fmt.Sprintf("%s of virtual function %s", f.field.name, s.Function)
		if f.field.typ == unix.IFLA_VF_MAC && !nic.HardwareAddr(s.Asked.MAC).Unicast() {
			done.refused = append(done.refused, failure{what, f.err})
			continue
		}
		errs = append(errs, fmt.Errorf("restore %s: %w", what, f.err))
	}
	if err != nil {
		errs[0] = fmt.Errorf("restore virtual function %s: %w", s.Function, err)
	}
	done.err = join(errs...)
	return done
}
