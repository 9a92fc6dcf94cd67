package netdev

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// flood sends by TCP from one namespace to an address of the other until the test
// calls stop.
func flood(t *testing.T, from, to *nstest.NS, address string) (stop func()) {
	t.Helper()
	var listener net.Listener
	var client net.Conn
	var err error
	to.Do(func() { listener, err = net.Listen("tcp", address+":0") })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	from.Do(func() { client, err = net.Dial("tcp", listener.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		for b := make([]byte, 1<<16); err == nil; {
			_, err = client.Write(b)
		}
	})
	both.Go(func() { io.Copy(io.Discard, server) })
	return func() {
		client.Close()
		server.Close()
		both.Wait()
	}
}

// rate returns the bits per second that a counter of a link counts.
func (w *world) rate(link string, counter func(nic.Statistics) uint64) float64 {
	w.t.Helper()
	count := func() (uint64, time.Time) {
		l, err := w.pod.conn.linkByName(link)
		if err != nil {
			w.t.Fatal(err)
		}
		return counter(l.Statistics), time.Now()
	}
	time.Sleep(500 * time.Millisecond)
	before, started := count()
	time.Sleep(2 * time.Second)
	after, ended := count()
	return float64(after-before) * 8 / ended.Sub(started).Seconds()
}

// TestBandwidth checks that each limit is held in its direction, that nothing of it
// stays in the pod, and that the host's own qdiscs are restored.
func TestBandwidth(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0\ntc qdisc add dev h0 root handle 7: pfifo limit 77\ntc qdisc add dev h0 clsact\ntc filter add dev h0 ingress protocol all pref 1 u32 match u32 0 0 classid 1:1", "")
	before := w.tc()
	p := w.plan("h0", `{"interface":{"name":"net1","bandwidth":{"ingress":"80M","egress":"40M"}}}`)
	a := w.attach(p)[0]
	if want := (bandwidth{10e6, 5e6}); a.State.Bandwidth != want {
		t.Errorf("read back %+v, want %+v", a.State.Bandwidth, want)
	}
	if got := w.attach(p)[0].State.Bandwidth; got != a.State.Bandwidth { // again
		t.Errorf("after the second attach: %+v", got)
	}
	w.Host.Run("ip addr add 192.0.2.2/24 dev p0")
	for _, tt := range []struct {
		direction     string
		from, to      *nstest.NS
		address, link string
		counter       func(nic.Statistics) uint64 // of what has passed the queue
		limit         float64
	}{
		{"egress", w.Pod, w.Host, "192.0.2.2", "net1", func(s nic.Statistics) uint64 { return s.TxBytes }, 40e6},
		{"ingress", w.Host, w.Pod, "192.0.2.1", ifbName(a.ID.PodIndex), func(s nic.Statistics) uint64 { return s.RxBytes }, 80e6},
	} {
		stop := flood(t, tt.from, tt.to, tt.address)
		got := w.rate(tt.link, tt.counter)
		stop()
		if got > tt.limit*1.02 || got < tt.limit*0.6 { // this machine may be busy
			t.Errorf("%s: %.1f Mbit/s, want at most %.0f and not much less", tt.direction, got/1e6, tt.limit/1e6)
		} else {
			t.Logf("%s: %.1f Mbit/s of %.0f", tt.direction, got/1e6, tt.limit/1e6)
		}
	}
	w.Host.Run("ip addr del 192.0.2.2/24 dev p0")
	p.ID = a.ID
	if r := w.detach(p)[0]; len(r.Unset) > 0 {
		t.Errorf("not restored: %q", r.Unset)
	}
	w.asBefore()
	if now := w.tc(); now != before {
		t.Errorf("traffic control: got\n%s\nwant\n%s", now, before)
	}
}

// TestBandwidthRates checks that a limit of more than 32 bits is read back, and that
// an attach that was cut off is completed.
func TestBandwidthRates(t *testing.T) {
	for _, rate := range []string{"1k", "1.5M", "400G", "1P"} {
		t.Run(rate, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up", "")
			p := w.plan("h0", `{"interface":{"name":"net1","bandwidth":{"ingress":"`+rate+`","egress":"`+rate+`"}}}`)
			for _, step := range []string{"add filter", "add qdisc clsact", "add qdisc tbf", "up nd-in", "set up"} {
				w.pod.conn.failpoint = func(what string) error {
					if strings.Contains(what, step) {
						return fmt.Errorf("injected at %s", step)
					}
					return nil
				}
				if _, err := Attach(context.Background(), w.host, w.pod, []Plan{p}); err == nil || !strings.Contains(err.Error(), "injected") {
					t.Errorf("%s: Attach: got error %v", step, err)
				}
				w.pod.conn.failpoint = nil
			}
			w.asBefore()
			p.ID = w.attach(p)[0].ID
			w.detach(p)
			w.asBefore()
		})
	}
}

// TestBandwidthEvaded checks that limits which a program of the host could evade are
// refused, unless it stays out of the pod.
func TestBandwidthEvaded(t *testing.T) {
	both := nic.Bandwidth{Ingress: "1M", Egress: "1M"}
	for point, want := range map[string]string{
		"tcx/ingress": `interface.bandwidth.ingress: "1M": the host's tcx/ingress program 7 could evade it`,
		"xdpdrv":      `interface.bandwidth.egress: "1M": the host's xdpdrv program 7 could evade it`,
		"tcx/egress":  "",
	} {
		original := State{Settings: Settings{MTU: 1500}, Programs: []program{{Point: point, ID: 7}}}
		c := nic.Config{Interface: nic.Interface{Name: "net1", Bandwidth: both}}
		_, _, err := Desired(Link{}, original, c)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", point, err, want)
		}
		yes := true
		c.Interface.DisableEBPFPrograms = &yes
		if _, _, err := Desired(Link{}, original, c); err != nil && strings.Contains(err.Error(), "bandwidth") {
			t.Errorf("%s, without programs: %v", point, err)
		}
	}
}
