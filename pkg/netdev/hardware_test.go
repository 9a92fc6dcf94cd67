package netdev

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// FuzzHardware checks that no record and no driver's answer crashes us, that what
// has not changed is not set, and that no request makes the kernel read beyond
// its end.
func FuzzHardware(f *testing.F) {
	for i, s := range hardwareSettings {
		for _, v := range samples(s.name) {
			f.Add(byte(i), v.have, v.want)
			f.Add(byte(i), v.want, v.want[:len(v.want)/2])
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, have, want []byte) {
		s := hardwareSettings[int(kind)%len(hardwareSettings)]
		changes, _ := s.diff(have, want)
		for _, c := range changes {
			if c.message != nil {
				c.message(Link{Index: 3, Name: "h0"}).request().Serialize()
				continue
			}
			if need := needed(c.data); len(c.data) < need {
				t.Errorf("%s: a request of %d bytes, of which the kernel reads %d", c.what, len(c.data), need)
			}
		}
		if changes, _ := s.diff(want, want); len(changes) > 0 {
			t.Errorf("%x is to be made into itself by: %s", want, changes[0].what)
		}
	})
}

// needed is how many bytes of a request the kernel reads, by its header.
func needed(b []byte) int {
	switch u32(b) {
	case unix.ETHTOOL_SRSSH:
		table := u32(b[rssTableSize:])
		if table == rssNoChange {
			table = 0
		}
		return rssHeader + 4*int(table) + int(u32(b[rssKeySize:]))
	case unix.ETHTOOL_SRXCLSRLINS, unix.ETHTOOL_SRXCLSRLDEL:
		return rxSize
	case unix.ETHTOOL_SRXFH:
		return flowHashSize
	case unix.ETHTOOL_SFEATURES:
		return 8 + 8*int(u32(b[4:]))
	case unix.ETHTOOL_SLINKSETTINGS:
		return lsSize + masks*4*int(b[lsWords])
	case unix.ETHTOOL_PERQUEUE:
		queues := 0
		for _, m := range b[queueMask:queuesHeader] {
			for ; m != 0; m &= m - 1 {
				queues++
			}
		}
		return queuesHeader + queueSize*queues
	}
	return 4
}

// sample is a setting's original and present value, and the requests they need.
type sample struct {
	name       string
	have, want []byte
	changes    []string // what is set, with its data where it is short
	err        string
}

// put returns a copy of b with a number at a place.
func put(b []byte, at int, value uint32) []byte {
	b = bytes.Clone(b)
	binary.NativeEndian.PutUint32(b[at:], value)
	return b
}

func put8(b []byte, at int, value byte) []byte {
	b = bytes.Clone(b)
	b[at] = value
	return b
}

// samples returns the requests that a setting needs.
func samples(name string) []sample {
	return slices.Concat(structSamples()[name], linkSamples()[name], receiveSamples()[name], dcbSamples()[name], vfSamples()[name])
}

func structSamples() map[string][]sample {
	plain := make([]byte, 36)
	return map[string][]sample{
		"channels": {
			{"other", put(plain, 32, 2), put(plain, 32, 4), []string{"set channels"}, ""},
			{"other maximum", put(plain, 16, 8), put(plain, 16, 16), nil, ""},
		},
		"rings": {
			{"other maximum", put(plain, 4, 4096), put(plain, 4, 8192), nil, ""},
			{"other", put(plain[:36], 20, 64), put(plain[:36], 20, 512), []string{"set rings"}, ""},
			{"other and another maximum", put(put(plain, 4, 4096), 20, 64), put(put(plain, 4, 8192), 20, 512), []string{"set rings"}, ""},
			{"other size", plain[:36], plain[:20], nil, errOtherForm.Error()},
			{"nothing", nil, nil, nil, errOtherForm.Error()},
		},
		"features": {
			{"other", put(put(plain[:24], 4, 1), 12, 5), put(put(plain[:24], 4, 1), 12, 6), []string{"set features"}, ""},
			{"more words than bytes", put(plain[:24], 4, 9), put(plain[:24], 4, 9), nil, errOtherForm.Error()},
		},
	}
}

// TestHardwareDiff checks what is set for which difference, and what is reported.
func TestHardwareDiff(t *testing.T) {
	for _, s := range hardwareSettings {
		for _, tt := range samples(s.name) {
			t.Run(s.name+"/"+tt.name, func(t *testing.T) {
				changes, err := s.diff(tt.have, tt.want)
				var got []string
				for _, c := range changes {
					what := c.what
					for i, e := range c.ignore {
						what += []string{", unless ", ", "}[min(i, 1)] + e.Error()
					}
					got = append(got, what)
				}
				if d := cmp.Diff(tt.changes, got); d != "" {
					t.Errorf("changes (-want +got):\n%s", d)
				}
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error: got %v, want %q", err, tt.err)
				}
			})
		}
	}
}

// TestHardwareRequests checks the requests whose form is not that of the answer.
func TestHardwareRequests(t *testing.T) {
	data := func(name, sample string) []byte {
		for _, s := range hardwareSettings {
			for _, v := range samples(s.name) {
				if s.name == name && v.name == sample {
					changes, _ := s.diff(v.have, v.want)
					return changes[0].data
				}
			}
		}
		t.Fatalf("no sample %s of %s", sample, name)
		return nil
	}
	words := func(b []byte) (ws []uint32) {
		for w := range slices.Chunk(b, 4) {
			ws = append(ws, u32(w))
		}
		return ws
	}
	for _, tt := range []struct {
		name, sample string
		want         []uint32
	}{
		{"features", "other", []uint32{unix.ETHTOOL_SFEATURES, 1, 3, 6}},
		{"RSS", "table", []uint32{unix.ETHTOOL_SRSSH, 0, 2, 0, 0, 0, 0, 1}},
		{"RSS", "key and function", []uint32{unix.ETHTOOL_SRSSH, 0, rssNoChange, 4, 2, 0, 8}},
		{"rings", "other and another maximum", []uint32{unix.ETHTOOL_SRINGPARAM, 4096, 0, 0, 0, 512, 0, 0, 0}},
		{"forward error correction", "other", []uint32{unix.ETHTOOL_SFECPARAM, 0, 2, 0}},
	} {
		if d := cmp.Diff(tt.want, words(data(tt.name, tt.sample))); d != "" {
			t.Errorf("%s, %s (-want +got):\n%s", tt.name, tt.sample, d)
		}
	}
	queues := data("coalescing of queues", "two of three")
	if len(queues) != queuesHeader+2*queueSize || u32(queues[queueMask:]) != 5 || u32(queues[queuesHeader+queueSize+4:]) != 8 {
		t.Errorf("coalescing of queues: got %d bytes, mask %#x", len(queues), u32(queues[queueMask:]))
	}
	if b := data("link settings", "speed that was unknown"); u32(b[lsSpeed:]) != unknownSpeed {
		t.Errorf("speed: got %d, want none", u32(b[lsSpeed:]))
	}
	if b := data("link settings", "MDI-X"); !bytes.Equal(b[lsMasterSlave:lsMasterSlave+3], make([]byte, 3)) {
		t.Error("the ioctl refuses a master-slave mode")
	}
}

// TestHardwareKeys checks that no two settings have one key in a record.
func TestHardwareKeys(t *testing.T) {
	names := map[uint16]string{}
	for _, s := range hardwareSettings {
		if other, taken := names[s.key]; taken {
			t.Errorf("%s and %s are both %#x", s.name, other, s.key)
		}
		names[s.key] = s.name
	}
}

// TestVirtualLinksAreNotAsked checks that a link without a parent device costs no
// more requests.
func TestVirtualLinksAreNotAsked(t *testing.T) {
	w := newWorld(t, "", "")
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal(err)
	}
	f := w.watch(nil)
	w.host.hardware(l)
	w.unwatch()
	want := []string{"get private flags", "get channels", "get rings", "get coalescing", "get pause frames", "get features"}
	if d := cmp.Diff(want, f.seen); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

// TestHardwareIsTriedTwice checks that a setting which is refused at first, as
// while the link is down, is set in the end, and that what is refused for good
// is reported once.
func TestHardwareIsTriedTwice(t *testing.T) {
	for _, refusals := range []int{1, 9} {
		t.Run(fmt.Sprint(refusals), func(t *testing.T) {
			w := newWorld(t, "ethtool -K h0 tso off", "")
			before := w.hardware()
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			p.ID = w.attach(p)[0].ID
			w.Pod.Run("ethtool -K net1 tso on")
			left := refusals
			w.host.conn.failpoint = func(what string) error {
				if what != "set features" || left == 0 {
					return nil
				}
				left--
				return unix.ENETDOWN
			}
			result := w.detach(p)[0]
			w.host.conn.failpoint = nil
			var want []string
			if refusals > 1 {
				want = []string{"set features: " + unix.ENETDOWN.Error()}
			}
			if d := cmp.Diff(want, result.Unset); d != "" {
				t.Errorf("unset (-want +got):\n%s", d)
			}
			if now := w.hardware(); (now == before) != (refusals == 1) {
				t.Errorf("hardware settings: got\n%s\nwant\n%s", now, before)
			}
		})
	}
}
