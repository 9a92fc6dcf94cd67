package allocation

// Attached reports whether a pod has the link.
func (a *Attachment) Attached() bool { return a != nil && a.InPod != nil }

// AttachedTo reports whether the sandbox has the link.
func (a *Attachment) AttachedTo(sandbox string) bool {
	return a.Attached() && a.Sandbox.ID == sandbox
}

// Attaching reports whether the link is on its way into a pod.
func (a *Attachment) Attaching() bool {
	return a != nil && a.InPod == nil && !a.Deadline.IsZero()
}

// AttachingTo reports whether the link is on its way into the sandbox.
func (a *Attachment) AttachingTo(sandbox string) bool {
	return a.Attaching() && a.Sandbox.ID == sandbox
}

// NotRestored reports whether the link is in no pod, on its way into none, and
// not yet on the host as it was.
func (a *Attachment) NotRestored() bool {
	return a != nil && !a.Attached() && !a.Attaching()
}

// OtherEnd reports whether b's link is the other end of a's, as the two ends of
// a veth pair are, and may be in a pod.
func (a *Attachment) OtherEnd(b *Attachment) bool {
	if a == nil || b == nil || a.ID.Kind != b.ID.Kind || a.ID.Lower == 0 || b.ID.PodIndex == 0 {
		return false
	}
	// Each was read when it was attached: the other was on the host, or in its
	// pod already.
	at := func(a *Attachment, index int) bool { return index == a.Original.Index || index == a.ID.PodIndex }
	return at(b, a.ID.Lower) && at(a, b.ID.Lower)
}
