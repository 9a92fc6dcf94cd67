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
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

const (
	version     = 2
	suffix      = ".json"
	quarantined = ".unread" // appended to the name of a file that cannot be read
	// unfinished is how renameio's files begin until they are renamed.
	unfinished = "."
	// settled is how old the last change of the directory must be for its time
	// stamp to prove that there was none since: the kernel's clock ticks.
	settled = 50 * time.Millisecond
)

// ErrNotFound is the error for a record that is not there.
var ErrNotFound = errors.New("no such record")

var (
	// errOtherBoot is the fault of a record of another boot, which was removed.
	errOtherBoot = errors.New("it is void")
	// errOtherVersion is the fault of a record that another version of the
	// driver wrote, which may be at work beside this one: it stays as it is.
	errOtherVersion = errors.New("this version of the driver cannot read it")
	// errUnreadable is the file system's fault, not the record's.
	errUnreadable = errors.New("cannot read it")
)

// file is what a record's file holds.
type file struct {
	Version int    `json:"version"`
	BootID  string `json:"bootID"`
	Record  Record `json:"record"`
}

// Store holds all records of a node. The files are the store: several processes
// may have it open, as during an upgrade, and each sees at once what another
// one wrote. It is safe for use by several goroutines at once.
type Store struct {
	dir    string
	bootID string
	*locks

	mu         sync.Mutex            // guards what follows
	files      map[string]cachedFile // by file name
	changed    time.Time             // the directory, as it was when it was read
	read       time.Time             // when that was
	unreadable bool                  // there may be records that are not in use
}

// cachedFile is a file as it was read last.
type cachedFile struct {
	text   string
	record Record
	err    error // why it is not in use
}

// Open opens the store in dir, which it makes if need be, once no other process
// holds its lock. A file that cannot be used does not keep the others from
// being served: its fault is among the returned ones. It is quarantined if it
// is damaged, and removed if it is of another boot. err is set if there is no
// store at all.
func Open(ctx context.Context, dir, bootID string) (s *Store, faults []error, err error) {
	s = &Store{dir: dir, bootID: bootID, files: map[string]cachedFile{}}
	if s.locks, err = newLocks(dir); err != nil {
		return nil, nil, fmt.Errorf("open store: %w", err)
	}
	unlock, err := s.Lock(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("open store: %w", err)
	}
	defer unlock()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open store: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			// A Put that was killed: its record never was.
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				faults = append(faults, err)
			}
		}
	}
	s.refresh()
	return s, append(faults, s.sortOut()...), nil
}

// sortOut deals with the files that cannot be used, and returns their faults.
func (s *Store) sortOut() (faults []error) {
	for name, f := range s.files {
		path, err := filepath.Join(s.dir, name), f.err
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
	return faults
}

// refresh reads what has changed in the files since the last time. Every change
// of a record is a rename into the directory, which changes the directory's
// time. A directory that cannot be read leaves all as it was. The caller holds
// mu, or is alone.
func (s *Store) refresh() {
	now := time.Now()
	info, err := os.Stat(s.dir)
	if err == nil && !s.unreadable && info.ModTime().Equal(s.changed) && s.read.Sub(s.changed) > settled {
		return
	}
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(s.dir)
	}
	s.unreadable = err != nil
	if err != nil {
		return
	}
	s.changed, s.read = info.ModTime(), now
	there := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		s.unreadable = s.unreadable || strings.HasSuffix(name, suffix+quarantined)
		if strings.HasSuffix(name, suffix) {
			there[name] = s.refreshFile(name)
		}
	}
	maps.DeleteFunc(s.files, func(name string, _ cachedFile) bool { return !there[name] })
}

// refreshFile reads one file, and reports whether it is there.
func (s *Store) refreshFile(name string) bool {
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false // released meanwhile
	}
	last, known := s.files[name]
	switch {
	case err != nil && known:
		s.unreadable = true
	case err != nil:
		s.files[name] = cachedFile{err: errors.Join(errUnreadable, err)}
	case !known || last.text != string(text):
		f := cachedFile{text: string(text)}
		f.record, f.err = s.decode(name, text)
		s.files[name] = f
	}
	s.unreadable = s.unreadable || s.files[name].err != nil
	return true
}

// decode decodes the record in a file of this name.
func (s *Store) decode(name string, text []byte) (Record, error) {
	r, bootID, err := decode(text)
	switch {
	case err != nil:
		return r, err
	case bootID != s.bootID:
		return r, fmt.Errorf("it is of boot %q, this is boot %q: %w", bootID, s.bootID, errOtherBoot)
	case r.Key().File() != name:
		return r, fmt.Errorf("it is about claim %q and device %q, which do not fit its name", r.Claim.UID, r.Device.Name)
	}
	return r, nil
}

// decode reads a record. Fields that it does not know are passed over: a newer
// version may have written them.
func decode(text []byte) (r Record, bootID string, err error) {
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return r, "", fmt.Errorf("it is not a record (%d bytes): %w", len(text), err)
	}
	if f.Version != version {
		return r, "", fmt.Errorf("it is of version %d, want %d: %w", f.Version, version, errOtherVersion)
	}
	r = f.Record
	if r.Claim.UID == "" || r.Device.Name == "" {
		return r, "", errors.New("it names no claim or no device")
	}
	if a := r.Attachment; a != nil && (a.Sandbox.ID == "" || a.InPod != nil && !a.Deadline.IsZero()) {
		return r, "", errors.New("it contradicts itself: an attachment has a sandbox, and a deadline only until it is in the pod")
	}
	return r, f.BootID, nil
}

// Put stores a record in place of the one of the same key. When it returns nil
// the record outlives this process. The caller holds the lock.
func (s *Store) Put(r Record) error {
	text, err := json.Marshal(file{Version: version, BootID: s.bootID, Record: r})
	if err != nil {
		return fmt.Errorf("store record of device %s: %w", r.Device.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.Key().File()
	if f := s.files[name]; f.err != nil {
		return fmt.Errorf("store record of device %s: there is one already: %w", r.Device.Name, f.err)
	}
	if err := renameio.WriteFile(s.Path(r.Key()), text, 0o600); err != nil {
		return fmt.Errorf("store record of device %s: %w", r.Device.Name, err)
	}
	s.files[name] = cachedFile{text: string(text), record: r}
	return nil
}

// Update replaces the record of a key by what change makes of it, which may be
// called while other processes wait and must be quick. It returns the record
// before and after, or ErrNotFound.
func (s *Store) Update(ctx context.Context, k Key, change func(Record) Record) (before, after Record, err error) {
	unlock, err := s.Lock(ctx)
	if err != nil {
		return before, after, err
	}
	defer unlock()
	before, ok := s.Get(k)
	if !ok {
		return before, after, fmt.Errorf("device %s of claim %s: %w", k.Device, k.ClaimUID, ErrNotFound)
	}
	after = change(before)
	return before, after, s.Put(after)
}

// HasUnreadable reports whether there may be records that are not in use here:
// quarantined ones, those of another version, or the file system fails. While
// it does nothing may be removed because no record mentions it.
func (s *Store) HasUnreadable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	return s.unreadable
}

// Path returns the file of a record.
func (s *Store) Path(k Key) string { return filepath.Join(s.dir, k.File()) }

// Release removes the record of a key; one that is not there is success. The
// caller holds the lock.
func (s *Store) Release(k Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.Path(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release device %s: %w", k.Device, err)
	}
	delete(s.files, k.File())
	return nil
}
