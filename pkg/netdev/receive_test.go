package netdev

import (
	"encoding/binary"
	"slices"
	"testing"
)

// rss returns a table of two entries and a key of four bytes.
func rss(function byte, table [2]uint32, key uint32) []byte {
	b := put(put(make([]byte, rssHeader+8+4), rssTableSize, 2), rssKeySize, 4)
	b = put(put(put(b, rssHeader, table[0]), rssHeader+4, table[1]), rssHeader+8, key)
	return put8(b, rssFunction, function)
}

// ruleSet returns rules by location; each has a ring.
func ruleSet(special uint32, rings map[uint32]byte) []byte {
	b := put(make([]byte, rulesHeader), 0, uint32(len(rings)))
	b = put(b, 4, special)
	for _, at := range slices.Sorted(func(yield func(uint32) bool) {
		for at := range rings {
			if !yield(at) {
				return
			}
		}
	}) {
		r := rule{152: rings[at]}.at(at)
		b = append(b, r[:]...)
	}
	return b
}

// cutRules returns the locations of more rules than are recorded.
func cutRules(count int) []byte {
	b := put(make([]byte, rulesHeader), 0, uint32(count))
	for at := range count {
		b = binary.NativeEndian.AppendUint32(b, uint32(at))
	}
	return b
}

func receiveSamples() map[string][]sample {
	plain := make([]byte, 32)
	return map[string][]sample{
		"RSS": {
			{"table", rss(1, [2]uint32{0, 0}, 7), rss(1, [2]uint32{0, 1}, 7), []string{"set RSS"}, ""},
			{"key and function", rss(1, [2]uint32{0, 0}, 7), rss(2, [2]uint32{0, 0}, 8), []string{"set RSS"}, ""},
			{"another table size", rss(1, [2]uint32{0, 0}, 7), put(rss(1, [2]uint32{0, 0}, 7), rssTableSize, 1), nil, errOtherForm.Error()},
			{"sizes beyond the end", put(rss(1, [2]uint32{}, 7), rssTableSize, 1<<30), put(rss(1, [2]uint32{}, 8), rssTableSize, 1<<30), nil, errOtherForm.Error()},
		},
		"hashed fields": {
			{"one", put(put(plain[:32], 16+4, 6), 16+8, 1), put(plain[:32], 16+4, 6), []string{"set hashed fields of flow type 6"}, ""},
			{"half a struct", plain[:24], plain[:24], nil, errOtherForm.Error()},
		},
		"n-tuple rules": {
			{"changed, added, deleted", ruleSet(0, map[uint32]byte{5: 1, 6: 1, 9: 3}), ruleSet(0, map[uint32]byte{5: 2, 7: 2, 9: 3}),
				[]string{"delete n-tuple rule 5", "delete n-tuple rule 6", "add n-tuple rule 5", "add n-tuple rule 7"}, ""},
			{"the driver chooses locations", ruleSet(locSpecial, map[uint32]byte{1: 1, 2: 4}), ruleSet(locSpecial, map[uint32]byte{5: 1, 6: 2}),
				[]string{"delete n-tuple rule 2", "add n-tuple rule 6"}, ""},
			{"too many of the host's", ruleSet(0, nil), cutRules(maxRules + 1), nil, "1025 are more than are recorded, and were not compared"},
			{"more than can be looked at", put(make([]byte, 8), 0, 1<<20), ruleSet(0, nil), nil, errOtherForm.Error()},
			{"half a rule", ruleSet(0, map[uint32]byte{5: 1})[:99], ruleSet(0, nil), nil, errOtherForm.Error()},
		},
	}
}

// TestRulesAreCleared checks that a pod's rules are deleted though there are too
// many to compare, and that the host's are restored.
func TestRulesAreCleared(t *testing.T) {
	changes, err := diffRules(cutRules(maxRules+3), ruleSet(0, map[uint32]byte{5: 1}))
	if err != nil || len(changes) != maxRules+3+1 {
		t.Fatalf("got %d changes, %v", len(changes), err)
	}
	if last := changes[len(changes)-1].what; last != "add n-tuple rule 5" {
		t.Errorf("got %s last", last)
	}
}
