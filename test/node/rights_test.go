package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// rights are two nodes of an API server, with what is to be kept from the
// driver of the first.
type rights struct {
	*testing.T
	server *apiServer
	driver kubernetes.Interface // as the driver's pod on n1 has it
	old    bool                 // the server does not tell one driver's status from another's, as before 1.36
}

const (
	own, other = "rights1", "rights2" // nodes
	tenant     = "tenant"             // namespace
)

// TestRights checks, by trying, what the token of the driver on one node can do
// in the API server and what it cannot, with the account, role and policies of
// the chart: with what the API server checks itself since 1.36, and with the
// policies alone, as before.
func TestRights(t *testing.T) {
	if master == nil {
		t.Skip("needs root: moves links between network namespaces")
	}
	t.Parallel()
	before, err := startAPIServer(filepath.Join(programs, "api-old"), 6444, "--feature-gates=DRAResourceClaimGranularStatusAuthorization=false")
	if err != nil {
		t.Fatal(err)
	}
	for name, server := range map[string]*apiServer{"since 1.36": master, "before 1.36": before} {
		t.Run(name, func(t *testing.T) {
			r := &rights{T: t, server: server, old: server == before}
			r.prepare()
			t.Run("slices", func(t *testing.T) { r.with(t).slices() })
			t.Run("status", func(t *testing.T) { r.with(t).status() })
			t.Run("all else", func(t *testing.T) { r.with(t).rest() })
			t.Run("unbound", func(t *testing.T) { r.with(t).unbound() })
		})
	}
}

func (r *rights) with(t *testing.T) *rights {
	c := *r
	c.T = t
	return &c
}

func (r *rights) prepare() {
	admin := r.server.client
	for _, node := range []string{own, other} {
		_, err := admin.CoreV1().Nodes().Create(r.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{})
		r.must(err)
	}
	_, err := admin.CoreV1().Namespaces().Create(r.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}}, metav1.CreateOptions{})
	r.must(err)
	token, err := r.server.driverToken(own)
	r.must(err)
	r.driver = r.server.as(token)
}

// must ends the test on an error.
func (r *rights) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// refused fails the test unless the error is a refusal for want of rights that
// has these words.
func (r *rights) refused(what string, err error, words ...string) {
	r.Helper()
	// For want of the right to a part of the status a server calls the whole Invalid.
	if !apierrors.IsForbidden(err) && !(apierrors.IsInvalid(err) && strings.Contains(err.Error(), "orbidden")) {
		r.Errorf("%s: got %v, want it forbidden", what, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.Errorf("%s: got %v, want to read %q", what, err, w)
		}
	}
}

// nodeSlice is a slice of the driver on a node.
func nodeSlice(name, node string) *resourceapi.ResourceSlice {
	s := &resourceapi.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Spec.Driver, s.Spec.NodeName = driverName, &node
	s.Spec.Pool = resourceapi.ResourcePool{Name: node, ResourceSliceCount: 1, Generation: 1}
	s.Spec.Devices = []resourceapi.Device{{Name: "d0"}}
	return s
}

// foreignSlices are those that the driver on own must not write.
func foreignSlices() map[string]*resourceapi.ResourceSlice {
	all := map[string]*resourceapi.ResourceSlice{}
	add := func(name, node string, change func(*resourceapi.ResourceSliceSpec)) {
		s := nodeSlice(name, node)
		change(&s.Spec)
		all[name] = s
	}
	selector := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
		{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{own}}}}}}
	add("other-node", other, func(*resourceapi.ResourceSliceSpec) {})
	add("pool-of-other-node", own, func(s *resourceapi.ResourceSliceSpec) { s.Pool.Name = other })
	add("other-pool", own, func(s *resourceapi.ResourceSliceSpec) { s.Pool.Name = "pool" })
	add("own-pool-on-other-node", other, func(s *resourceapi.ResourceSliceSpec) { s.Pool.Name = own })
	add("other-driver", own, func(s *resourceapi.ResourceSliceSpec) { s.Driver = gpuDriver })
	add("all-nodes", own, func(s *resourceapi.ResourceSliceSpec) { s.NodeName, s.AllNodes = nil, new(true) })
	add("node-selector", own, func(s *resourceapi.ResourceSliceSpec) { s.NodeName, s.NodeSelector = nil, selector })
	add("per-device", own, func(s *resourceapi.ResourceSliceSpec) {
		s.NodeName, s.PerDeviceNodeSelection, s.Devices[0].NodeName = nil, new(true), new(own)
	})
	return all
}

func (r *rights) slices() {
	mine, all := r.driver.ResourceV1().ResourceSlices(), r.server.client.ResourceV1().ResourceSlices()
	for name, s := range foreignSlices() {
		_, err := mine.Create(r.Context(), s, metav1.CreateOptions{})
		r.refused("create "+name, err, "may only write")
		there, err := all.Create(r.Context(), s, metav1.CreateOptions{})
		r.must(err)
		changed := there.DeepCopy()
		changed.Spec.Devices[0].Name = "d1"
		_, err = mine.Update(r.Context(), changed, metav1.UpdateOptions{})
		r.refused("update "+name, err, "may only write")
		r.refused("delete "+name, mine.Delete(r.Context(), name, metav1.DeleteOptions{}), "may only write")
		r.must(all.Delete(r.Context(), name, metav1.DeleteOptions{}))
	}
	r.refused("delete all", mine.DeleteCollection(r.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	s, err := mine.Create(r.Context(), nodeSlice("mine", own), metav1.CreateOptions{})
	r.must(err)
	s.Spec.Devices[0].Name = "d1"
	_, err = mine.Update(r.Context(), s, metav1.UpdateOptions{})
	r.must(err)
	r.must(mine.Delete(r.Context(), "mine", metav1.DeleteOptions{}))
	_, err = mine.List(r.Context(), metav1.ListOptions{})
	r.must(err)
}

// claim makes a claim that is allocated on a node, and reserved: a NIC of the
// node, and a GPU of which its driver has said something.
func (r *rights) claim(name, node string) *resourceapi.ResourceClaim {
	r.Helper()
	claims := r.server.client.ResourceV1().ResourceClaims(tenant)
	c := &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, request := range []string{"nic", "gpu"} {
		c.Spec.Devices.Requests = append(c.Spec.Devices.Requests, resourceapi.DeviceRequest{Name: request, Exactly: &resourceapi.ExactDeviceRequest{DeviceClassName: request}})
	}
	c, err := claims.Create(r.Context(), c, metav1.CreateOptions{})
	r.must(err)
	if node == "" {
		return c
	}
	c.Status.Allocation = &resourceapi.AllocationResult{NodeSelector: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
	}}}}
	c.Status.Allocation.Devices.Results = []resourceapi.DeviceRequestAllocationResult{
		{Request: "nic", Driver: driverName, Pool: node, Device: "d0"}, {Request: "gpu", Driver: gpuDriver, Pool: "gpus", Device: "gpu0"}, {Request: "gpu", Driver: gpuDriver, Pool: "gpus", Device: "gpu1"}}
	c.Status.ReservedFor = []resourceapi.ResourceClaimConsumerReference{{Resource: "pods", Name: "web", UID: "web"}}
	c.Status.Devices = []resourceapi.AllocatedDeviceStatus{{Driver: gpuDriver, Pool: "gpus", Device: "gpu0"}}
	c, err = claims.UpdateStatus(r.Context(), c, metav1.UpdateOptions{})
	r.must(err)
	return c
}

// allocation is what the scheduler would write for a NIC of own.
const allocation = `{"nodeSelector":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["rights1"]}]}]},
	"devices":{"results":[{"request":"nic","driver":"dra-netdev.github.io","pool":"rights1","device":"d0"}]}}`

func (r *rights) status() {
	mine, all := r.driver.ResourceV1().ResourceClaims(tenant), r.server.client.ResourceV1().ResourceClaims(tenant)
	ofNode, ofOther, free := r.claim("c0", own), r.claim("c1", other), r.claim("c2", "")
	entry := func(driver, pool, device string) string {
		return fmt.Sprintf(`{"driver":%q,"pool":%q,"device":%q,"data":{"seen":true}}`, driver, pool, device)
	}
	const merge, jsonPatch, apply = types.MergePatchType, types.JSONPatchType, types.ApplyPatchType
	gpu0 := `{"driver":"gpu.example.com","pool":"gpus","device":"gpu0"}`
	nic := entry(driverName, own, "d0")
	tests := []struct {
		name  string
		claim *resourceapi.ResourceClaim
		kind  types.PatchType
		patch string // of the status for merge and apply
	}{
		{"allocation taken away", ofNode, merge, `{"allocation":null,"reservedFor":null,"devices":null}`},
		{"allocation taken away, of another node", ofOther, merge, `{"allocation":null,"reservedFor":null,"devices":null}`},
		{"allocated", free, merge, `{"allocation":` + allocation + `}`},
		{"allocated by apply", free, apply, `{"allocation":` + allocation + `}`},
		{"reserved for nobody", ofNode, merge, `{"reservedFor":null}`},
		{"reserved for another", ofNode, merge, `{"reservedFor":[{"resource":"pods","name":"web","uid":"web"},{"resource":"pods","name":"mine","uid":"mine"}]}`},
		{"reserved for another, of another node", ofOther, apply, `{"reservedFor":[{"resource":"pods","name":"mine","uid":"mine"}]}`},
		{"another node's device", ofOther, apply, `{"devices":[` + entry(driverName, other, "d0") + `]}`},
		{"another node's device, by merge", ofOther, merge, `{"devices":[` + gpu0 + `,` + entry(driverName, other, "d0") + `]}`},
		{"another driver's device", ofNode, apply, `{"devices":[` + entry(gpuDriver, "gpus", "gpu1") + `]}`},
		{"another driver's entry changed", ofNode, apply, `{"devices":[` + entry(gpuDriver, "gpus", "gpu0") + `]}`},
		{"another driver's entry changed beside ours", ofNode, merge, `{"devices":[` + nic + `,` + entry(gpuDriver, "gpus", "gpu0") + `]}`},
		{"another driver's entry removed", ofNode, merge, `{"devices":[` + nic + `]}`},
		{"another driver's entry replaced by ours", ofNode, jsonPatch, `[{"op":"replace","path":"/status/devices/0","value":` + nic + `}]`},
		{"all entries removed", ofNode, merge, `{"devices":null}`},
	}
	for _, tt := range tests {
		body := tt.patch
		if tt.kind != jsonPatch {
			body = fmt.Sprintf(`{"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim","metadata":{"name":%q},"status":%s}`, tt.claim.Name, tt.patch)
		}
		_, err := mine.Patch(r.Context(), tt.claim.Name, tt.kind, []byte(body), r.options(tt.kind), "status")
		if r.old {
			r.refused(tt.name, err, "ValidatingAdmissionPolicy 'dra-netdev-resourceclaims'")
		} else {
			r.refused(tt.name, err, `requires resource="resourceclaims/`)
		}
	}
	_, err := mine.UpdateStatus(r.Context(), ofNode, metav1.UpdateOptions{})
	r.refused("a status as a whole", err)
	for _, want := range []*resourceapi.ResourceClaim{ofNode, ofOther, free} {
		now, err := all.Get(r.Context(), want.Name, metav1.GetOptions{})
		r.must(err)
		if d := cmp.Diff(want.Status, now.Status); d != "" {
			r.Errorf("the status of %s (-before +now):\n%s", want.Name, d)
		}
	}

	// What the driver does: it applies its entry, or patches it where an apply fails.
	for _, body := range []string{nic, strings.ReplaceAll(nic, "true", "false")} {
		body = fmt.Sprintf(`{"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim","metadata":{"name":%q},"status":{"devices":[%s]}}`, ofNode.Name, body)
		_, err = mine.Patch(r.Context(), ofNode.Name, apply, []byte(body), r.options(apply), "status")
		r.must(err)
	}
	now, err := mine.Get(r.Context(), ofNode.Name, metav1.GetOptions{})
	r.must(err)
	at := slices.IndexFunc(now.Status.Devices, func(d resourceapi.AllocatedDeviceStatus) bool { return d.Driver == driverName })
	for _, op := range []string{fmt.Sprintf(`{"op":"replace","path":"/status/devices/%d","value":%s}`, at, nic), fmt.Sprintf(`{"op":"remove","path":"/status/devices/%d"}`, at), `{"op":"add","path":"/status/devices/-","value":` + nic + `}`} {
		_, err = mine.Patch(r.Context(), ofNode.Name, jsonPatch, []byte("["+op+"]"), r.options(jsonPatch), "status")
		r.must(err)
	}
}

func (r *rights) options(kind types.PatchType) metav1.PatchOptions {
	o := metav1.PatchOptions{FieldManager: "test"}
	if kind == types.ApplyPatchType {
		o.Force = new(true)
	}
	return o
}

// rest tries what the driver has no business with.
func (r *rights) rest() {
	ctx, mine := r.Context(), r.driver
	c := r.claim("c9", own)
	tries := map[string]func() error{
		"read secrets": func() error { _, err := mine.CoreV1().Secrets(tenant).List(ctx, metav1.ListOptions{}); return err },
		"read a secret of its own namespace": func() error {
			_, err := mine.CoreV1().Secrets(driverNamespace).Get(ctx, "s", metav1.GetOptions{})
			return err
		},
		"read pods": func() error { _, err := mine.CoreV1().Pods(tenant).List(ctx, metav1.ListOptions{}); return err },
		"read its own pod": func() error {
			_, err := mine.CoreV1().Pods(driverNamespace).Get(ctx, "driver-"+own, metav1.GetOptions{})
			return err
		},
		"delete a pod":   func() error { return mine.CoreV1().Pods(tenant).Delete(ctx, "web", metav1.DeleteOptions{}) },
		"read all nodes": func() error { _, err := mine.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); return err },
		"read all claims": func() error {
			_, err := mine.ResourceV1().ResourceClaims("").List(ctx, metav1.ListOptions{})
			return err
		},
		"read device classes": func() error { _, err := mine.ResourceV1().DeviceClasses().List(ctx, metav1.ListOptions{}); return err },
		"read one slice": func() error {
			_, err := mine.ResourceV1().ResourceSlices().Get(ctx, "s", metav1.GetOptions{})
			return err
		},
		"change a claim": func() error {
			_, err := mine.ResourceV1().ResourceClaims(tenant).Update(ctx, c, metav1.UpdateOptions{})
			return err
		},
		"delete a claim": func() error {
			return mine.ResourceV1().ResourceClaims(tenant).Delete(ctx, c.Name, metav1.DeleteOptions{})
		},
		"create a claim": func() error {
			_, err := mine.ResourceV1().ResourceClaims(tenant).Create(ctx, &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
			return err
		},
		"patch a claim's spec": func() error {
			_, err := mine.ResourceV1().ResourceClaims(tenant).Patch(ctx, c.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null},"spec":{"devices":null}}`), metav1.PatchOptions{})
			return err
		},
		"patch a node": func() error {
			_, err := mine.CoreV1().Nodes().Patch(ctx, own, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
			return err
		},
		"get a token": func() error {
			_, err := mine.CoreV1().ServiceAccounts(driverNamespace).CreateToken(ctx, "dra-netdev", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		},
		"delete a policy": func() error {
			return mine.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(ctx, "dra-netdev-resourceclaims", metav1.DeleteOptions{})
		},
	}
	for name, try := range tries {
		r.refused(name, try())
	}
	// By way of the status nothing else of a claim is changed.
	_, err := mine.ResourceV1().ResourceClaims(tenant).Patch(ctx, c.Name, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"},"finalizers":["example.com/x"]},"spec":{"devices":null}}`), metav1.PatchOptions{}, "status")
	r.must(err)
	now, err := r.server.client.ResourceV1().ResourceClaims(tenant).Get(ctx, c.Name, metav1.GetOptions{})
	r.must(err)
	if d := cmp.Diff(c, now); d != "" {
		r.Errorf("claim %s (-before +now):\n%s", c.Name, d)
	}
}

// unbound tries with a token of the driver's account that is bound to no pod.
func (r *rights) unbound() {
	request, err := r.server.client.CoreV1().ServiceAccounts(driverNamespace).CreateToken(r.Context(), "dra-netdev", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	r.must(err)
	driver := r.server.as(request.Status.Token)
	_, err = driver.ResourceV1().ResourceSlices().Create(r.Context(), nodeSlice("unbound", own), metav1.CreateOptions{})
	r.refused("create a slice", err, "must be bound to a node")
	c := r.claim("c8", own)
	body := fmt.Sprintf(`{"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim","metadata":{"name":"c8"},"status":{"devices":[{"driver":%q,"pool":%q,"device":"d0"}]}}`, driverName, own)
	_, err = driver.ResourceV1().ResourceClaims(tenant).Patch(r.Context(), c.Name, types.ApplyPatchType, []byte(body), r.options(types.ApplyPatchType), "status")
	r.refused("write a status", err)
}
