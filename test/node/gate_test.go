package node

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// gate is the way to a server. Cut, it refuses connections and ends those that
// there are: the server is away.
type gate struct {
	network, address string

	mu    sync.Mutex // guards what follows
	away  bool
	conns map[net.Conn]bool
}

// dial has the signature of rest.Config's, and knows itself where to.
func (g *gate) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, g.network, g.address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away {
		conn.Close()
		return nil, errors.New("the test has cut the connection")
	}
	if g.conns == nil {
		g.conns = map[net.Conn]bool{}
	}
	g.conns[conn] = true
	return conn, nil
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = true
	for c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

func (g *gate) mend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = false
}

// serve passes on what comes in until l is closed.
func (g *gate) serve(l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := g.dial(context.Background(), "", "")
		if err != nil {
			in.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() { // ends with either connection
				io.Copy(pair[0], pair[1])
				pair[0].Close()
				pair[1].Close()
			}()
		}
	}
}
