package inventory

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestVFCountsSet checks what a value of the flag may be.
func TestVFCountsSet(t *testing.T) {
	var counts VFCounts
	for text, want := range map[string]string{
		"true=4": "", `device.attributes["dra-netdev.github.io"].ifName == "eth1"=0`: "", "true = 65535": "",
		"true": "must be SELECTOR=COUNT", "=4": "no selector", "true=": "must be a number", "true=-1": "must be a number", "true=65536": "must be a number",
		"device.nonsense(=3": "expression", `device.attributes["a.b"].c == "d"`: "must be a number",
	} {
		err := counts.Set(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	if len(counts) != 3 {
		t.Errorf("got %s", counts.String())
	}
}

// TestVFPlan checks which physical functions get another number of virtual ones, and
// when not.
func TestVFPlan(t *testing.T) {
	const (
		pf, vf, noLink = "devices/pci0000:ae/0000:ae:00.0/0000:af:00.1/", "devices/pci0000:ae/0000:ae:00.0/0000:af:01.2", "devices/pci0000:ae/0000:ae:00.0/0000:af:01.3"
		all, none      = "true", `device.attributes["dra-netdev.github.io"].ifName == "nothing"`
	)
	held := func(name string) func(*machine) {
		return func(m *machine) {
			for _, d := range m.scan() {
				if d.Link.Name == name {
					m.opts.Held = append(m.opts.Held, d)
				}
			}
		}
	}
	onVF := func(change func(*netdev.Link)) func(*machine) {
		return func(m *machine) { change(&m.links[3]) }
	}
	numvfs := func(n string) func(*machine) {
		return func(m *machine) {
			m.file(pf+"sriov_numvfs", n+"\n")
			if n == "0" {
				m.links = m.links[:3]
			}
		}
	}
	for name, tt := range map[string]struct {
		counts []string
		change func(*machine)
		want   []string // have and want, and why not
		err    string
	}{
		"nothing is asked":           {},
		"it has none":                {counts: []string{all + "=8"}, change: numvfs("0"), want: []string{"enp175s0f1 (0000:af:00.1) has 0 virtual functions, want 8"}},
		"it has as many":             {counts: []string{all + "=2"}},
		"nobody uses those":          {counts: []string{all + "=4"}, want: []string{"enp175s0f1 (0000:af:00.1) has 2 virtual functions, want 4"}},
		"they are to go":             {counts: []string{all + "=0"}, want: []string{"enp175s0f1 (0000:af:00.1) has 2 virtual functions, want 0"}},
		"none is to be made":         {counts: []string{all + "=0"}, change: numvfs("0")},
		"no selector matches":        {counts: []string{none + "=4"}},
		"the first one counts":       {counts: []string{none + "=1", all + "=3", all + "=4"}, want: []string{"enp175s0f1 (0000:af:00.1) has 2 virtual functions, want 3"}},
		"as many as it can have":     {counts: []string{all + "=8"}, change: numvfs("0"), want: []string{"enp175s0f1 (0000:af:00.1) has 0 virtual functions, want 8"}},
		"more than it can have":      {counts: []string{all + "=9"}, err: `"true=9": enp175s0f1 (0000:af:00.1) can have 8 virtual functions at most, not 9`},
		"a claim has one":            {counts: []string{all + "=4"}, change: held("enp175s0f1v0"), want: []string{"… 0000:af:01.2 (allocated)"}},
		"a claim has the PF":         {counts: []string{all + "=4"}, change: held("enp175s0f1"), want: []string{"… 0000:af:00.1 (allocated)"}},
		"of none, the PF":            {counts: []string{all + "=4"}, change: func(m *machine) { held("enp175s0f1")(m); numvfs("0")(m) }, want: []string{"… 0000:af:00.1 (allocated)"}},
		"one has addresses":          {counts: []string{all + "=4"}, change: onVF(addresses("192.0.2.9/24")), want: []string{"… 0000:af:01.2 (enp175s0f1v0: has addresses)"}},
		"one is a port":              {counts: []string{all + "=4"}, change: onVF(portOf(9, "bridge")), want: []string{"… 0000:af:01.2 (enp175s0f1v0: is a port)"}},
		"one has a default route":    {counts: []string{all + "=4"}, change: onVF(worse), want: []string{"… 0000:af:01.2 (enp175s0f1v0: has a default route)"}},
		"one is the uplink":          {counts: []string{all + "=4"}, change: onVF(uplink), want: []string{"… 0000:af:01.2 (enp175s0f1v0: has a default route)"}},
		"one has an upper device":    {counts: []string{all + "=4"}, change: func(m *machine) { m.links = append(m.links, virtual(9, "v", "vlan", 4)) }, want: []string{"… 0000:af:01.2 (enp175s0f1v0: has upper interfaces)"}},
		"one receives for others":    {counts: []string{all + "=4"}, change: onVF(func(l *netdev.Link) { l.Promiscuity = 1 }), want: []string{"… 0000:af:01.2 (enp175s0f1v0: receives for others)"}},
		"one is a virtual machine's": {counts: []string{all + "=4"}, change: func(m *machine) { m.link(noLink+"/driver", "bus/pci/drivers/vfio-pci") }, want: []string{"… 0000:af:01.3 (vfio-pci)"}},
		"one is in a pod":            {counts: []string{all + "=4"}, change: func(m *machine) { m.link(vf+"/driver", "bus/pci/drivers/iavf"); m.links = m.links[:3] }, want: []string{"… 0000:af:01.2 (iavf)"}},
		"one has no driver":          {counts: []string{all + "=4"}, change: func(m *machine) { m.links = m.links[:3] }, want: []string{"enp175s0f1 (0000:af:00.1) has 2 virtual functions, want 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := server()
			m.link(pf+"virtfn0", vf)
			m.link(pf+"virtfn1", noLink)
			m.device("pci", strings.TrimPrefix(noLink, "devices/"), nil)
			if tt.change != nil {
				tt.change(m)
			}
			var counts VFCounts
			for _, c := range tt.counts {
				if err := counts.Set(c); err != nil {
					t.Fatal(err)
				}
			}
			changes, err := counts.Plan(m.links, m.sys, m.opts)
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			var got []string
			for _, c := range changes {
				if c.InUse == "" {
					got = append(got, c.String())
				} else {
					got = append(got, "… "+c.InUse)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}
