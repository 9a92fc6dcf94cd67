package netdev

import (
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// vfState is what a physical function has set for one of its virtual functions.
type vfState struct {
	Function string `json:"function"` // PCI address of the virtual function
	PF       string `json:"pf"`       // and of the physical one
	Settings nic.VF `json:"settings"` // what the PF's driver reports; nothing if no link of the host sets it
	// Asked are the settings that a config asks for. Nothing else is set, and on the
	// host nothing else is restored: an administrator may change it meanwhile.
	Asked nic.VF `json:"-"`
}

// vfProperties are set on the physical function, which stays on the host: Attach sets
// them before the link moves, since a driver may reset the virtual function.
var vfProperties = []property{{
	name: "what the physical function sets for a virtual function (`vf`)", inPod: fromConfig, after: "what the config had set is restored",
	phase: first, side: sideHost, again: true,
	read: func(r *reader, s *State) error {
		s.VF = r.virtualFunction(r.link)
		return nil
	},
	want: func(want *State, original State, c nic.Config) []string {
		if want.VF = original.VF; want.VF != nil {
			asked := *original.VF
			asked.Asked = c.VF
			want.VF = &asked
		}
		if len(c.VF.MAC) > 0 && len(c.Interface.HardwareAddr) == 0 {
			want.MAC = c.VF.MAC
		}
		return nil
	},
	check: checkVF,
	steps: func(_ Link, _, want State) []step { return vfSteps(want) },
}}

// vfSteps are the steps that restore what a config has set. They need the physical
// function and not the virtual one's link.
func vfSteps(want State) []step {
	if want.VF == nil || len(vfAsked(want.VF.Asked)) == 0 {
		return nil
	}
	return []step{{message: message{what: "settings of virtual function " + want.VF.Function}, do: func(n *NetNS) outcome {
		return n.restoreVF(*want.VF)
	}}}
}

// asOriginal returns the state whose VF is to be restored: as it was in the original,
// as far as the wanted state has asked for something else.
func (s State) asOriginal(want State) State {
	if s.VF != nil && want.VF != nil {
		f := *s.VF
		f.Asked = asVF(f.Settings, want.VF.Asked)
		s.VF = &f
	}
	return s
}

func checkVF(l Link, want State, c nic.Config, add fault) {
	for _, f := range vfAsked(c.VF) {
		field, value := "vf."+f.name, f.show(c.VF)
		switch {
		case want.VF == nil:
			add(field, value, "the interface is not a virtual function")
		case len(vfAsked(want.VF.Settings)) == 0:
			add(field, value, "the host has no interface of its physical function %s that sets it", want.VF.PF)
		case !f.has(want.VF.Settings):
			add(field, value, "the driver of its physical function %s does not have it", want.VF.PF)
		}
	}
	if want.VF == nil {
		return
	}
	least, most := c.VF.MinTxRate, c.VF.MaxTxRate
	if least == nil && most != nil {
		least = want.VF.Settings.MinTxRate
	}
	if most == nil && least != nil {
		most = want.VF.Settings.MaxTxRate
	}
	if least != nil && most != nil && *most > 0 && *least > *most {
		add("vf.minTxRate", *least, "must be at most the maximum, %d", *most)
	}
	if len(c.VF.MAC) > 0 && l.Index != 0 && len(l.MAC) != ethernetLen {
		add("vf.mac", c.VF.MAC, "must have %d bytes as the interface's own, has %d", len(l.MAC), ethernetLen)
	}
}
