package main

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestAsk(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not yet", http.StatusServiceUnavailable) })
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	defer server.Close()
	for _, tt := range []struct{ path, body, fault string }{
		{"/livez", "ok\n", ""},
		{"/readyz", "not yet\n", "503 Service Unavailable"},
		{"/other", "404 page not found\n", "404"},
	} {
		body, err := ask(socket, tt.path)
		if body != tt.body || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: got %q, %v, want %q and %q", tt.path, body, err, tt.body, tt.fault)
		}
	}
	if _, err := ask(socket+"2", "/livez"); err == nil {
		t.Error("got no error for a socket that does not exist")
	}
}
