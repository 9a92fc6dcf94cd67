package driver

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/singleflight"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
)

const (
	// refreshTimeout bounds a question to the API server that a handler has
	// raised. An answer that comes too late for the handler serves the pod's next
	// container.
	refreshTimeout = 10 * time.Second
	// maxRefreshing bounds the questions that are under way at once.
	maxRefreshing = 8
)

// reservations asks the API server which pods claims are reserved for: once
// for each claim at a time, whoever asks, and few at once.
type reservations struct {
	client kubernetes.Interface
	engine *attachment.Engine
	group  singleflight.Group
	slots  chan struct{} // has an element for each question under way
}

func newReservations(client kubernetes.Interface, engine *attachment.Engine) *reservations {
	return &reservations{client: client, engine: engine, slots: make(chan struct{}, maxRefreshing)}
}

// refresh asks for the pods of each claim and returns a channel for each that
// is ready when the answer is in the record, or there is none. A question ends
// after refreshTimeout at the latest. While too many are under way there is
// none: the runtime asks again.
func (q *reservations) refresh(ctx context.Context, claims []allocation.Record) []<-chan singleflight.Result {
	answers := make([]<-chan singleflight.Result, 0, len(claims))
	for _, r := range claims {
		answers = append(answers, q.group.DoChan(r.Claim.UID, func() (any, error) {
			select {
			case q.slots <- struct{}{}:
				defer func() { <-q.slots }()
			case <-time.After(apiTimeout):
				return nil, nil
			}
			if err := q.refreshOne(ctx, r.Claim); err != nil {
				klog.FromContext(ctx).Error(err, "Failed to get the pods that a claim is reserved for", "claim", klog.KRef(r.Claim.Namespace, r.Claim.Name))
			}
			return nil, nil
		}))
	}
	return answers
}

// refreshOne records which pods a claim is reserved for by now.
func (q *reservations) refreshOne(ctx context.Context, ref allocation.Ref) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	claim, err := q.client.ResourceV1().ResourceClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if string(claim.UID) != ref.UID {
		return errors.New("another claim has its name by now")
	}
	pods, err := podsOf(claim)
	if err != nil {
		return err
	}
	return q.engine.Reserve(ctx, ref.UID, pods)
}
