package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// sample is one pod. Times are in ms, from the request to create it or to
// delete it to the event; 0 if there was none.
type sample struct {
	variant
	Round      int     `json:"round"` // 0 is the one for warming up
	RunningMS  float64 `json:"runningMS"`
	RestoredMS float64 `json:"restoredMS"` // the node has all its links, by name
	AsBeforeMS float64 `json:"asBeforeMS"` // and no link of the pod's any more
	GoneMS     float64 `json:"goneMS"`     // the API server has no such pod
	Failure    string  `json:"failure,omitempty"`
}

// report is a whole run.
type report struct {
	Date       time.Time         `json:"date"`
	Machine    string            `json:"machine"`
	LoadBefore string            `json:"loadBefore"`
	LoadAfter  string            `json:"loadAfter"`
	Versions   map[string]string `json:"versions"`
	Rounds     int               `json:"rounds"`
	HoldMS     float64           `json:"holdMS"`
	Samples    []sample          `json:"samples"`
}

// markdown returns a table with a row for each kind of pod.
func (r report) markdown(kinds []variant) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; load %s at the start, %s at the end", r.Machine, r.LoadBefore, r.LoadAfter)
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(&b, "; %s %s", name, r.Versions[name])
	}
	b.WriteString(".\nTimes in ms: median (min, max).\n\n")
	b.WriteString("| pod | n | create → Running | over plain | delete → interfaces restored | delete → links as before | over plain |\n")
	b.WriteString("|---|---|---|---|---|---|---|\n")
	base := r.times(variant{Kind: plain})
	for _, v := range kinds {
		t := r.times(v)
		restored := t.restored.String()
		if v.Kind == plain {
			restored = "–"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", v, t.count(), t.running, t.running.over(base.running), restored, t.asBefore, t.asBefore.over(base.asBefore))
	}
	for _, v := range kinds {
		if t := r.times(v); t.failure != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", v, t.failure)
		}
	}
	return b.String()
}

// times are those of one kind of pod.
type times struct {
	running, restored, asBefore series
	failed                      int
	failure                     string // the last one, on one line
}

// times leaves out the first round, and the pods that failed.
func (r report) times(v variant) (t times) {
	for _, s := range r.Samples {
		switch {
		case s.variant != v:
		case s.Failure != "":
			t.failed++
			t.failure = strings.Join(strings.Fields(s.Failure), " ")
		case s.Round > 0:
			t.running = append(t.running, s.RunningMS)
			t.restored = append(t.restored, s.RestoredMS)
			t.asBefore = append(t.asBefore, s.AsBeforeMS)
		}
	}
	return t
}

func (t times) count() string {
	switch {
	case t.failed == 0:
		return fmt.Sprint(len(t.running))
	case len(t.running) == 0:
		return "failed"
	default:
		return fmt.Sprintf("%d, %d failed", len(t.running), t.failed)
	}
}

// series are samples of one time, in ms.
type series []float64

// median returns the middle one, or what is halfway between the middle two.
func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func (s series) String() string {
	if len(s) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f (%.0f, %.0f)", s.median(), slices.Min(s), slices.Max(s))
}

// over returns the distance of two medians.
func (s series) over(base series) string {
	if len(s) == 0 || len(base) == 0 {
		return "–"
	}
	return fmt.Sprintf("%+.0f", s.median()-base.median())
}

// write writes all there is to a file, if it has a name.
func (r report) write(file string) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// load returns the load averages of 1, 5 and 15 minutes.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

func machine() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("Linux %s, %d CPUs", strings.TrimSpace(string(release)), runtime.NumCPU())
}
