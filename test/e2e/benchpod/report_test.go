package main

import "testing"

func TestMarkdown(t *testing.T) {
	one, eight, many := variant{byClaim, 1}, variant{byPlugin, 8}, variant{byClaim, 24}
	r := report{
		Machine: "Linux 6.1, 2 CPUs", LoadBefore: "0.1 0.2 0.3", LoadAfter: "1 2 3", Versions: map[string]string{"b": "2", "a": "1"},
		Samples: []sample{
			{variant: variant{Kind: plain}, Round: 0, RunningMS: 9000, AsBeforeMS: 9000}, // not counted
			{variant: variant{Kind: plain}, Round: 1, RunningMS: 500, AsBeforeMS: 100},
			{variant: variant{Kind: plain}, Round: 2, RunningMS: 520, AsBeforeMS: 110},
			{variant: one, Round: 1, RunningMS: 600, RestoredMS: 90, AsBeforeMS: 140},
			{variant: one, Round: 2, RunningMS: 550, RestoredMS: 80, AsBeforeMS: 150},
			{variant: one, Round: 3, RunningMS: 560, RestoredMS: 70, AsBeforeMS: 130},
			{variant: eight, Round: 1, RunningMS: 400, RestoredMS: 60, AsBeforeMS: 60},
			{variant: eight, Round: 2, Failure: "not in time"},
			{variant: many, Round: 0, Failure: "no\nroom"},
		},
	}
	want := `Linux 6.1, 2 CPUs; load 0.1 0.2 0.3 at the start, 1 2 3 at the end; a 1; b 2.
Times in ms: median (min, max).

| pod | n | create → Running | over plain | delete → interfaces restored | delete → links as before | over plain |
|---|---|---|---|---|---|---|
| plain | 2 | 510 (500, 520) | +0 | – | 105 (100, 110) | +0 |
| claim, 1 | 3 | 560 (550, 600) | +50 | 80 (70, 90) | 140 (130, 150) | +35 |
| host-device, 8 | 1, 1 failed | 400 (400, 400) | -110 | 60 (60, 60) | 60 (60, 60) | -45 |
| claim, 24 | failed | – | – | – | – | – |

host-device, 8: not in time

claim, 24: no room
`
	if got := r.markdown([]variant{{Kind: plain}, one, eight, many}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
