package netdev

import "context"

// source is how the link of a plan gets into a pod and out of it again.
type source interface {
	// bring puts the link, which is not in the pod, there under its wanted name.
	// moved is how many links of the same attach must be moved back if this is
	// too late. On an error the link is still on the host, or take finds it.
	bring(ctx context.Context, host, pod *NetNS, p Plan, moved int) (Link, error)
	// take undoes bring, however far it got and whatever the pod did since, and
	// restores the link on the host. pod is nil if the namespace is gone. To take
	// a link again is harmless.
	take(host, pod *NetNS, p Plan) (Result, error)
}

// source returns the plan's source: a link is moved.
func (p Plan) source() source { return move{} }
