package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const driverNamespace = "dra-netdev" // of the chart's release

// installRights installs what the chart has to say of the driver's rights, its
// account, its role and its admission policies, and returns when they count.
func (s *apiServer) installRights() error {
	ctx := context.Background()
	if _, err := s.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: driverNamespace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	program := func(name string, stdin []byte, args ...string) ([]byte, error) {
		c := exec.Command(filepath.Join(os.Getenv(kubeIn), name), args...)
		var stderr bytes.Buffer
		c.Stdin, c.Stderr, c.Env = bytes.NewReader(stdin), &stderr, append(os.Environ(), "HOME="+programs)
		out, err := c.Output()
		if err != nil {
			err = fmt.Errorf("%s %q: %w\n%s", name, args, err, stderr.Bytes())
		}
		return out, err
	}
	manifest, err := program("helm", nil, "template", "dra-netdev", "../../deployments/helm/dra-netdev", "--namespace="+driverNamespace,
		"--show-only=templates/rbac.yaml", "--show-only=templates/admissionpolicy.yaml", "--show-only=templates/configpolicy.yaml")
	if err != nil {
		return err
	}
	if _, err := program("kubectl", manifest, "--server=https://"+s.address, "--token="+apiToken, "--insecure-skip-tls-verify", "create", "-f", "-"); err != nil {
		return err
	}
	return s.rightsCount(ctx)
}

// rightsCount waits until the API server acts on the policies: it reads them
// once a second. A token that is bound to nothing may write nothing.
func (s *apiServer) rightsCount(ctx context.Context) error {
	account, err := s.client.CoreV1().ServiceAccounts(driverNamespace).CreateToken(ctx, "dra-netdev", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	unbound := s.as(account.Status.Token)
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		_, err = unbound.ResourceV1().ResourceSlices().Create(ctx, nodeSlice("wait", "nobody"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsForbidden(err) && bytes.Contains([]byte(err.Error()), []byte("must be bound to a node")) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("the policies do not count after %v", soon), err)
}

// driverToken makes the driver's pod of a node, and returns the token that its
// kubelet would put into it.
func (s *apiServer) driverToken(node string) (string, error) {
	ctx := context.Background()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "driver-" + node}}
	p.Spec.NodeName, p.Spec.ServiceAccountName = node, "dra-netdev"
	p.Spec.Containers = []corev1.Container{{Name: "driver", Image: "driver"}}
	p, err := s.client.CoreV1().Pods(driverNamespace).Create(ctx, p, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID},
	}}
	request, err = s.client.CoreV1().ServiceAccounts(driverNamespace).CreateToken(ctx, "dra-netdev", request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return request.Status.Token, nil
}
