package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/kubernetes/pkg/kubelet/cm/dra"
	draplugin "k8s.io/kubernetes/pkg/kubelet/cm/dra/plugin"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager"
)

// kubelet is the part of a kubelet that knows of claims: its DRA manager and
// the plugin manager that finds drivers.
type kubelet struct {
	ctx     context.Context // of its calls, with its logger
	manager *dra.Manager
	plugins *draplugin.DRAPluginManager
	stop    func() // harmless when called twice
}

// sources says that the kubelet knows its pods.
type sources struct{}

func (sources) AddSource(string) {}
func (sources) AllReady() bool   { return true }

// startKubelet starts a kubelet on the state that the last one left.
func (w *world) startKubelet() {
	w.t.Helper()
	state, registry := w.dir+"/kubelet/state", w.dir+"/kubelet/plugins_registry"
	for _, dir := range []string{state, registry} {
		w.must(os.MkdirAll(dir, 0o755))
	}
	log, err := os.OpenFile(filepath.Join(w.dir, "kubelet.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	w.must(err)
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log), textlogger.Verbosity(4)))
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), logger))
	manager, err := dra.NewManager(logger, w.gated, state)
	w.must(err)
	node := func(ctx context.Context) (*corev1.Node, error) {
		return w.gated.CoreV1().Nodes().Get(ctx, w.node, metav1.GetOptions{})
	}
	w.must(manager.Start(ctx, w.activePods, node, sources{}))
	found := pluginmanager.NewPluginManager(registry, record.NewFakeRecorder(100))
	found.AddHandler(registerapi.DRAPlugin, manager.GetWatcherHandler())
	go found.Run(ctx, sources{}, ctx.Done())
	w.kubelet = &kubelet{ctx: ctx, manager: manager, plugins: manager.GetWatcherHandler().(*draplugin.DRAPluginManager), stop: func() {
		cancel()
		manager.Stop()
	}}
	w.t.Cleanup(w.kubelet.stop)
}

// restartKubelet ends the kubelet and starts another, which knows what is on
// disk and of the API server, and has to find the driver.
func (w *world) restartKubelet() {
	w.t.Helper()
	w.kubelet.stop()
	w.startKubelet()
	w.registered()
}

// registered returns when the kubelet is connected to the driver.
func (w *world) registered() {
	w.t.Helper()
	w.knows(driverName)
}

func (w *world) knows(driver string) {
	w.t.Helper()
	w.eventually("the kubelet knows "+driver, func() bool { _, err := w.kubelet.plugins.GetPlugin(driver); return err == nil })
}

// activePods are the pods for which the kubelet keeps claims prepared.
func (w *world) activePods() []*corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pods)
}

// prepare is what the kubelet does before it makes a pod's sandbox.
func (w *world) prepare(p *corev1.Pod) error {
	w.mu.Lock()
	if !slices.Contains(w.pods, p) {
		w.pods = append(w.pods, p)
	}
	w.mu.Unlock()
	return w.kubelet.manager.PrepareResources(w.kubelet.ctx, p)
}

// unprepare is what the kubelet does when a pod's containers and sandbox have
// ended. It tries again as the kubelet does.
func (w *world) unprepare(p *corev1.Pod) {
	w.t.Helper()
	var err error
	w.eventually("the kubelet unprepares the claims of pod "+p.Name, func() bool {
		err = w.kubelet.manager.UnprepareResources(w.kubelet.ctx, p)
		return err == nil
	}, func() string { return fmt.Sprint(err) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods = slices.DeleteFunc(w.pods, func(q *corev1.Pod) bool { return q == p })
}

// cdiDevices are what the kubelet has the runtime give the pod's container.
func (w *world) cdiDevices(p *corev1.Pod) ([]string, error) {
	info, err := w.kubelet.manager.GetResources(p, &p.Spec.Containers[0])
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range info.CDIDevices {
		names = append(names, d.Name)
	}
	return names, nil
}

// gatedClient is the kubelet's client.
func gatedClient(t *testing.T, g *gate) kubernetes.Interface {
	t.Helper()
	config := master.config(apiToken)
	config.Dial = g.dial
	config.QPS = -1
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
