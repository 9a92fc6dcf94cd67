package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestConfigPolicy checks what the chart's policy of configs refuses, on this
// version of the API server and with the CEL of the oldest one that is supported.
func TestConfigPolicy(t *testing.T) {
	if master == nil {
		t.Skip("needs root: starts an API server in namespaces of its own")
	}
	t.Parallel()
	old, err := startAPIServer(filepath.Join(programs, "api-1.34"), 6445, "--emulated-version=kube=1.34")
	if err != nil {
		t.Fatal(err)
	}
	for name, server := range map[string]*apiServer{"newest": master, "1.34": old} {
		t.Run(name, func(t *testing.T) {
			p := &configPolicy{T: t, server: server}
			p.await()
			t.Run("refuses", func(t *testing.T) { p.with(t).refuses() })
			t.Run("passes", func(t *testing.T) { p.with(t).passes() })
			t.Run("objects", func(t *testing.T) { p.with(t).objects() })
			t.Run("updates", func(t *testing.T) { p.with(t).updates() })
			t.Run("like the driver", func(t *testing.T) { p.with(t).likeDecode() })
			t.Run("cost", func(t *testing.T) { p.with(t).cost() })
			p.noErrors()
		})
	}
}

type configPolicy struct {
	*testing.T
	server *apiServer
}

func (p *configPolicy) with(t *testing.T) *configPolicy { return &configPolicy{t, p.server} }

// parameters is a config of a driver.
func parameters(driver, raw string) resourceapi.DeviceConfiguration {
	return resourceapi.DeviceConfiguration{Opaque: &resourceapi.OpaqueDeviceConfiguration{Driver: driver, Parameters: apiruntime.RawExtension{Raw: []byte(raw)}}}
}

func claimSpec(configs ...resourceapi.DeviceConfiguration) (spec resourceapi.ResourceClaimSpec) {
	spec.Devices.Requests = []resourceapi.DeviceRequest{{Name: "nic", Exactly: &resourceapi.ExactDeviceRequest{DeviceClassName: "nic"}}}
	for _, c := range configs {
		spec.Devices.Config = append(spec.Devices.Config, resourceapi.DeviceClaimConfiguration{DeviceConfiguration: c})
	}
	return spec
}

// dryRun checks an object and stores nothing.
var dryRun = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

// claim returns the API server's error for a claim with these configs.
func (p *configPolicy) claim(configs ...resourceapi.DeviceConfiguration) error {
	c := &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: claimSpec(configs...)}
	_, err := p.server.client.ResourceV1().ResourceClaims("default").Create(p.Context(), c, dryRun)
	return err
}

// isRefusal reports whether an error is one of the policy.
func isRefusal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
}

// await returns when the API server acts on the policy, which it reads once a second.
func (p *configPolicy) await() {
	p.Helper()
	for end := time.Now().Add(soon); !isRefusal(p.claim(parameters(driverName, `{"unknown":1}`))); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.Fatalf("the policy does not count after %v", soon)
		}
	}
}

// refuses checks refusals with their messages.
func (p *configPolicy) refuses() {
	const at = "spec.devices.config[0].opaque.parameters."
	for _, c := range []struct{ raw, want string }{
		{`{"interface":{"mtu":14}}`, at + `interface.mtu: "14": must be 68 to 2147483647`},
		{`{"interface":{"mtu":"1400"}}`, at + `interface.mtu: "1400": must be a whole number`},
		{`{"interface":{"mtu":1400.5}}`, at + `interface.mtu: must be a whole number`},
		{`{"interface":{"nane":"net1"}}`, at + `interface.nane: "net1": unknown field`},
		{`{"Interface":{"name":"net1"}}`, at + `Interface: unknown field, want interface`},
		{`{"interface":{"hardwareaddr":"02:00:00:00:00:01"}}`, at + `interface.hardwareaddr: "02:00:00:00:00:01": unknown field, want interface.hardwareAddr`},
		{`{"interface":[]}`, at + `interface: must be an object`},
		{`{"routes":{}}`, at + `routes: must be a list`},
		{`{"interface":{"addresses":["192.0.2.1/24","192.0.2.300/24"]}}`, at + `interface.addresses[1]: "192.0.2.300/24": must be an address with its prefix length`},
		{`{"interface":{"addresses":["192.0.2.1"]}}`, at + `interface.addresses[0]: "192.0.2.1": must be an address with its prefix length`},
		{`{"interface":{"addresses":[{"address":"192.0.2.1"}]}}`, at + `interface.addresses[0].address: "192.0.2.1": must be an address with its prefix length`},
		{`{"interface":{"addresses":[{"address":"127.0.0.1/8"}]}}`, at + `interface.addresses[0].address: "127.0.0.1/8": must be a unicast address`},
		{`{"interface":{"addresses":["192.0.2.1/24",{"metric":5}]}}`, at + `interface.addresses[1]: address required`},
		{`{"interface":{"addresses":[{"address":"192.0.2.1/24","metrics":5}]}}`, at + `interface.addresses[0].metrics: "5": unknown field`},
		{`{"interface":{"addresses":[7]}}`, at + `interface.addresses[0]: "7": must be a string or an object`},
		{`{"interface":{"addressPolicy":"keep"}}`, at + `interface.addressPolicy: "keep": must be one of Keep, Replace, Add, None`},
		{`{"interface":{"addresses":["127.0.0.1/8"]}}`, at + `interface.addresses[0]: "127.0.0.1/8": must be a unicast address`},
		{`{"interface":{"addresses":[` + strings.Repeat(`"192.0.2.1/24",`, 16) + `"192.0.2.1/24"]}}`, at + `interface.addresses: must be at most 16, has 17`},
		{`{"interface":{"name":"a b"}}`, at + `interface.name: "a b": must match`},
		{`{"interface":{"name":"eth0"}}`, at + `interface.name: "eth0": cannot be used in a pod`},
		{`{"interface":{"hardwareAddr":"zz"}}`, at + `interface.hardwareAddr: "zz": must be a hardware address`},
		{`{"routes":[{"gateway":"192.0.2.1"}]}`, at + `routes[0]: destination required`},
		{`{"routes":[{"destination":"192.0.2.1/24"}]}`, at + `routes[0].destination: "192.0.2.1/24": has host bits set`},
		{`{"routes":[{"destination":"192.0.2.0/24"},{"destination":"0.0.0.0/0","gateway":"2001:db8::1"}]}`, at + `routes[1]: gateway must be of the same family as the destination`},
		{`{"routes":[{"destination":"0.0.0.0/0","gateway":"192.0.2"}]}`, at + `routes[0].gateway: "192.0.2": must be an address`},
		{`{"routes":[{"destination":"0.0.0.0/0","scope":7}]}`, at + `routes[0].scope: "7": must be one of 0, 253`},
		{`{"routes":[{"destination":"0.0.0.0/0","table":-1}]}`, at + `routes[0].table: "-1": must be 0 to 4294967295`},
		{`{"routes":[{"destination":"0.0.0.0/0","table":255}]}`, at + `routes[0].table: "255": must not be the local table`},
		{`{"apiVersion":"resource.example/v1"}`, at + `apiVersion: "resource.example/v1": must be one of dra-netdev.github.io/v1alpha1`},
		{`{"profile":"gold"}`, at + `profile: "gold": unknown field: a profile is resolved by a provider of dranet`},
		{`{"interface":{"type":"IPVLAN"}}`, at + `interface.type: "IPVLAN": an interface is moved into one pod as a whole`},
		{`{"neighbors":[{"hardwareAddr":"02:00:00:00:00:01"}]}`, at + `neighbors[0]: destination required`},
		{`{"claimMaySet":[]}`, at + `claimMaySet: a claim cannot set it, only a device class`},
		{`{"interface":{"allowLoss":["qdiscs"]}}`, at + `interface.allowLoss: a claim cannot set it, only a device class`},
		{`{"interface":{"addressPool":{"ranges":["198.51.100.10-198.51.100.19/24"]}}}`, at + `interface.addressPool: a claim cannot set it, only a device class`},
		{`{"interface":{"sysctls":{"net.ipv4.conf.all.rp_filter":"2"}}}`, at + `interface.sysctls.net.ipv4.conf.all.rp_filter: "2": its name must match`},
		// All that is wrong, in the order of its path.
		{`{"interface":{"name":"lo","mtu":1}}`, at + `interface.mtu: "1": must be 68 to 2147483647; ` + at + `interface.name: "lo": cannot be used in a pod`},
		{`{"a":1,"b":2,"c":3,"d":4}`, at + `a: "1": unknown field; ` + at + `b: "2": unknown field; and 2 more`},
		{`{"interface":{"name":"` + strings.Repeat("x", 5000) + `"}}`, `xxx...": must match`},
		{`{"interface":{"name":"a\nb"}}`, at + `interface.name: "a\nb": must match`},
	} {
		err := p.claim(parameters(driverName, c.raw))
		if !isRefusal(err) || !strings.Contains(err.Error(), c.want) {
			p.Errorf("%s: got %v, want a refusal with %s", c.raw, err, c.want)
		}
		if err := decode(c.raw); err == nil {
			p.Errorf("%s: the driver accepts it", c.raw)
		}
	}
}

// decode returns the driver's own error for a claim's parameters.
func decode(raw string) error {
	_, err := v1alpha1.Decode(v1alpha1.Parameters{Raw: []byte(raw)})
	return err
}

// onlyPrepare is what the driver refuses and the policy cannot: what depends on
// several values that a class and a claim may set apart, what CEL cannot see, and
// what its libraries do not know.
var onlyPrepare = []string{
	`{"interface":{"name":"a","name":"b"}}`,                                  // the API server sees only the last one
	`{"interface":{"mtu":1000,"addresses":["2001:db8::1/64"]}}`,              // the class or the claim may set either one
	`{"interface":{"addresses":["192.0.2.0/24"]}}`,                           // the address of a network
	`{"interface":{"addresses":["192.0.2.1/24","192.0.2.1/25"]}}`,            // duplicates
	`{"interface":{"addresses":["::ffff:192.0.2.1/120"]}}`,                   // an IPv4-mapped address
	`{"interface":{"hardwareAddr":"01:00:5e:00:00:01"}}`,                     // a multicast address
	`{"routes":[{"destination":"10.0.0.0/8","gateway":"224.0.0.1"}]}`,        // a multicast address
	`{"routes":[{"destination":"0.0.0.0/0","gateway":"fe80::1%eth1"}]}`,      // an address with a zone
	`{"routes":[{"destination":"10.0.0.0/8"},{"destination":"10.0.0.0/8"}]}`, // duplicates
	`{"neighbors":[{"destination":"192.0.2.1","ipAddress":"192.0.2.2","hardwareAddr":"02:00:00:00:00:01"}]}`,
	`{"routes":[{"destination":"10.0.0.0/8","gateway":"10.0.0.1","scope":253}]}`, // a gateway that is not on the link
}

// passes checks what the policy lets pass: all that the driver accepts, and what only
// the driver can refuse.
func (p *configPolicy) passes() {
	for _, raw := range onlyPrepare {
		if err := p.claim(parameters(driverName, raw)); err != nil {
			p.Errorf("%s: got %v; take it out of the list if the policy refuses it now", raw, err)
		}
		if decode(raw) == nil {
			p.Errorf("%s: the driver accepts it", raw)
		}
	}
	for _, raw := range []string{
		`{}`, `{"interface":null,"routes":null}`, `{"interface":{"mtu":0,"name":"","addresses":[]}}`, `{"interface":{"mtu":null}}`, `{"apiVersion":"","kind":""}`,
		`{"neighbors":[{"ipAddress":"192.0.2.1","hardwareAddr":"02:00:00:00:00:01"}]}`, `{"interface":{"type":"Passthrough"}}`,
		`{"interface":{"hardwareAddr":"02-00-00-00-00-01"}}`, `{"interface":{"hardwareAddr":"0200.0000.0001"}}`, `{"interface":{"hardwareAddr":"02"}}`,
	} {
		if err := errors.Join(p.claim(parameters(driverName, raw)), decode(raw)); err != nil {
			p.Errorf("%s: got %v", raw, err)
		}
	}
	// Of the largest that the API server takes (10 KiB) only a part is checked, which
	// the driver then does; see noErrors.
	large := func(most int) string {
		routes := `{"routes":[{"destination":"10.0.0.0/8","table":1}`
		for i := 2; len(routes) < most; i++ {
			routes += fmt.Sprintf(`,{"destination":"10.0.0.0/8","table":%d}`, 1000+i)
		}
		return routes
	}
	if err := errors.Join(p.claim(parameters(driverName, large(10<<10-100)+`]}`)), decode(large(10<<10-100)+`]}`)); err != nil {
		p.Errorf("10 KiB: %v", err)
	}
	if err := p.claim(parameters(driverName, large(10<<10-100)+`,{"destination":"10.0.0.1/8"}]}`)); err != nil {
		p.Errorf("10 KiB with an error at the end: %v", err)
	}
	if err := p.claim(parameters(driverName, large(4<<10)+`,{"destination":"10.0.0.1/8"}]}`)); !isRefusal(err) {
		p.Errorf("4 KiB with an error at the end: got %v, want a refusal", err)
	}
	for name, configs := range map[string][]resourceapi.DeviceConfiguration{
		"of another driver": {parameters("gpu.example.com", `{"interface":{"mtu":"big"},"sharing":1}`)},
		"none":              nil,
		"two":               {parameters("gpu.example.com", `{"a":1}`), parameters(driverName, `{"interface":{"mtu":1400}}`)},
	} {
		if err := p.claim(configs...); err != nil {
			p.Errorf("configs %s: got %v", name, err)
		}
	}
}

// class returns the API server's error for a device class with these configs.
func (p *configPolicy) class(configs ...resourceapi.DeviceConfiguration) error {
	c := &resourceapi.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "c"}}
	for _, d := range configs {
		c.Spec.Config = append(c.Spec.Config, resourceapi.DeviceClassConfiguration{DeviceConfiguration: d})
	}
	_, err := p.server.client.ResourceV1().DeviceClasses().Create(p.Context(), c, dryRun)
	return err
}

// objects checks the path in each kind of object, and that a class has claimMaySet.
func (p *configPolicy) objects() {
	bad := parameters(driverName, `{"interface":{"mtu":1}}`)
	other := parameters("gpu.example.com", `{"interface":{"mtu":1}}`)
	const message = `opaque.parameters.interface.mtu: "1": must be 68`
	refused := func(what string, err error, want string) {
		p.Helper()
		if !isRefusal(err) || !strings.Contains(err.Error(), want) {
			p.Errorf("%s: got %v, want a refusal with %s", what, err, want)
		}
	}
	refused("claim", p.claim(other, bad), "spec.devices.config[1]."+message)
	client := p.server.client.ResourceV1()
	template := &resourceapi.ResourceClaimTemplate{ObjectMeta: metav1.ObjectMeta{Name: "t"}, Spec: resourceapi.ResourceClaimTemplateSpec{Spec: claimSpec(other, bad)}}
	_, err := client.ResourceClaimTemplates("default").Create(p.Context(), template, dryRun)
	refused("template", err, "spec.spec.devices.config[1]."+message)
	refused("class", p.class(other, bad), "spec.config[1]."+message)
	refused("class", p.class(parameters(driverName, `{"claimMaySet":["interface","interface.nane"]}`)), `claimMaySet[1]: "interface.nane": must be one of`)
	refused("class", p.class(parameters(driverName, `{"interface":{"mtu":1400},"claimMaySet":"interface"}`)), `claimMaySet: "interface": must be a list`)
	if err := p.class(other, parameters(driverName, `{"claimMaySet":["interface","interface.name","routes"],"interface":{"mtu":9000}}`)); err != nil {
		p.Error(err)
	}
}

// updates checks that objects which were invalid before the policy was there can be
// changed in everything but their config, and deleted.
func (p *configPolicy) updates() {
	ctx, client, policies := p.Context(), p.server.client.ResourceV1(), p.server.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	binding, err := policies.Get(ctx, "dra-netdev-configs", metav1.GetOptions{})
	p.must(err)
	p.must(policies.Delete(ctx, binding.Name, metav1.DeleteOptions{}))
	bad := parameters(driverName, `{"interface":{"mtu":1}}`)
	for end := time.Now().Add(soon); p.claim(bad) != nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	claim, err := client.ResourceClaims("default").Create(ctx, &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "old", Finalizers: []string{"example.com/x"}}, Spec: claimSpec(bad)}, metav1.CreateOptions{})
	p.must(err)
	class := &resourceapi.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	class.Spec.Config = []resourceapi.DeviceClassConfiguration{{DeviceConfiguration: bad}}
	class, err = client.DeviceClasses().Create(ctx, class, metav1.CreateOptions{})
	p.must(err)
	binding.ResourceVersion = ""
	_, err = policies.Create(ctx, binding, metav1.CreateOptions{})
	p.must(err)
	p.await()

	claim.Labels = map[string]string{"a": "b"}
	claim, err = client.ResourceClaims("default").Update(ctx, claim, metav1.UpdateOptions{})
	p.must(err)
	claim.Status.Devices = nil
	claim, err = client.ResourceClaims("default").UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	p.must(err)
	claim.Finalizers = nil
	_, err = client.ResourceClaims("default").Update(ctx, claim, metav1.UpdateOptions{})
	p.must(err)
	p.must(client.ResourceClaims("default").Delete(ctx, "old", metav1.DeleteOptions{}))
	class.Labels = map[string]string{"a": "b"}
	class.Spec.Selectors = []resourceapi.DeviceSelector{{CEL: &resourceapi.CELDeviceSelector{Expression: `device.driver == "` + driverName + `"`}}}
	class, err = client.DeviceClasses().Update(ctx, class, metav1.UpdateOptions{})
	p.must(err)
	class.Spec.Config[0].Opaque.Parameters.Raw = []byte(`{"interface":{"mtu":2}}`)
	if _, err = client.DeviceClasses().Update(ctx, class, metav1.UpdateOptions{}); !isRefusal(err) {
		p.Errorf("the class gets another invalid config: got %v, want a refusal", err)
	}
	class.Spec.Config[0].Opaque.Parameters.Raw = []byte(`{"interface":{"mtu":1400}}`)
	_, err = client.DeviceClasses().Update(ctx, class, metav1.UpdateOptions{})
	p.must(err)
	p.must(client.DeviceClasses().Delete(ctx, "old", metav1.DeleteOptions{}))
}

func (p *configPolicy) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// onlyClass matches a config that has what only a class may set.
var onlyClass = regexp.MustCompile(`"(claimMaySet|addressPool|allowLoss|vf)"`)

// likeDecode tries many values for each field, and checks that the policy refuses
// nothing that the driver accepts. The JSON schema has all fields.
func (p *configPolicy) likeDecode() {
	text, err := os.ReadFile("../../docs/netdeviceconfig.schema.json")
	p.must(err)
	var document struct {
		Definitions map[string]*schema `json:"definitions"`
	}
	p.must(json.Unmarshal(text, &document))
	configs := document.Definitions["NetDeviceConfig"].variants()
	if len(configs) < 500 {
		p.Fatalf("made only %d configs of the schema", len(configs))
	}
	if p.server != master { // a sample is enough of the second one
		n := 0
		configs = slices.DeleteFunc(configs, func(any) bool { n++; return n%5 != 0 })
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	var both, accepted int
	missed := map[string]bool{}
	for part := range slices.Chunk(configs, len(configs)/4+1) {
		wait.Go(func() {
			for _, config := range part {
				if _, object := config.(map[string]any); !object {
					continue // which the API server itself refuses
				}
				raw, err := json.Marshal(config)
				if err != nil {
					panic(err)
				}
				policy, driver := p.claim(parameters(driverName, string(raw))), decode(string(raw))
				if onlyClass.Match(raw) {
					policy = p.class(parameters(driverName, string(raw)))
					_, driver = v1alpha1.Decode(v1alpha1.Parameters{Class: "c", Raw: raw})
				}
				mu.Lock()
				switch {
				case policy != nil && !isRefusal(policy):
					p.Errorf("%s: %v", raw, policy)
				case policy != nil && driver == nil:
					p.Errorf("%s: the policy refuses what the driver accepts: %v", raw, policy)
				case policy == nil && driver == nil:
					accepted++
				case policy == nil:
					missed[string(raw)+"\n   "+driver.Error()] = true
				default:
					both++
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	p.Logf("of %d configs %d are valid, %d are refused by policy and driver, %d by the driver only:\n%s", len(configs), accepted, both, len(missed),
		strings.Join(slices.Sorted(maps.Keys(missed)), "\n"))
	if len(missed) > both/5 {
		p.Errorf("the policy refuses only %d of %d bad configs", both, both+len(missed))
	}
}

// schema is what the test uses of a JSON schema.
type schema struct {
	Type       any                `json:"type"` // a text, or a list of them
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *schema            `json:"items"`
	MaxItems   int                `json:"maxItems"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	Enum       []any              `json:"enum"`
	Examples   []any              `json:"examples"`
}

func (s *schema) is(typ string) bool {
	all, _ := s.Type.([]any)
	return s.Type == typ || slices.Contains(all, any(typ))
}

// values are values of all types, and texts of all forms.
var values = []any{
	nil, true, false, 0, 1, -1, 1.5, 1 << 40, "", "x", "a b", "10", "net1", "192.0.2.1", "192.0.2.1/24", "192.0.2.0/24", "2001:db8::1", "2001:db8::1/64", "2001:db8::/64",
	"::ffff:192.0.2.1", "::ffff:192.0.2.1/120", "fe80::1%eth1", "0.0.0.0/0", "127.0.0.1", "255.255.255.255/32", "02:00:00:00:00:01", "02:00:00:00:00:0", "0200.5e00.0001", "192.0.2.01",
	[]any{}, []any{nil}, []any{1}, []any{""}, []any{"x"}, map[string]any{}, map[string]any{"x": 1}, map[string]any{"x": "y"}, map[string]any{"x": true},
}

// example returns a valid value.
func (s *schema) example() any {
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.is("object"):
		o := map[string]any{}
		for _, name := range s.Required {
			o[name] = s.Properties[name].example()
		}
		return o
	case s.is("array") && s.Items != nil && len(s.Items.Required) > 0:
		return []any{s.Items.example()}
	case s.is("array"):
		return []any{}
	}
	return nil
}

// variants returns values for s, good and bad.
func (s *schema) variants() []any {
	all := append([]any{s.example()}, values...)
	for _, limit := range []*float64{s.Minimum, s.Maximum} {
		if limit != nil {
			all = append(all, int64(*limit), int64(*limit)-1, int64(*limit)+1)
		}
	}
	all = append(all, s.Enum...)
	if s.Items != nil {
		for _, v := range s.Items.variants() {
			all = append(all, []any{v})
		}
		if s.MaxItems > 0 {
			all = append(all, slices.Repeat([]any{s.Items.example()}, s.MaxItems+1))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		with := func(name string, value any) {
			o := s.example().(map[string]any)
			o[name] = value
			all = append(all, o)
		}
		for _, v := range s.Properties[name].variants() {
			with(name, v)
		}
		with(strings.ToUpper(name[:1])+name[1:], s.Properties[name].example())
	}
	return all
}

// cost logs how much longer it takes to create a claim because of the policy, and
// checks that claims made for that cannot keep the API server busy.
func (p *configPolicy) cost() {
	many := `{"routes":[{"destination":"10.0.0.0/8","table":1}`
	for i := range 95 {
		many += fmt.Sprintf(`,{"destination":"10.0.0.0/8","table":%d}`, 1000+i)
	}
	flags := `{"ethtool":{"privateFlags":{"a":true`
	for i := range 280 {
		flags += fmt.Sprintf(`,"k%d":true`, i)
	}
	for _, raw := range []string{many + "]}", flags + "}}}"} {
		for _, n := range []int{1, 32} { // the API server takes 32
			start := time.Now()
			p.must(p.claim(slices.Repeat([]resourceapi.DeviceConfiguration{parameters(driverName, raw)}, n)...))
			if took := time.Since(start); took > time.Second { // 50 ms alone on the machine
				p.Errorf("%d configs of %d bytes take %v", n, len(raw), took)
			}
		}
	}
	const config = `{"interface":{"name":"net1","mtu":1400,"addresses":["198.51.100.10/24","2001:db8:5::10/64"]},
		"routes":[{"destination":"203.0.113.0/24","gateway":"198.51.100.1","source":"198.51.100.10"},{"destination":"203.0.113.128/25","table":100}]}`
	took := map[string][]time.Duration{}
	for range 200 {
		for _, driver := range []string{driverName, "gpu.example.com"} {
			start := time.Now()
			p.must(p.claim(parameters(driver, config)))
			took[driver] = append(took[driver], time.Since(start))
		}
	}
	for driver, all := range took {
		slices.Sort(all)
		p.Logf("a claim with a config of %s: %v at the median, %v at the 99th percentile", driver, all[len(all)/2], all[len(all)*99/100])
	}
}

// noErrors checks with the API server's metrics that no expression has failed or cost
// too much, which would refuse nothing.
func (p *configPolicy) noErrors() {
	text, err := p.server.client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(p.Context())
	p.must(err)
	var total, seconds string
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		switch {
		case !strings.Contains(name, `policy="dra-netdev-configs"`) || strings.Contains(name, "_bucket"):
		case strings.Contains(name, `enforcement_action="allow"`): // counted only for errors that are ignored
			p.Errorf("an expression has failed: %s", line)
		case strings.HasPrefix(name, "apiserver_validating_admission_policy_check_total"):
			total = value
		case strings.HasPrefix(name, "apiserver_validating_admission_policy_check_duration_seconds_sum"):
			seconds = value
		}
	}
	if total == "" || seconds == "" {
		p.Error("the API server has no metrics of the policy")
	}
	p.Logf("%s refusals took %s s in all", total, seconds)
}
