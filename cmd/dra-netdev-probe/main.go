// Command dra-netdev-probe asks the driver of its pod how it is, for the
// kubelet's probes: dra-netdev-probe SOCKET PATH, such as
// "/run/health.sock /readyz". It prints the answer and fails unless that is
// good.
//
// The driver's pods are in the host's network, where an older and a newer one
// cannot have the same port: so the kubelet cannot ask by itself.
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
	answer, err := ask(os.Args[1], os.Args[2])
	fmt.Print(answer)
	if err != nil {
		fmt.Fprintf(os.Stderr, "dra-netdev-probe: %v\n", err)
		os.Exit(1)
	}
}

// ask returns the body of the answer to GET path. It speaks HTTP/1.0 by hand:
// the program is started every few seconds, and is small without net/http.
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
		return "", errors.Join(fmt.Errorf("the answer is %q", status), err)
	}
	rest, err := io.ReadAll(r)
	_, body, _ := strings.Cut(string(rest), "\r\n\r\n")
	if code := strings.Fields(status); err == nil && (len(code) < 2 || code[1] != "200") {
		err = errors.New(strings.TrimSpace(status))
	}
	return body, err
}
