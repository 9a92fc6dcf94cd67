// Command benchpod measures, on a node of a test cluster that ../bench-pod has
// prepared, how long pods with network interfaces take to start and to stop.
//
// It sees the node's links by rtnetlink and the pods by a watch of the API
// server, so that nothing polls while time is taken. Pods of all kinds and
// sizes come one at a time, in an order drawn anew for each round.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"
)

// options are what the command line sets.
type options struct {
	state    string        // directory of the cluster
	node     string        // its measured node
	rounds   int           // measured rounds, after one for warming up
	sizes    []int         // interfaces in a pod
	timeout  time.Duration // until a pod that does not run has failed
	hold     time.Duration // how long a pod runs
	out      string        // file for the samples; empty for none
	versions map[string]string
}

func main() {
	o := options{versions: map[string]string{}}
	sizes := flag.String("sizes", "1,4,8,24", "interfaces per pod, as a list")
	flag.StringVar(&o.state, "state", "", "directory of the cluster")
	flag.StringVar(&o.node, "node", "n1", "node to measure")
	flag.IntVar(&o.rounds, "n", 9, "measured rounds, after one for warming up")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Second, "time for a pod to run, or to be gone")
	flag.DurationVar(&o.hold, "hold", 1500*time.Millisecond, "how long a pod runs: more than the kubelet's second between two looks at all pods")
	flag.StringVar(&o.out, "out", "", "file for the samples")
	flag.Func("version", "NAME=VERSION of what is measured, to be reported", func(s string) error {
		name, version, _ := strings.Cut(s, "=")
		o.versions[name] = version
		return nil
	})
	flag.Parse()
	err := parseSizes(*sizes, &o)
	if err == nil {
		err = run(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchpod:", err)
		os.Exit(1)
	}
}

func parseSizes(list string, o *options) error {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-sizes: %q is not a number of interfaces", text)
		}
		o.sizes = append(o.sizes, n)
	}
	return nil
}

func run(ctx context.Context, o options) error {
	r := report{Date: time.Now().UTC(), LoadBefore: load(), Machine: machine(), Versions: o.versions, Rounds: o.rounds, HoldMS: ms(o.hold)}
	b, err := newBench(ctx, o, r.Versions)
	if err != nil {
		return err
	}
	kinds := variants(o.sizes)
	failures := map[variant]int{}
	for round := range o.rounds + 1 {
		start := time.Now()
		for _, i := range rand.Perm(len(kinds)) {
			v := kinds[i]
			if failures[v] >= maxFailures {
				continue
			}
			s, err := b.measure(ctx, v, round)
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round, v, err)
			}
			if s.Failure != "" {
				failures[v]++
				fmt.Fprintf(os.Stderr, "benchpod: round %d, %s: failed: %s\n", round, v, s.Failure)
			}
			r.Samples = append(r.Samples, s)
		}
		fmt.Fprintf(os.Stderr, "benchpod: round %d of %d took %d s\n", round, o.rounds, int(time.Since(start).Seconds()))
	}
	r.LoadAfter = load()
	fmt.Print(r.markdown(kinds))
	return r.write(o.out)
}

// maxFailures are after how many a kind of pod is not tried again: each takes
// the whole timeout.
const maxFailures = 2
