package attachment

import (
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	// announceFor is how long a link may take to get a carrier after a move: a NIC
	// negotiates with its switch again.
	announceFor   = 10 * time.Second
	announcePause = 100 * time.Millisecond
)

// announce announces the addresses of links that have arrived in the pod: at once,
// before a container starts, or in the background once they have a carrier. It
// changes nothing that lasts, so an error is no reason to fail the pod: neighbors
// learn the addresses later by themselves.
func (m *attacher) announce(t *transfer, done []netdev.Attached) {
	var waiting []int
	for _, a := range done {
		if sent, err := t.pod.Announce(a.ID.PodIndex); !sent || err != nil {
			waiting = append(waiting, a.ID.PodIndex)
		}
	}
	if len(waiting) > 0 {
		pin, cookie := m.pin(t.sandbox.ID), t.pod.Cookie()
		m.jobs.running.Go(func() { m.jobs.announceLater(pin, cookie, waiting) })
	}
}

// announceLater announces the addresses of links in the namespace at path. It ends
// when that is done, when the links have left or the time is up, or with the jobs.
func (j *jobs) announceLater(path string, cookie uint64, indices []int) {
	pause := time.NewTicker(announcePause)
	defer pause.Stop()
	for range announceFor / announcePause {
		select {
		case <-pause.C:
		case <-j.life.Done():
			return
		}
		ns, err := openNetNS(path, cookie) // opened each time: it may end meanwhile
		if err != nil || ns == nil {
			return
		}
		var waiting []int
		for _, index := range indices {
			if sent, err := ns.Announce(index); !sent && err == nil {
				waiting = append(waiting, index)
			}
		}
		ns.Close()
		if indices = waiting; len(indices) == 0 {
			return
		}
	}
}
