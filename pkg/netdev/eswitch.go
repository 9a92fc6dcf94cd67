package netdev

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Of devlink's generic netlink family (linux/devlink.h).
const (
	devlinkFamily      = "devlink"
	devlinkEswitchGet  = 29 // DEVLINK_CMD_ESWITCH_GET
	devlinkBus         = 1  // DEVLINK_ATTR_BUS_NAME
	devlinkDevice      = 2  // DEVLINK_ATTR_DEV_NAME
	devlinkEswitchMode = 25 // DEVLINK_ATTR_ESWITCH_MODE
	sizeofGenl         = 4  // struct genlmsghdr
)

// eswitchModes are the values of devlinkEswitchMode, as devlink-dev(8) names them.
var eswitchModes = []string{"legacy", "switchdev", "switchdev_inactive"}

// eswitchPatience is how long an answer is waited for. A device that updates its
// firmware answers only after that, which takes minutes.
const eswitchPatience = 100 * time.Millisecond

// eswitches remembers the modes, by bus and device.
var eswitches = modes{known: map[string]string{}, asking: map[string]bool{}}

type modes struct {
	mu     sync.Mutex
	known  map[string]string
	asking map[string]bool // the kernel has not answered yet
}

// mode returns the mode of a device's embedded switch (`devlink dev eswitch show`)
// as it is, or as it was if the device does not answer now, or "" if it has none.
func (m *modes) mode(bus, device string) string {
	id := bus + "/" + device
	m.mu.Lock()
	busy := m.asking[id]
	m.asking[id] = true
	m.mu.Unlock()
	if !busy {
		done := make(chan struct{})
		go func() { // ends with the kernel's answer
			defer close(done)
			mode := eswitchMode(bus, device)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.known[id] = mode
			delete(m.asking, id)
		}()
		select {
		case <-done:
		case <-time.After(eswitchPatience):
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[id]
}

// eswitchMode asks devlink.
func eswitchMode(bus, device string) string {
	family, ok := genlFamily(devlinkFamily)
	if !ok {
		return ""
	}
	r := nl.NewNetlinkRequest(family, unix.NLM_F_ACK)
	r.Data = []nl.NetlinkRequestData{&nl.Genlmsg{Command: devlinkEswitchGet, Version: 1},
		attr(devlinkBus, nl.ZeroTerminated(bus)), attr(devlinkDevice, nl.ZeroTerminated(device))}
	mode := ""
	genlAnswer(r, func(typ uint16, v []byte) {
		if typ == devlinkEswitchMode && len(v) >= 2 {
			if at := int(binary.NativeEndian.Uint16(v)); at < len(eswitchModes) {
				mode = eswitchModes[at]
			}
		}
	})
	return mode
}

// genlFamily returns the number of a generic netlink family, which a kernel without
// it does not have.
func genlFamily(name string) (number int, ok bool) {
	r := nl.NewNetlinkRequest(nl.GENL_ID_CTRL, unix.NLM_F_ACK)
	r.Data = []nl.NetlinkRequestData{&nl.Genlmsg{Command: nl.GENL_CTRL_CMD_GETFAMILY, Version: 1},
		attr(nl.GENL_CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated(name))}
	genlAnswer(r, func(typ uint16, v []byte) {
		if typ == nl.GENL_CTRL_ATTR_FAMILY_ID && len(v) >= 2 {
			number, ok = int(binary.NativeEndian.Uint16(v)), true
		}
	})
	return number, ok
}

// genlAnswer calls f for each attribute of the answer, if there is one.
func genlAnswer(r *nl.NetlinkRequest, f func(typ uint16, v []byte)) {
	payloads, err := r.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return
	}
	for _, b := range payloads {
		if len(b) >= sizeofGenl {
			each(b[sizeofGenl:], f)
		}
	}
}
