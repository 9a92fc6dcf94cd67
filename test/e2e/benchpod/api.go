package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	server    = "https://10.77.0.1"
	podsPath  = "/api/v1/namespaces/default/pods"
	claimPath = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
	slicePath = "/apis/resource.k8s.io/v1/resourceslices"
	eventPath = "/api/v1/namespaces/default/events"
)

var errNotFound = errors.New("not found")

// api is the cluster's API server, seen from the control plane's network.
type api struct{ client *http.Client }

// newAPI uses the administrator's certificate of a cluster.
func newAPI(state, netns string) (*api, error) {
	pki := filepath.Join(state, "pki")
	certificate, err := tls.LoadX509KeyPair(filepath.Join(pki, "admin.crt"), filepath.Join(pki, "admin.key"))
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		return inNetNS(netns, func() (net.Conn, error) { return new(net.Dialer).DialContext(ctx, network, address) })
	}
	return &api{&http.Client{Transport: &http.Transport{
		DialContext:     dial,
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots},
	}}}, nil
}

// do sends a request, with a body if there is one, and returns the answer's,
// which the caller closes.
func (a *api) do(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, server+path, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode < 300 {
		return response.Body, nil
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, errNotFound
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, 2000))
	return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(text)))
}

func (a *api) create(ctx context.Context, path string, object any) error {
	return finish(a.do(ctx, http.MethodPost, path, object))
}

// remove deletes an object; one that is gone already is no error.
func (a *api) remove(ctx context.Context, path, name string) error {
	if err := finish(a.do(ctx, http.MethodDelete, path+"/"+name, nil)); err != errNotFound {
		return err
	}
	return nil
}

// finish reads an answer to its end, so that its connection is used again.
func finish(body io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// get reads an object, or a list of them.
func get[T any](ctx context.Context, a *api, path string) (object T, err error) {
	body, err := a.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return object, err
	}
	defer body.Close()
	return object, json.NewDecoder(body).Decode(&object)
}

// phases are the phases of pods, by name. A pod that is gone has none.
type phases map[string]string

type podEvent struct {
	Type   string
	Object struct {
		Metadata struct{ Name string }
		Status   struct{ Phase string }
	}
}

// watchPods returns the phases of all pods, kept up to date for as long as the
// program runs.
func (a *api) watchPods(ctx context.Context) (*board[phases], error) {
	body, err := a.do(ctx, http.MethodGet, podsPath+"?watch=true&timeoutSeconds=7200", nil)
	if err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	pods := newBoard(phases{})
	go func() {
		defer body.Close()
		for d := json.NewDecoder(body); ; {
			var e podEvent
			err := d.Decode(&e)
			if err == nil && e.Type == "ERROR" {
				err = errors.New("the API server ended it")
			}
			if err != nil {
				pods.fail(fmt.Errorf("watch pods: %w", err))
				return
			}
			name := e.Object.Metadata.Name
			pods.change(time.Now(), func(p phases) {
				if p[name] = e.Object.Status.Phase; e.Type == "DELETED" {
					delete(p, name)
				}
			})
		}
	}()
	return pods, nil
}
