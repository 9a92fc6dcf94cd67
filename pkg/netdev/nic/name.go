package nic

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// DefaultNames is the template of the names in a pod of interfaces whose name on
// the host cannot be used there.
const DefaultNames = "net" + numberVerb

const (
	numberVerb = "%d" // in a template of names, as the kernel's own (dev_alloc_name in net/core/dev.c)
	maxNumber  = 999
)

// IsTemplate reports whether a name is a template of names, as net%d.
func IsTemplate(name string) bool { return strings.Contains(name, numberVerb) }

// CheckTemplate returns an error if no name can be made from the template, or
// not each number from 0 to 999 has room in it.
func CheckTemplate(template string) error {
	if strings.Count(template, numberVerb) > 1 {
		return errors.New("must have %d once")
	}
	if err := CheckName(strings.Replace(template, numberVerb, strconv.Itoa(maxNumber), 1)); err != nil {
		return fmt.Errorf("with %%d as %d: %w", maxNumber, err)
	}
	return nil
}

// NameFrom returns the first name made from the template, counting from 0, that an
// interface in a pod can have and that is not taken; the empty name if there is
// none.
func NameFrom(template string, taken func(name string) bool) string {
	for n := range maxNumber + 1 {
		name := strings.Replace(template, numberVerb, strconv.Itoa(n), 1)
		if CheckName(name) == nil && !taken(name) {
			return name
		}
	}
	return ""
}

// reservedNames are names that an interface in a pod cannot have, with the reason.
var reservedNames = map[string]string{
	".":       "it is the name of a directory",
	"..":      "it is the name of a directory",
	"all":     "the kernel uses it for the settings of all interfaces",
	"default": "the kernel uses it for the settings of new interfaces",
	"lo":      "it is the loopback interface",
	"eth0":    "it is the interface of the pod's own network",
}

// nameRunes are the characters that a name may have: those of POSIX's portable
// file names.
const nameRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// CheckName returns an error if an interface in a pod cannot have this name. It is
// stricter than the kernel (dev_valid_name in net/core/dev.c): when a pod ends, the
// kernel may move the interface to the host under this name, and udev and ifup
// scripts there read it, so it must not have a character that is special in a
// shell. An interface named "all" or "default" would get no IP settings.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > 15 {
		return fmt.Errorf("must have 1 to 15 bytes, has %d", len(name))
	}
	if why, ok := reservedNames[name]; ok {
		return errors.New("cannot be used: " + why)
	}
	for _, r := range name {
		if !strings.ContainsRune(nameRunes, r) {
			return fmt.Errorf("must have only letters, digits, '.', '_' and '-', has %q", r)
		}
	}
	return nil
}
