package netdev

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
)

// SetVFs gives a physical function this many virtual functions in place of those that
// it has, which end. If it has another number of them than have, somebody else is at
// it, and nothing is changed. The links of new ones appear later, unless
// sriov_drivers_autoprobe is off.
func (l Link) SetVFs(have, want int) error {
	file := path.Join(pciFunctions, l.Parent, "sriov_numvfs")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	now, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case now == want:
		return nil
	case now != have:
		return fmt.Errorf("it has %d virtual functions by now, and had %d", now, have)
	}
	write := func(n int) error { // the kernel takes another number only after 0
		if err := os.WriteFile(file, []byte(strconv.Itoa(n)), 0); err != nil {
			return fmt.Errorf("set sriov_numvfs to %d: %w", n, err)
		}
		return nil
	}
	if now != 0 {
		if err := write(0); err != nil || want == 0 {
			return err
		}
	}
	if err = write(want); err != nil && now != 0 {
		err = join(err, write(now))
	}
	return err
}
