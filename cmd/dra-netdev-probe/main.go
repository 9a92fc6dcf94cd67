// Command dra-netdev-probe is the exec probe of the driver's pod. It requests a
// path, such as /readyz, from the driver's health socket, prints the response
// and exits with 1 unless the status is 200:
//
//	dra-netdev-probe SOCKET PATH
//
// The kubelet cannot use an HTTP probe: the driver's pods are in the host's
// network, where the old and the new pod of an upgrade cannot listen on the same
// port.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

const timeout = 5 * time.Second

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: dra-netdev-probe SOCKET PATH")
		os.Exit(2)
	}
	body, err := ask(os.Args[1], os.Args[2])
	fmt.Print(body)
	if err != nil {
		fmt.Fprintf(os.Stderr, "dra-netdev-probe: %v\n", err)
		os.Exit(1)
	}
}

// ask returns the body of the response to GET path. It does not use net/http, so
// that the program, which is started every few seconds, stays small.
func ask(socket, path string) (string, error) {
	conn, err := net.DialTimeout("unix", socket, timeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(timeout))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	status, err := r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read status line %q: %w", status, err)
	}
	rest, err := io.ReadAll(r)
	_, body, _ := strings.Cut(string(rest), "\r\n\r\n")
	if code := strings.Fields(status); err == nil && (len(code) < 2 || code[1] != "200") {
		err = errors.New(strings.TrimSpace(status))
	}
	return body, err
}
