package allocation

import (
	"slices"
	"strings"
)

// Get returns the record of a key, and whether there is one.
func (s *Store) Get(k Key) (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name := k.File(); !s.refreshFile(name) {
		delete(s.files, name)
	}
	f, ok := s.files[k.File()]
	return f.record, ok && f.err == nil
}

// Find returns the records for which keep is true, sorted by device and claim.
func (s *Store) Find(keep func(Record) bool) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	var found []Record
	for _, f := range s.files {
		if f.err == nil && keep(f.record) {
			found = append(found, f.record)
		}
	}
	slices.SortFunc(found, func(x, y Record) int {
		return strings.Compare(x.Device.Name+"/"+x.Claim.UID, y.Device.Name+"/"+y.Claim.UID)
	})
	return found
}

// All returns all records.
func (s *Store) All() []Record { return s.Find(func(Record) bool { return true }) }

// OfClaim returns the records of a claim.
func (s *Store) OfClaim(uid string) []Record {
	return s.Find(func(r Record) bool { return r.Claim.UID == uid })
}

// OfPod returns the records of the devices that a pod is to get.
func (s *Store) OfPod(uid string) []Record {
	return s.Find(func(r Record) bool { return r.ReservedFor(uid) && !r.Released })
}

// InSandbox returns the records whose links may be in a pod sandbox.
func (s *Store) InSandbox(id string) []Record {
	return s.Find(func(r Record) bool { return r.Attachment != nil && r.Attachment.Sandbox.ID == id })
}
