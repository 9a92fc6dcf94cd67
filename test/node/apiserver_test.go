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
	apiToken = "test"
	// apiStart is how long etcd and the API server may take to start; they
	// need 4 s on an idle machine.
	apiStart = 90 * time.Second
)

// apiServer is a kube-apiserver on which the driver's rights are installed.
type apiServer struct {
	address string
	client  kubernetes.Interface // of the tests: nothing cuts it, and it may do everything
}

const etcd, etcdPeer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"

// startEtcd starts etcd in the network namespace of this process, whose end is
// its end.
func startEtcd(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return start(dir, "etcd", "--data-dir="+dir+"/etcd", "--unsafe-no-fsync", "--log-level=error", "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+etcdPeer, "--initial-advertise-peer-urls="+etcdPeer, "--initial-cluster=default="+etcdPeer)
}

// start starts one of Kubernetes' programs, with its log in dir.
func start(dir, name string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command(filepath.Join(os.Getenv(kubeIn), name), args...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return err
	}
	go c.Wait() // ends with the process
	return nil
}

// startAPIServer starts an API server on etcd, which is to run already, and
// installs the rights of the chart on it. Each has a port and data of its own.
func startAPIServer(dir string, port int, flags ...string) (*apiServer, error) {
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
	args := []string{"--etcd-servers=" + etcd, "--etcd-prefix=/" + filepath.Base(dir), "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir=" + dir,
		"--token-auth-file=" + tokenFile, "--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + keyFile,
		"--service-account-signing-key-file=" + keyFile, "--service-cluster-ip-range=10.96.0.0/24",
		// The loopback cannot be told as an endpoint, and nobody needs one.
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", "--profiling=false", "--enable-priority-and-fairness=false"}
	if err := start(dir, "kube-apiserver", append(args, flags...)...); err != nil {
		return nil, err
	}
	s := &apiServer{address: fmt.Sprintf("127.0.0.1:%d", port)}
	s.client = s.as(apiToken)
	return s, errors.Join(s.wait(dir), s.installRights())
}

// as returns a client with a token.
func (s *apiServer) as(token string) kubernetes.Interface {
	config := s.config(token)
	config.QPS = -1
	return kubernetes.NewForConfigOrDie(config)
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

func (s *apiServer) config(token string) *rest.Config {
	return &rest.Config{Host: "https://" + s.address, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

func serviceAccountKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}
