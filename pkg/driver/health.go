package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

const (
	listenAgain = 500 * time.Millisecond // an older instance has the port until it ends
	socketAge   = time.Minute            // younger sockets may be about to be listened at
)

// serveHealth answers /livez while the process runs, /readyz while the driver
// can give out devices, and /metrics, at the address and at the socket, and at
// the socket alone /inventory.
func (d *Driver) serveHealth(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case !d.runtime.connected.Load():
			http.Error(w, "the container runtime does not call the driver's NRI handlers", http.StatusServiceUnavailable)
		case !d.slices.done.Load():
			http.Error(w, "no ResourceSlice has been published yet", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "ok")
		}
	})
	local := http.NewServeMux()
	local.Handle("/", mux)
	local.HandleFunc("POST "+inventoryPath, d.serveInventory)
	group, ctx := errgroup.WithContext(ctx)
	for _, at := range []struct {
		network, address string
		handler          http.Handler
	}{{"tcp", d.cfg.HealthAddress, mux}, {"unix", d.cfg.HealthSocket, local}} {
		if at.address == "" {
			continue
		}
		group.Go(func() error {
			server := &http.Server{Handler: at.handler, ReadHeaderTimeout: 5 * time.Second}
			stop := context.AfterFunc(ctx, func() { server.Close() })
			defer stop()
			l, err := listen(ctx, at.network, at.address)
			if err != nil {
				return fmt.Errorf("serve health: %w", err)
			}
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve health: %w", err)
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}

// listen waits for an address that another instance still has. A socket of
// this path is ours: one that is there is left over.
func listen(ctx context.Context, network, address string) (net.Listener, error) {
	if network == "unix" {
		os.Remove(address) // if it cannot be, listening says so
	}
	for logged := false; ; logged = true {
		l, err := (&net.ListenConfig{}).Listen(ctx, network, address)
		if err == nil || !errors.Is(err, unix.EADDRINUSE) {
			return l, err
		}
		if !logged {
			klog.FromContext(ctx).Info("Address in use, probably by the previous instance; will retry", "address", address)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(listenAgain):
		}
	}
}

// otherInstance reports whether another driver of ours answers the kubelet, before
// this one does.
func otherInstance(registry string) bool {
	paths, _ := filepath.Glob(filepath.Join(registry, v1alpha1.DriverName+"-*.sock")) // the pattern is good
	for _, path := range paths {
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			conn.Close()
			return true
		}
	}
	return false
}

// removeDeadSockets removes what instances left that were killed: each has
// sockets of its own names, and the kubelet would try them for ever.
func removeDeadSockets(ctx context.Context, registry, data string) {
	for _, pattern := range []string{filepath.Join(registry, v1alpha1.DriverName+"-*.sock"), filepath.Join(data, "dra-*.sock")} {
		paths, _ := filepath.Glob(pattern) // the pattern is good
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) < socketAge {
				continue
			}
			conn, err := net.DialTimeout("unix", path, time.Second)
			if err == nil {
				conn.Close()
				continue
			}
			if errors.Is(err, unix.ECONNREFUSED) {
				if err := os.Remove(path); err != nil {
					klog.FromContext(ctx).Error(err, "Failed to remove the socket of an instance that was killed", "socket", strings.TrimPrefix(path, data))
				}
			}
		}
	}
}
