package driver

import (
	"context"
	"net/netip"
	"sync"
	"time"

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

	known chan struct{} // closed when they have first been read

	mu    sync.Mutex // guards addrs
	addrs []netip.Addr
}

func newNodeAddresses(client kubernetes.Interface, node string) *nodeAddresses {
	return &nodeAddresses{client: client, node: node, known: make(chan struct{})}
}

// areKnown reports whether they have been read.
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
	n.addrs = addrs
	return nil
}

func (n *nodeAddresses) get() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addrs
}
