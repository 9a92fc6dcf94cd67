package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	apiAddress = "127.0.0.1:6443"
	apiToken   = "test"
	// apiStart is how long etcd and the API server may take to start; they
	// need 4 s on an idle machine.
	apiStart = 90 * time.Second
)

// apiServer is etcd and kube-apiserver.
type apiServer struct {
	client kubernetes.Interface // of the tests: nothing cuts it
}

// startAPIServer starts both in the network namespace of this process, whose
// end is theirs.
func startAPIServer(dir, bin string) (*apiServer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	key, err := serviceAccountKey()
	if err != nil {
		return nil, err
	}
	keyFile, tokenFile := filepath.Join(dir, "sa.key"), filepath.Join(dir, "tokens.csv")
	if err := errors.Join(os.WriteFile(keyFile, key, 0o600), os.WriteFile(tokenFile, []byte(apiToken+",admin,admin,system:masters\n"), 0o600)); err != nil {
		return nil, err
	}
	const etcd, etcdPeer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	commands := [][]string{
		{"etcd", "--data-dir=" + dir + "/etcd", "--unsafe-no-fsync", "--log-level=error", "--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			"--listen-peer-urls=" + etcdPeer, "--initial-advertise-peer-urls=" + etcdPeer, "--initial-cluster=default=" + etcdPeer},
		{"kube-apiserver", "--etcd-servers=" + etcd, "--bind-address=127.0.0.1", "--secure-port=6443", "--cert-dir=" + dir, "--token-auth-file=" + tokenFile,
			"--authorization-mode=AlwaysAllow", "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + keyFile,
			"--service-account-signing-key-file=" + keyFile, "--service-cluster-ip-range=10.96.0.0/24",
			// The loopback cannot be told as an endpoint, and nobody needs one.
			"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", "--profiling=false", "--enable-priority-and-fairness=false"},
	}
	for _, words := range commands {
		log, err := os.Create(filepath.Join(dir, words[0]+".log"))
		if err != nil {
			return nil, err
		}
		c := exec.Command(filepath.Join(bin, words[0]), words[1:]...)
		c.Stdout, c.Stderr = log, log
		if err := c.Start(); err != nil {
			return nil, err
		}
		go c.Wait() // ends with the process
	}
	config := clientConfig()
	config.QPS = -1
	s := &apiServer{client: kubernetes.NewForConfigOrDie(config)}
	return s, s.wait(dir)
}

// wait returns when the API server is ready.
func (s *apiServer) wait(dir string) error {
	var err error
	for end := time.Now().Add(apiStart); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = s.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(context.Background()).Error(); err == nil {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(dir, "kube-apiserver.log"))
	return fmt.Errorf("the API server is not ready within %v: %w\n%s", apiStart, err, log[max(0, len(log)-4000):])
}

func clientConfig() *rest.Config {
	return &rest.Config{Host: "https://" + apiAddress, BearerToken: apiToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

func serviceAccountKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}
