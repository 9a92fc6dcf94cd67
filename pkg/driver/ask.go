package driver

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"golang.org/x/sync/singleflight"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

const (
	// askTimeout bounds a question to the API server that a hook has raised. An
	// answer that comes too late for the hook serves the pod's next container.
	askTimeout = 10 * time.Second
	// maxAsking bounds the questions that are under way at once.
	maxAsking = 8
)

// asking are the questions to the API server for which pods claims are
// reserved: one for each claim at a time, whoever asks, and few at once. The
// zero value is not usable, see newAsking.
type asking struct {
	group singleflight.Group
	slots chan struct{} // has an element for each question under way
}

func newAsking() *asking { return &asking{slots: make(chan struct{}, maxAsking)} }

// ask asks for the pods of each claim and returns a channel for each that is
// ready when the answer is in the record, or there is none. A question ends
// after askTimeout at the latest. While too many are under way there is none:
// the runtime asks again.
func (d *Driver) ask(ctx context.Context, claims []allocation.Record) []<-chan singleflight.Result {
	answers := make([]<-chan singleflight.Result, 0, len(claims))
	for _, a := range claims {
		answers = append(answers, d.asking.group.DoChan(a.Claim.UID, func() (any, error) {
			select {
			case d.asking.slots <- struct{}{}:
				defer func() { <-d.asking.slots }()
			case <-time.After(apiTimeout):
				return nil, nil
			}
			if err := d.askForPods(ctx, a); err != nil {
				klog.FromContext(ctx).Error(err, "Failed to ask for the pods of a claim", "claim", klog.KRef(a.Claim.Namespace, a.Claim.Name))
			}
			return nil, nil
		}))
	}
	return answers
}

// askForPods enters into the records for which pods a claim is reserved by now.
func (d *Driver) askForPods(ctx context.Context, a allocation.Record) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	claim, err := d.cfg.Client.ResourceV1().ResourceClaims(a.Claim.Namespace).Get(ctx, a.Claim.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if string(claim.UID) != a.Claim.UID {
		return errors.New("it was replaced")
	}
	pods, err := podsOf(claim)
	if err != nil {
		return err
	}
	unlock, err := d.store.Lock(ctx)
	if err != nil {
		return fmt.Errorf("store the pods: %w", err)
	}
	defer unlock()
	for _, now := range d.store.OfClaim(a.Claim.UID) {
		if reflect.DeepEqual(now.Pods, pods) {
			continue
		}
		now.Pods = pods
		if err := d.store.Put(now); err != nil {
			return fmt.Errorf("store the pods: %w", err)
		}
	}
	return nil
}
