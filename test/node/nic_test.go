package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// nic is what a pod sees of a link, and what it must see of it.
type nic struct {
	MTU                int
	Address, Alias     string
	Up                 bool
	Altnames           []string
	Addresses          []string // in the kernel's order
	Routes, Neighbours []string
}

// nics are the links of a host as they are in a pod.
var nics = map[string]nic{
	"h0": {
		MTU: 9000, Address: "02:00:00:00:00:10", Alias: "storage", Up: true, Altnames: []string{"enp1"},
		Addresses:  []string{"192.0.2.1/24", "192.0.2.2/24", "2001:db8::2/64", "2001:db8::1/64"},
		Routes:     []string{"10.1.0.0/16 via 192.0.2.9 src 192.0.2.2 metric 7", "192.0.2.0/24 proto kernel scope link src 192.0.2.1", "2001:db8::/64 proto kernel metric 256 pref medium"},
		Neighbours: []string{"192.0.2.7 lladdr 02:00:00:00:00:07 PERMANENT"},
	},
	"h1": {MTU: 1500, Up: true, Addresses: []string{"198.51.100.1/24"}, Routes: []string{"198.51.100.0/24 proto kernel scope link src 198.51.100.1"}},
	"h2": {MTU: 1500, Up: true}, // what a pod is given it can use
}

// read returns a link, or an error when it is not in the namespace.
func read(ns *nstest.NS, name string) (n nic, err error) {
	out, err := ns.Try("ip -json -details address show dev " + name)
	if err != nil {
		return n, errors.New(strings.TrimSpace(out))
	}
	var found []struct {
		MTU      int      `json:"mtu"`
		Address  string   `json:"address"`
		Alias    string   `json:"ifalias"`
		Flags    []string `json:"flags"`
		Altnames []string `json:"altnames"`
		AddrInfo []struct {
			Local  string `json:"local"`
			Length int    `json:"prefixlen"`
			Scope  string `json:"scope"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		return n, err
	}
	l := found[0]
	n = nic{MTU: l.MTU, Address: l.Address, Alias: l.Alias, Up: slices.Contains(l.Flags, "UP")}
	for _, a := range l.Altnames {
		if !strings.HasPrefix(a, "dra-netdev-") { // by which the driver knows it
			n.Altnames = append(n.Altnames, a)
		}
	}
	for _, a := range l.AddrInfo {
		if a.Scope == "global" {
			n.Addresses = append(n.Addresses, fmt.Sprintf("%s/%d", a.Local, a.Length))
		}
	}
	n.Routes = append(lines(ns, "ip -4 route show dev "+name), lines(ns, "ip -6 route show dev "+name)...)
	n.Neighbours = lines(ns, "ip neighbour show nud permanent dev "+name)
	return n, nil
}

// lines are those that a command prints, but for what each IPv6 link has.
func lines(ns *nstest.NS, command string) (all []string) {
	out, _ := ns.Try(command)
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "fe80::") {
			all = append(all, strings.Join(strings.Fields(strings.ReplaceAll(line, " linkdown", "")), " "))
		}
	}
	return all
}

// has fails the test unless the sandbox has the host's link, whole, under a
// name.
func (w *world) has(s *sandbox, link, as string) {
	w.t.Helper()
	want := nics[link]
	var diff string
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		got, err := read(s.ns, as)
		if want.Address == "" {
			got.Address = "" // the kernel's choice
		}
		if err != nil {
			diff = err.Error()
			continue
		}
		if diff = cmp.Diff(want, got); diff == "" {
			return
		}
	}
	w.t.Fatalf("sandbox %s does not have %s as %s (-want +got):\n%s", s.Id, link, as, diff)
}

// isHome waits until the host is as it was before the first pod.
func (w *world) isHome() {
	w.t.Helper()
	w.host.Same(w.before, "the host")
}

func shell(command string) (string, error) {
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	return string(out), err
}
