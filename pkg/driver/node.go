package driver

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

const (
	nodeRefresh = time.Minute
	nodeRetry   = 2 * time.Second // after a failure
)

// nodeAddresses are the addresses by which Kubernetes knows the node. The link
// that has one is never offered.
type nodeAddresses struct {
	client kubernetes.Interface
	node   string
	file   string // where they are for the next process of this boot, which may find no API server

	known chan struct{} // closed when they have first been read

	mu    sync.Mutex // guards addrs
	addrs []netip.Addr
}

func newNodeAddresses(client kubernetes.Interface, node, stateDir string) *nodeAddresses {
	n := &nodeAddresses{client: client, node: node, file: filepath.Join(stateDir, "node-addresses.json"), known: make(chan struct{})}
	if text, err := os.ReadFile(n.file); err == nil && json.Unmarshal(text, &n.addrs) != nil {
		n.addrs = nil // as without the file
	}
	return n
}

// areKnown reports whether this process has read them.
func (n *nodeAddresses) areKnown() bool {
	select {
	case <-n.known:
		return true
	default:
		return false
	}
}

// follow reads them again and again until ctx ends. While the API server is
// away the last ones are used.
func (n *nodeAddresses) follow(ctx context.Context) error {
	first := sync.OnceFunc(func() { close(n.known) })
	for {
		wait := nodeRefresh
		if err := n.refresh(ctx); err != nil {
			klog.FromContext(ctx).Error(err, "Failed to read the node's addresses; will retry", "node", n.node)
			wait = nodeRetry
		} else {
			first()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (n *nodeAddresses) refresh(ctx context.Context) error {
	node, err := n.client.CoreV1().Nodes().Get(ctx, n.node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var addrs []netip.Addr
	for _, a := range node.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil && (a.Type == corev1.NodeInternalIP || a.Type == corev1.NodeExternalIP) {
			addrs = append(addrs, addr)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(addrs) == 0 || slices.Equal(addrs, n.addrs) { // a Node that was just made anew has none yet
		return nil
	}
	n.addrs = addrs
	text, err := json.Marshal(addrs)
	if err == nil {
		err = renameio.WriteFile(n.file, text, 0o600)
	}
	if err != nil { // nothing but the next start without an API server needs it
		klog.FromContext(ctx).Error(err, "Failed to store the node's addresses")
	}
	return nil
}

func (n *nodeAddresses) get() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addrs
}
