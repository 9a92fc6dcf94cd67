package driver

import (
	"context"
	"errors"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourceapply "k8s.io/client-go/applyconfigurations/resource/v1"
	"k8s.io/klog/v2"
)

const shortMessage = 256 // bytes of a condition's message when the API server refuses all else

// lesser are the steps in which an entry that the API server refuses is made
// less, so that the claim has its condition at least.
var lesser = []struct {
	without string
	step    func(*deviceStatus)
}{
	{"networkData", func(s *deviceStatus) { s.Network = nil }},
	{"networkData, data", func(s *deviceStatus) { s.Data = nil }},
	{"networkData, data, the whole message", func(s *deviceStatus) { s.Message = cut(s.Message, shortMessage) }},
}

// put writes the entries into the claim, and what the API server calls wrong
// without one part after the other.
func (w *statusWriter) put(ctx context.Context, claim *resourceapi.ResourceClaim, entries map[string]deviceStatus) error {
	err := w.putOnce(ctx, claim, entries)
	for _, l := range lesser {
		if !wrong(err) {
			break
		}
		klog.FromContext(ctx).Error(err, "The API server refused a claim's status, writing less of it", "claim", klog.KObj(claim), "fields", fieldsOf(err), "without", l.without)
		less := make(map[string]deviceStatus, len(entries))
		for key, s := range entries {
			l.step(&s)
			less[key] = s
		}
		entries = less
		err = w.putOnce(ctx, claim, entries)
	}
	return err
}

func (w *statusWriter) putOnce(ctx context.Context, claim *resourceapi.ResourceClaim, entries map[string]deviceStatus) error {
	status := resourceapply.ResourceClaimStatus()
	for _, s := range entries {
		status.WithDevices(s.apply())
	}
	applied := resourceapply.ResourceClaim(claim.Name, claim.Namespace).WithUID(claim.UID).WithResourceVersion(claim.ResourceVersion).WithStatus(status)
	_, err := w.client.ResourceV1().ResourceClaims(claim.Namespace).ApplyStatus(ctx, applied, metav1.ApplyOptions{FieldManager: v1alpha1.DriverName, Force: true})
	if apierrors.IsInvalid(err) {
		return w.patch(ctx, claim, entries)
	}
	return err
}

// wrong reports whether the API server refused a field of what was to be
// written, and would refuse it again. It also calls Invalid what the caller has
// no right to write (since 1.36), what a policy refuses, and a JSON patch that
// does not fit what is there by now; and what an admission webhook denies for a
// while is a BadRequest: those can be right the next time.
func wrong(err error) bool {
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return false
	}
	causes := causesOf(err)
	return len(causes) > 0 && !slices.ContainsFunc(causes, func(c metav1.StatusCause) bool {
		return c.Field == "" || c.Type == metav1.CauseTypeForbidden
	})
}

// fieldsOf returns the names of the fields that the API server refused.
func fieldsOf(err error) (names []string) {
	for _, c := range causesOf(err) {
		names = append(names, c.Field)
	}
	return names
}

func causesOf(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}
