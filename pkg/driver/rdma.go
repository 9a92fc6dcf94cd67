package driver

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/nri/pkg/api"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

const (
	rdmaNodes    = "/dev/infiniband"
	rdmaVerbs    = rdmaNodes + "/uverbs"
	charDevice   = "c"
	rdmaNoVerbs  = "it has no " + rdmaVerbs + "*: is the kernel's module ib_uverbs loaded?"
	nodeReadable = "rw"
)

// nodeClasses are the directories below /sys/class that have the numbers of
// device nodes.
var nodeClasses = []string{"infiniband_verbs", "infiniband_mad", "misc", "vfio"}

// deviceNodes are the edits that give a container these device nodes of the
// host, to read and write. They have the nodes' numbers, as far as sysfs has them:
// of others the runtime looks when it makes the container, and fails it if there is
// no such node. That may be so while an RDMA device moves.
func (s specs) deviceNodes(paths []string) []*cdi.DeviceNode {
	var nodes []*cdi.DeviceNode
	for _, p := range paths {
		n := &cdi.DeviceNode{Path: p, Permissions: nodeReadable}
		for _, class := range nodeClasses {
			text, err := fs.ReadFile(s.sys, path.Join("class", class, path.Base(p), "dev"))
			if err != nil {
				continue
			}
			if _, err := fmt.Sscanf(string(text), "%d:%d", &n.Major, &n.Minor); err == nil {
				n.Type = charDevice
				break
			}
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// movesNodes reports whether the kernel makes nodes anew of one of the devices.
// Their numbers are not known before they have moved.
func movesNodes(attaching []allocation.Record, keys []allocation.Key) bool {
	return slices.ContainsFunc(attaching, func(r allocation.Record) bool {
		return r.Attachment != nil && r.Attachment.Original.RDMA.Moves() && slices.Contains(keys, r.Key())
	})
}

// replaceNodes returns the adjustment of a container that has by CDI nodes of RDMA
// devices, among those of these keys, which moved into its pod: the kernel makes the
// nodes anew when a device moves, and may give them other numbers. nil: they have not
// changed. A container gets no node of a device of which it has none by CDI, as its
// environment, which is the user's to write, may name any key.
func replaceNodes(c *api.Container, records []allocation.Record, keys []allocation.Key) *api.ContainerAdjustment {
	have := c.GetLinux().GetDevices()
	find := func(path string) int {
		return slices.IndexFunc(have, func(d *api.LinuxDevice) bool { return d.Path == path })
	}
	a := &api.ContainerAdjustment{}
	changed := false
	for _, r := range records {
		if !r.Attached() || !r.Attachment.InPod.State.RDMA.Moves() || !slices.Contains(keys, r.Key()) {
			continue
		}
		if !slices.ContainsFunc(r.Device.Nodes, func(p string) bool { return find(p) >= 0 }) {
			continue
		}
		now := r.Attachment.InPod.State.RDMA.Nodes
		stale := slices.Clone(r.Device.Nodes)
		for _, n := range now {
			p := path.Join(rdmaNodes, n.Name)
			stale = slices.DeleteFunc(stale, func(s string) bool { return s == p })
			if i := find(p); i >= 0 && have[i].Major == int64(n.Major) && have[i].Minor == int64(n.Minor) {
				continue
			}
			a.AddDevice(&api.LinuxDevice{Path: p, Type: charDevice, Major: int64(n.Major), Minor: int64(n.Minor)})
			changed = true
		}
		for _, p := range stale {
			if find(p) >= 0 {
				a.RemoveDevice(p)
				changed = true
			}
		}
	}
	if !changed {
		return nil
	}
	return a
}

// rdmaStatus returns the status of an attached interface's RDMA device, with the
// counters that were seen last.
func rdmaStatus(r allocation.Record, counters map[string]uint64) *v1alpha1.RDMAStatus {
	d := r.Attachment.InPod.State.RDMA
	if d == nil {
		return nil
	}
	s := &v1alpha1.RDMAStatus{Device: d.Name, Mode: "shared", Nodes: r.Device.Nodes, Counters: since(counters, d.Base)}
	if d.Exclusive {
		s.Mode, s.Message = "exclusive", d.Stays
	}
	if d.Moves() {
		s.Nodes = nil
		for _, n := range d.Nodes {
			s.Nodes = append(s.Nodes, path.Join(rdmaNodes, n.Name))
		}
	}
	verbs := slices.ContainsFunc(s.Nodes, func(p string) bool { return strings.HasPrefix(p, rdmaVerbs) })
	if s.Message == "" && !verbs {
		s.Message = rdmaNoVerbs
	}
	return s
}

// rdmaCondition is the condition RDMAReady of an interface that became ready then.
func rdmaCondition(s v1alpha1.RDMAStatus, at time.Time) *metaapply.ConditionApplyConfiguration {
	c := metaapply.Condition().WithType(v1alpha1.ConditionRDMAReady).WithLastTransitionTime(metav1.NewTime(at))
	if s.Message != "" {
		return c.WithStatus(metav1.ConditionFalse).WithReason(v1alpha1.ReasonRDMAUnavailable).WithMessage("RDMA device " + s.Device + ": " + s.Message)
	}
	return c.WithStatus(metav1.ConditionTrue).WithReason(v1alpha1.ReasonRDMAAvailable).WithMessage("RDMA device " + s.Device + ", mode " + s.Mode)
}

// since returns what was counted after base was read. A counter that went back
// counts from zero.
func since(now, base map[string]uint64) map[string]uint64 {
	if len(now) == 0 {
		return nil
	}
	counted := make(map[string]uint64, len(now))
	for name, n := range now {
		if counted[name] = n; n >= base[name] {
			counted[name] = n - base[name]
		}
	}
	return counted
}
