package node

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	driverName    = "dra-netdev.github.io"
	healthAddress = "127.0.0.1:9178"
	statusEvery   = 300 * time.Millisecond
)

// process is the built driver.
type process struct {
	*exec.Cmd
	exited chan struct{} // closed when it has ended
}

// inDriver starts the driver as its DaemonSet does: in the host's network
// namespace and a mount namespace of its own, whose pins reach the host
// (Bidirectional) and outlive it. /sys shows the network namespace in which it
// was mounted; the boot id is the node's, and so are the PCI functions and the classes
// of devices, if the test has made some.
const inDriver = `mount -t sysfs sysfs /sys && { [ ! -d "${0%/*}/pci" ] || mount --bind "${0%/*}/pci" /sys/bus/pci; } && ` +
	`{ [ ! -d "${0%/*}/class" ] || mount --bind "${0%/*}/class" /sys/class; } && mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`

// startDriver starts the driver, with these flags beside its usual ones, and
// does not wait for anything.
func (w *world) startDriver(flags ...string) {
	w.t.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, "driver.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	w.must(err)
	defer log.Close()
	c := exec.Command("nsenter", append([]string{"--net=" + w.host.Path, "unshare", "--mount", "--propagation=unchanged", "sh", "-c", inDriver, w.dir + "/boot_id",
		filepath.Join(programs, "dra-netdev-kubeletplugin"), "--node-name=" + w.node, "--kubeconfig=" + w.dir + "/kubeconfig",
		"--kubelet-root-dir=" + w.dir + "/kubelet", "--cdi-dir=" + w.dir + "/cdi", "--nri-socket=" + w.dir + "/nri.sock",
		"--state-dir=" + w.dir + "/state", "--health-address=" + healthAddress, "--status-interval=" + statusEvery.String(), "-v=2"}, flags...)...)
	c.Stdout, c.Stderr = log, log
	w.must(c.Start())
	p := &process{c, make(chan struct{})}
	go func() { // ends with the process
		c.Wait()
		close(p.exited)
	}()
	w.driver = p
	w.connections = w.runtime.synchronized()
}

// kill ends the driver as the kernel does when memory is short.
func (w *world) kill() {
	w.t.Helper()
	w.must(w.driver.Process.Kill())
	<-w.driver.exited
}

// stop ends the driver as the kubelet does.
func (w *world) stop() {
	w.t.Helper()
	select {
	case <-w.driver.exited: // it was killed
		return
	default:
	}
	w.must(w.driver.Process.Signal(syscall.SIGTERM))
	select {
	case <-w.driver.exited:
		if code := w.driver.ProcessState.ExitCode(); code != 0 {
			w.t.Errorf("the driver ended with %d on SIGTERM", code)
		}
	case <-time.After(soon):
		w.t.Errorf("the driver has not ended within %v of SIGTERM", soon)
		w.kill()
	}
}

// hooked returns when the runtime calls the driver's hooks.
func (w *world) hooked() {
	w.t.Helper()
	w.eventually("the runtime calls the driver's hooks", func() bool { return w.runtime.synchronized() > w.connections })
}

// ready returns when the driver can give out devices and the kubelet knows it.
func (w *world) ready() {
	w.t.Helper()
	w.hooked()
	w.eventually("the driver is ready", func() bool { return w.healthy("/readyz") })
	w.registered()
}

// restartDriver starts the driver after it has ended, and waits for it.
func (w *world) restartDriver() {
	w.t.Helper()
	w.startDriver()
	w.ready()
}

// healthy asks the driver from the host's network namespace.
func (w *world) healthy(path string) bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		w.host.Do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, addr) })
		return conn, err
	}}}
	resp, err := client.Get("http://" + healthAddress + path)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`

// openGate gives the driver, whose network namespace has no way out, one to the
// API server.
func (w *world) openGate() {
	w.t.Helper()
	var l net.Listener
	var err error
	w.host.Do(func() { l, err = net.Listen("tcp", "127.0.0.1:0") })
	w.must(err)
	token, err := master.driverToken(w.node) // the driver has the rights that the chart gives it
	w.must(err)
	w.must(os.WriteFile(w.dir+"/kubeconfig", fmt.Appendf(nil, kubeconfig, l.Addr(), token), 0o600))
	var served sync.WaitGroup
	served.Go(func() { w.gate.serve(l) })
	w.t.Cleanup(func() {
		l.Close()
		w.gate.cut()
		served.Wait()
	})
}
