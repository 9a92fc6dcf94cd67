package chart

import (
	"path"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const driver = "dra-netdev.github.io"

// directories are values that set the paths on the host.
var directories = []string{
	"",
	"kubeletRootDir: /data/kubelet\ncdiDir: /etc/cdi\nnriSocket: /run/other/nri.sock\nnetnsDir: /run/containerd/netns\nstateDir: /run/state",
	"netnsDir: /run/netns",
}

// TestSamePaths checks that each host path that the driver gets from a flag or
// from the runtime is the same path in its container.
func TestSamePaths(t *testing.T) {
	for _, values := range directories {
		ds := daemonSet(t, values)
		pod := ds.Spec.Template.Spec
		c := pod.Containers[0]
		flags := map[string]string{}
		for _, arg := range c.Args {
			name, value, _ := strings.Cut(arg, "=")
			flags[name] = value
		}
		netns := "/var/run/netns"
		if _, after, ok := strings.Cut(values, "netnsDir: "); ok {
			netns, _, _ = strings.Cut(after, "\n")
		}
		for _, at := range []string{
			path.Join(flags["--kubelet-root-dir"], "plugins", driver, "dra.sock"),
			path.Join(flags["--kubelet-root-dir"], "plugins", driver, "dra-netdev-hook"),
			path.Join(flags["--kubelet-root-dir"], "plugins_registry", driver+"-reg.sock"),
			path.Join(flags["--cdi-dir"], "spec.json"),
			flags["--nri-socket"],
			path.Join(flags["--state-dir"], "allocations", "record.json"),
			path.Join(netns, "cni-0000"),
		} {
			if got := onHost(pod, c, at); got != at {
				t.Errorf("values %q: %s in the container is %q on the host", values, at, got)
			}
		}
		for _, m := range c.VolumeMounts {
			i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
			if i < 0 {
				t.Errorf("values %q: no volume %s", values, m.Name)
			} else if host := pod.Volumes[i].HostPath; host != nil && host.Path != m.MountPath {
				t.Errorf("values %q: the host's %s is mounted at %s", values, host.Path, m.MountPath)
			}
		}
		if others := onHost(pod, c, path.Join(flags["--kubelet-root-dir"], "plugins", "other", "dra.sock")); others != "" {
			t.Errorf("values %q: %s, which belongs to another driver, is mounted", values, others)
		}
	}
}

// onHost returns the path on the host of a path in the container, or "" if that is
// not mounted from the host.
func onHost(pod corev1.PodSpec, c corev1.Container, at string) string {
	best, host := "", ""
	for _, m := range c.VolumeMounts {
		if rest, ok := strings.CutPrefix(at, m.MountPath); ok && (rest == "" || rest[0] == '/') && len(m.MountPath) > len(best) {
			i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
			if i >= 0 && pod.Volumes[i].HostPath != nil {
				best, host = m.MountPath, pod.Volumes[i].HostPath.Path+rest
			}
		}
	}
	return host
}

// TestPropagation checks that the host sees mounts of the driver, and the driver
// sees mounts of the runtime.
func TestPropagation(t *testing.T) {
	want := map[string]corev1.MountPropagationMode{"/run/dra-netdev": corev1.MountPropagationBidirectional, "/var/run/netns": corev1.MountPropagationHostToContainer}
	for _, m := range daemonSet(t, "").Spec.Template.Spec.Containers[0].VolumeMounts {
		if got := m.MountPropagation; want[m.MountPath] != "" && (got == nil || *got != want[m.MountPath]) {
			t.Errorf("%s: mount propagation %v, want %s", m.MountPath, got, want[m.MountPath])
		}
		delete(want, m.MountPath)
	}
	if len(want) > 0 {
		t.Errorf("not mounted: %v", want)
	}
}

// TestHealthSocket checks that the driver, the probes and commands in the pod use
// the same socket.
func TestHealthSocket(t *testing.T) {
	c := daemonSet(t, "").Spec.Template.Spec.Containers[0]
	i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "HEALTH_SOCKET" })
	if i < 0 {
		t.Fatal("HEALTH_SOCKET is not in the environment")
	}
	for name, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if got := p.Exec.Command[1]; got != c.Env[i].Value {
			t.Errorf("the %s probe uses the socket %s, want %s", name, got, c.Env[i].Value)
		}
	}
}

// TestMemoryLimit checks the memory limit of the driver, which is evicted last.
func TestMemoryLimit(t *testing.T) {
	if got := daemonSet(t, "").Spec.Template.Spec.Containers[0].Resources.Limits.Memory().String(); got != "256Mi" {
		t.Errorf("the memory limit is %s, want 256Mi", got)
	}
}
