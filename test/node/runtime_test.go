package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	rspec "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
	"tags.cncf.io/container-device-interface/pkg/cdi"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// runtime is the container runtime as far as NRI sees it.
type runtime struct {
	*adaptation.Adaptation
	gate  *gate // the driver's way to the runtime
	stop  func()
	syncs atomic.Int32

	mu        sync.Mutex // guards sandboxes
	sandboxes []*api.PodSandbox
}

// sandbox is a pod's sandbox: its network namespace, at a path of the host.
type sandbox struct {
	*api.PodSandbox
	pod  *corev1.Pod
	ns   *nstest.NS
	path string
}

// startRuntime starts the runtime with the sandboxes that it finds running.
func (w *world) startRuntime(running ...*api.PodSandbox) {
	w.t.Helper()
	r := &runtime{sandboxes: running, gate: &gate{network: "unix", address: w.dir + "/runtime.sock"}}
	list := func(ctx context.Context, cb adaptation.SyncCB) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, err := cb(ctx, r.sandboxes, nil)
		r.syncs.Add(1)
		return err
	}
	update := func(context.Context, []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) { return nil, nil }
	var err error
	r.Adaptation, err = adaptation.New("test", "1", list, update, append(w.runtimeOptions, adaptation.WithSocketPath(r.gate.address),
		adaptation.WithPluginPath(w.dir+"/none"), adaptation.WithPluginConfigPath(w.dir+"/none"))...)
	w.must(err)
	w.must(r.Start())
	l, err := net.Listen("unix", w.dir+"/nri.sock")
	w.must(err)
	go r.gate.serve(l) // ends with l
	r.stop = sync.OnceFunc(func() {
		l.Close()
		r.gate.cut() // as the end of a process would
		r.Stop()
	})
	w.t.Cleanup(r.stop)
	w.runtime, w.connections = r, 0
}

// synchronized is how often a plugin has connected.
func (r *runtime) synchronized() int32 { return r.syncs.Load() }

// sandbox makes a pod's sandbox, as far as before the hook.
func (w *world) sandbox(p *corev1.Pod, id string) *sandbox {
	w.t.Helper()
	ns := nstest.New(w.t)
	ns.Run("ip link set lo up")
	path := filepath.Join(w.dir, "netns", id)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, nil, 0o600))
	w.host.Run("mount --bind " + ns.Path + " " + path)
	s := &sandbox{ns: ns, path: path, pod: p, PodSandbox: &api.PodSandbox{
		Id: id, Name: p.Name, Uid: string(p.UID), Namespace: p.Namespace,
		Linux: &api.LinuxPodSandbox{Namespaces: []*api.LinuxNamespace{{Type: "network", Path: path}}},
	}}
	w.t.Cleanup(func() { w.removeNetNS(s) })
	return s
}

// removeNetNS takes the namespace away from its path. It lives on while
// something else holds it.
func (w *world) removeNetNS(s *sandbox) {
	if _, err := os.Stat(s.path); err == nil {
		w.host.Run("umount --lazy " + s.path) // as runtimes do: somebody may look into it
		w.must(os.Remove(s.path))
		s.ns.Close()
	}
}

// run is what the runtime does for a new sandbox: the hook and, on an error,
// what it does for the sandbox's end.
func (w *world) run(s *sandbox) error {
	r := w.runtime
	r.mu.Lock()
	r.sandboxes = append(r.sandboxes, s.PodSandbox)
	r.mu.Unlock()
	err := r.RunPodSandbox(w.ctx, runRequest(s))
	if err != nil {
		w.end(s)
		return err
	}
	w.await("the pod's interfaces are in its sandbox", func(a attachment) bool { return a.Sandbox.ID != s.Id || a.Deadline.IsZero() })
	return nil
}

// attachment is what the tests want to know of a record's attachment.
type attachment struct {
	Sandbox  struct{ ID string }
	Deadline time.Time
	InPod    json.RawMessage
}

// attachments are those of all records.
func (w *world) attachments() (all []attachment) {
	w.t.Helper()
	files, _ := filepath.Glob(w.dir + "/state/allocations/*.json") // the pattern is good
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // released meanwhile
		}
		var r struct {
			Record struct{ Attachment *attachment }
		}
		w.must(json.Unmarshal(text, &r))
		if r.Record.Attachment != nil {
			all = append(all, *r.Record.Attachment)
		}
	}
	return all
}

// await waits for what a driver that is there does in the background, for a
// while: it may be frozen, or stay away.
func (w *world) await(what string, done func(attachment) bool) {
	w.t.Helper()
	for end := time.Now().Add(jobTime); time.Now().Before(end); time.Sleep(time.Millisecond) {
		select {
		case <-w.driver.exited:
			return
		default:
		}
		if !slices.ContainsFunc(w.attachments(), func(a attachment) bool { return !done(a) }) {
			return
		}
	}
	w.t.Logf("not within %v: %s", jobTime, what)
}

// end is containerd's order: hook, namespace, hook.
func (w *world) end(s *sandbox) {
	w.t.Helper()
	w.stopHook(s)
	w.removeNetNS(s)
	w.removeHook(s)
}

// endUnseen is the end of a sandbox of which the driver hears nothing.
func (w *world) endUnseen(s *sandbox) {
	w.removeNetNS(s)
	w.runtime.forget(s)
}

func (w *world) stopHook(s *sandbox) {
	w.t.Helper()
	w.check(w.runtime.StopPodSandbox(w.ctx, stopRequest(s)))
	w.await("the sandbox's interfaces are detached", func(a attachment) bool { return a.Sandbox.ID != s.Id || a.InPod == nil && a.Deadline.IsZero() })
}

func (w *world) removeHook(s *sandbox) {
	w.t.Helper()
	w.check(w.runtime.RemovePodSandbox(w.ctx, &api.RemovePodSandboxRequest{Pod: s.PodSandbox}))
	w.runtime.forget(s)
}

// forget takes a sandbox out of what the runtime lists.
func (r *runtime) forget(s *sandbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandboxes = slices.DeleteFunc(r.sandboxes, func(p *api.PodSandbox) bool { return p.Id == s.Id })
}

// jobTime is how long a test waits for a driver that may not be there.
const jobTime = 5 * time.Second

// errNRI and errOCI say who has refused a container.
var (
	errNRI = errors.New("refused by NRI")
	errOCI = errors.New("refused by its createRuntime hook")
)

// create is what kubelet, runtime and runc do to make a container of the pod:
// look up its CDI devices, apply their edits, call the NRI hook, and run the
// OCI hooks with the container's first process in the pod's namespace.
func (w *world) create(s *sandbox) error {
	w.t.Helper()
	c, err := w.container(s)
	if err != nil {
		return err
	}
	hooks, err := w.ask(s, c)
	if err != nil {
		return err
	}
	if len(hooks) == 0 {
		w.t.Error("the container has no createRuntime hook")
	}
	mounted := w.mountMetadata(c) // before the hooks, as runc does
	if err := w.ociHooks(s, c.Id, hooks); err != nil {
		return err
	}
	w.complete(mounted)
	return nil
}

// container is a container of the pod as CDI makes it.
func (w *world) container(s *sandbox) (*api.Container, error) {
	w.t.Helper()
	ids, err := w.cdiDevices(s.pod)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, errors.New("the kubelet has no CDI device for the container")
	}
	spec := &rspec.Spec{}
	devices, err := cdi.NewCache(cdi.WithSpecDirs(w.dir+"/cdi"), cdi.WithAutoRefresh(false))
	w.must(err)
	if _, err := devices.InjectDevices(spec, ids...); err != nil {
		return nil, err
	}
	return &api.Container{Id: "c-" + s.Id, PodSandboxId: s.Id, Name: s.pod.Spec.Containers[0].Name, Env: spec.Process.Env, Mounts: api.FromOCIMounts(spec.Mounts), Hooks: api.FromOCIHooks(spec.Hooks)}, nil
}

// ask calls the NRI hook for a container, and returns the createRuntime hooks
// that it has then.
func (w *world) ask(s *sandbox, c *api.Container) (hooks []rspec.Hook, err error) {
	w.t.Helper()
	own := c.GetHooks().GetCreateRuntime()
	// NRI adds the hooks to what it is given.
	asked := &api.Container{Id: c.Id, PodSandboxId: c.PodSandboxId, Name: c.Name, Env: c.Env, Hooks: &api.Hooks{CreateRuntime: slices.Clone(own)}}
	out, err := w.runtime.CreateContainer(w.ctx, &api.CreateContainerRequest{Pod: s.PodSandbox, Container: asked})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNRI, err)
	}
	for _, h := range slices.Concat(own, out.GetAdjust().GetHooks().GetCreateRuntime()) {
		hooks = append(hooks, h.ToOCI())
	}
	return hooks, nil
}

// ociHooks runs the hooks with a process in the pod's namespace.
func (w *world) ociHooks(s *sandbox, id string, hooks []rspec.Hook) error {
	w.t.Helper()
	init := exec.Command("nsenter", "--net="+s.path, "cat") // until its input ends
	in, err := init.StdinPipe()
	w.must(err)
	out, err := init.StdoutPipe()
	w.must(err)
	w.must(init.Start())
	defer func() {
		in.Close()
		init.Wait()
	}()
	fmt.Fprintln(in)
	_, err = out.Read(make([]byte, 1)) // it is in the namespace
	w.must(err)
	for _, h := range hooks {
		c := &exec.Cmd{Path: h.Path, Args: h.Args, Env: h.Env, Stdin: strings.NewReader(fmt.Sprintf(`{"ociVersion":"1.0.2","id":%q,"pid":%d}`, id, init.Process.Pid))}
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %w: %s", errOCI, err, out)
		}
	}
	return nil
}

// refused fails the test unless a container was refused, by this one.
func (w *world) refused(err, by error) {
	w.t.Helper()
	if !errors.Is(err, by) {
		w.t.Errorf("the container: %v, want it %v", err, by)
	}
}

func runRequest(s *sandbox) *api.RunPodSandboxRequest {
	return &api.RunPodSandboxRequest{Pod: s.PodSandbox}
}

func stopRequest(s *sandbox) *api.StopPodSandboxRequest {
	return &api.StopPodSandboxRequest{Pod: s.PodSandbox}
}
