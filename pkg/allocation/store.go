package allocation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
)

const (
	version     = 1
	suffix      = ".json"
	quarantined = ".unread" // appended to the name of a file that cannot be read
	// unfinished is how renameio's files begin until they are renamed.
	unfinished = "."
)

// ErrVoid is the fault of a record of another boot, which was removed.
var errOtherBoot = errors.New("void")

var (
	// errOtherVersion is the fault of a record that another version of the
	// driver wrote, which may be at work beside this one: it stays as it is.
	errOtherVersion = errors.New("cannot be read by this version of the driver")
	// errUnreadable is the file system's fault, not the record's.
	errUnreadable = errors.New("cannot be read")
)

// record is what a file holds.
type storedRecord struct {
	Version int    `json:"version"`
	BootID  string `json:"bootID"`
	Record  Record `json:"allocation"`
}

// Book holds all allocations of a node. The files are the book: several
// processes may have it open, as during an upgrade, and each sees at once what
// another one wrote. It is safe for use by several goroutines at once.
type Store struct {
	dir    string
	bootID string
	lock   *lock

	mu         sync.Mutex            // guards what follows
	files      map[string]cachedFile // by file name
	unreadable bool                  // there may be records that are not in use
}

// page is a file as it was read last.
type cachedFile struct {
	text   string
	record Record
	err    error // why it is not in use
}

// Open opens the book in dir, which it makes if need be, once no other process
// holds its lock. A file that cannot be used does not keep the others from
// being served: its fault is among the returned ones. It is set aside if it is
// damaged, and removed if it is of another boot. err is set if there is no
// book at all.
func Open(ctx context.Context, dir, bootID string) (b *Store, faults []error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("open book: %w", err)
	}
	b = &Store{dir: dir, bootID: bootID, files: map[string]cachedFile{}}
	if b.lock, err = newLock(dir); err != nil {
		return nil, nil, fmt.Errorf("open book: %w", err)
	}
	unlock, err := b.Lock(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("open book: %w", err)
	}
	defer unlock()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open book: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			// A Put that was killed: its record never was.
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				faults = append(faults, err)
			}
		}
	}
	b.refresh()
	for name, p := range b.files {
		path, err := filepath.Join(dir, name), p.err
		switch {
		case errors.Is(err, errOtherBoot):
			err = errors.Join(err, os.Remove(path))
		case errors.Is(err, errOtherVersion) || errors.Is(err, errUnreadable):
		case err != nil:
			err = errors.Join(err, os.Rename(path, path+quarantined))
		default:
			continue
		}
		faults = append(faults, fmt.Errorf("record %s: %w", path, err))
	}
	return b, faults, nil
}

// refresh reads what has changed in the files since the last time. A directory
// that cannot be read leaves all as it was. The caller holds mu, or is alone.
func (b *Store) refresh() {
	entries, err := os.ReadDir(b.dir)
	b.unreadable = err != nil
	if err != nil {
		return
	}
	there := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		b.unreadable = b.unreadable || strings.HasSuffix(name, suffix+quarantined)
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(b.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // released meanwhile
		}
		there[name] = true
		last, known := b.files[name]
		switch {
		case err != nil && known:
			b.unreadable = true
		case err != nil:
			b.files[name] = cachedFile{err: errors.Join(errUnreadable, err)}
		case !known || last.text != string(text):
			p := cachedFile{text: string(text)}
			p.record, p.err = b.read(name, text)
			b.files[name] = p
		}
		b.unreadable = b.unreadable || b.files[name].err != nil
	}
	maps.DeleteFunc(b.files, func(name string, _ cachedFile) bool { return !there[name] })
}

// read decodes the record in a file of this name.
func (b *Store) read(name string, text []byte) (Record, error) {
	a, bootID, err := decode(text)
	switch {
	case err != nil:
		return a, err
	case bootID != b.bootID:
		return a, fmt.Errorf("is of boot %q, this is boot %q: %w", bootID, b.bootID, errOtherBoot)
	case a.file() != name:
		return a, fmt.Errorf("is about claim %q and device %q, which do not fit its name", a.Claim.UID, a.Device.Name)
	}
	return a, nil
}

// decode reads a record. Fields that it does not know are passed over: a newer
// version may have written them.
func decode(text []byte) (a Record, bootID string, err error) {
	var r storedRecord
	if err := json.Unmarshal(text, &r); err != nil {
		return a, "", fmt.Errorf("is not a record (%d bytes): %w", len(text), err)
	}
	if r.Version != version {
		return a, "", fmt.Errorf("is of version %d, want %d: %w", r.Version, version, errOtherVersion)
	}
	a = r.Record
	if a.Claim.UID == "" || a.Device.Name == "" {
		return a, "", errors.New("names no claim or no device")
	}
	if (a.Original == nil) != (a.Want == nil) || a.Attached != nil && a.Original == nil {
		return a, "", errors.New("is at odds with itself: before, want and attached do not go together")
	}
	return a, r.BootID, nil
}

// Put stores an allocation in place of the one of the same claim and device.
// When it returns nil the record outlives this process.
func (b *Store) Put(a Record) error {
	text, err := json.Marshal(storedRecord{Version: version, BootID: b.bootID, Record: a})
	if err != nil {
		return fmt.Errorf("put allocation of device %s: %w", a.Device.Name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.files[a.file()]; p.err != nil {
		return fmt.Errorf("put allocation of device %s: its record is there and %w", a.Device.Name, p.err)
	}
	if err := renameio.WriteFile(b.Path(a), text, 0o600); err != nil {
		return fmt.Errorf("put allocation of device %s: %w", a.Device.Name, err)
	}
	b.files[a.file()] = cachedFile{text: string(text), record: a}
	return nil
}

// Doubtful says whether there may be records that are not in use here: damaged
// ones that were set aside, those of another version, or the file system
// fails. What nothing in the book speaks of may then be spoken of by them.
func (b *Store) HasUnreadable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	return b.unreadable
}

// Path returns the file of an allocation's record.
func (b *Store) Path(a Record) string { return filepath.Join(b.dir, a.file()) }

// Release removes an allocation; one that is not there is success.
func (b *Store) Release(a Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := os.Remove(b.Path(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release device %s: %w", a.Device.Name, err)
	}
	delete(b.files, a.file())
	return nil
}

// Find returns the allocations for which keep is true, sorted by device and
// claim.
func (b *Store) Find(keep func(Record) bool) []Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	var found []Record
	for _, p := range b.files {
		if p.err == nil && keep(p.record) {
			found = append(found, p.record)
		}
	}
	slices.SortFunc(found, func(x, y Record) int {
		return strings.Compare(x.Device.Name+"/"+x.Claim.UID, y.Device.Name+"/"+y.Claim.UID)
	})
	return found
}

// All returns all allocations.
func (b *Store) All() []Record { return b.Find(func(Record) bool { return true }) }

// OfClaim returns the allocations of a claim.
func (b *Store) OfClaim(uid string) []Record {
	return b.Find(func(a Record) bool { return a.Claim.UID == uid })
}

// OfPod returns the allocations that a pod is to get.
func (b *Store) OfPod(uid string) []Record {
	return b.Find(func(a Record) bool { return a.ReservedFor(uid) && !a.Released })
}

// InSandbox returns the allocations whose links may be in a pod sandbox.
func (b *Store) InSandbox(id string) []Record {
	return b.Find(func(a Record) bool { return a.Sandbox == id && a.Original != nil })
}
